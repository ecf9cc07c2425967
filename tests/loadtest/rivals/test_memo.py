from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embeddings.base import Embedding
from embeddings.hashing import HashingEmbedder
from loadtest.rivals.memo import Logits, embedded


def test_logits_outlive_the_process_and_belong_to_one_verifier(tmp_path: Path) -> None:
    logits = Logits(tmp_path, "one")
    logits.put(("stored", "asked"), 2.5)
    logits.put(("long", "text"), -np.inf)
    logits.save()
    again = Logits(tmp_path, "one")
    assert again.get(("stored", "asked")) == 2.5
    assert again.get(("long", "text")) == -np.inf
    assert again.get(("asked", "stored")) is None
    assert Logits(tmp_path, "two").get(("stored", "asked")) is None


def test_where_one_text_ends_and_the_other_begins_matters(tmp_path: Path) -> None:
    logits = Logits(tmp_path, "one")
    logits.put(("ab", "c"), 1.0)
    assert logits.get(("a", "bc")) is None


def test_kept_files_hold_no_text(tmp_path: Path) -> None:
    logits = Logits(tmp_path, "one")
    logits.put(("a secret question", "another"), 1.0)
    logits.save()
    embedded(["a secret question"], HashingEmbedder(), tmp_path)
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_texts_are_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {n} " + "and more " * (n % 4) for n in range(20)]
    embedder = HashingEmbedder()
    vectors, is_readable = embedded(texts, embedder, tmp_path)
    assert is_readable.all()
    assert np.allclose(vectors, np.stack([one.vector for one in embedder.embed(texts)]))

    def embed(self: HashingEmbedder, texts: list[str]) -> list[Embedding]:
        raise AssertionError("embedded again")

    monkeypatch.setattr(HashingEmbedder, "embed", embed)
    assert np.array_equal(embedded(texts, embedder, tmp_path)[0], vectors)
