"""The exported model against a public implementation: data/minilm_reference.npz, made by make_reference.py."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from embeddings.onnx import OnnxEmbedder
from tests.embeddings.varied_texts import varied_texts

_REFERENCE = Path(__file__).parent / "data" / "minilm_reference.npz"


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(_REFERENCE)
    vectors = stored["vectors"].astype(np.float32)
    assert str(stored["texts_sha256"]) == hashlib.sha256(repr(varied_texts()).encode()).hexdigest(), "texts changed"
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), stored["tokens"]


def has_int8_dot_product() -> bool:
    """Without such instructions, pairs of 8-bit products can saturate at 16 bits, and the kernels are less exact."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "avx2" not in text or "avx512_vnni" in text or "avx_vnni" in text


def cosines(embedder: OnnxEmbedder, vectors: np.ndarray) -> np.ndarray:
    return (np.stack([e.vector for e in embedder.embed(varied_texts())]) * vectors).sum(axis=1)


def test_fp32_agrees_with_the_reference_on_every_text(fp32_embedder: OnnxEmbedder, reference) -> None:
    assert cosines(fp32_embedder, reference[0]).min() >= 0.9999


def test_int8_stays_close_to_the_reference_on_every_text(int8_embedder: OnnxEmbedder, reference) -> None:
    found = cosines(int8_embedder, reference[0])
    assert found.min() >= (0.99 if has_int8_dot_product() else 0.98)
    assert found.mean() >= (0.998 if has_int8_dot_product() else 0.996)


def test_as_many_tokens_are_read_as_in_the_reference(int8_embedder: OnnxEmbedder, reference) -> None:
    assert [e.tokens for e in int8_embedder.embed(varied_texts())] == reference[1].tolist()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_vector_does_not_depend_on_the_texts_beside_it(precision: str, request: pytest.FixtureRequest) -> None:
    embedder = request.getfixturevalue(f"{precision}_embedder")
    texts = varied_texts()[::5]
    together = embedder.embed(texts)
    alone = [embedder.embed([text])[0] for text in texts]
    assert min(float(a.vector @ b.vector) for a, b in zip(together, alone, strict=True)) >= 0.99999
