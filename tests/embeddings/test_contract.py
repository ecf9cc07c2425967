"""What every embedder keeps, over each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embeddings.base import Embedder
from embeddings.hashing import HashingEmbedder
from embeddings.remote import connect

QUESTION, REWORDED, OTHER = (
    "How do I reset my password?",
    "How can I reset my password?",
    "The recipe needs two cups of flour.",
)


@pytest.fixture(params=["hashing", "int8", "fp32", "remote"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "hashing":
        opened: Embedder = HashingEmbedder()
    elif request.param == "remote":
        opened = connect(request.getfixturevalue("embeddings_server").url, "some-model")
    else:
        opened = request.getfixturevalue(f"{request.param}_embedder")
    yield opened
    opened.close()


def test_vectors_are_unit_float32_of_the_stated_length_and_read_only(embedder: Embedder) -> None:
    for embedding in embedder.embed([QUESTION, "", "x"]):
        assert embedding.vector.dtype == np.float32
        assert embedding.vector.shape == (embedder.dim,)
        assert float(np.linalg.norm(embedding.vector)) == pytest.approx(1, abs=1e-5)
        with pytest.raises(ValueError, match="read-only"):
            embedding.vector[0] = 1


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


def test_results_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = [OTHER, QUESTION, "word " * 100, "hi", REWORDED] * 5
    together = embedder.embed(texts)
    for text, embedding in zip(texts, together, strict=True):
        assert float(embedder.embed([text])[0].vector @ embedding.vector) >= 0.99999


def test_a_rewording_is_nearer_than_another_subject(embedder: Embedder) -> None:
    question, reworded, other = (e.vector for e in embedder.embed([QUESTION, REWORDED, OTHER]))
    assert float(question @ reworded) > float(question @ other) + 0.3


def test_the_same_text_gives_the_same_vector_from_many_threads(embedder: Embedder) -> None:
    expected = embedder.embed([QUESTION])[0].vector
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: embedder.embed([QUESTION])[0].vector, range(24)))
    assert all(np.array_equal(vector, expected) for vector in found)


def test_a_text_longer_than_the_model_reads_is_said_to_be_truncated(embedder: Embedder) -> None:
    short, long = embedder.embed([QUESTION, "word " * (embedder.max_tokens + 1)])
    assert (short.is_truncated, long.is_truncated) == (False, True)
    assert 0 < short.tokens < long.tokens <= embedder.max_tokens


def test_text_that_is_not_valid_unicode_is_embedded_all_the_same(embedder: Embedder) -> None:
    assert np.isfinite(embedder.embed(["half a pair \ud83d here"])[0].vector).all()


def test_the_fingerprint_is_stable_and_fits_an_index_name(embedder: Embedder) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", embedder.fingerprint)
    assert embedder.fingerprint == embedder.fingerprint


def test_embedders_of_different_spaces_have_different_fingerprints(
    int8_embedder: Embedder, fp32_embedder: Embedder
) -> None:
    names = [int8_embedder.fingerprint, fp32_embedder.fingerprint, HashingEmbedder().fingerprint]
    names.append(HashingEmbedder(dim=64).fingerprint)
    assert len(set(names)) == len(names)
