"""What the embedder tests share: the real model, made once per machine, and an embeddings server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from embeddings.onnx import OnnxEmbedder
from embeddings.prepare import prepare
from tests.embeddings.embeddings_server import EmbeddingsServer


@pytest.fixture(scope="session")
def artifacts_dir() -> Path:
    """Where `make install` put the model; it is fetched there if it is not."""
    named = os.environ.get("DEJA_ARTIFACTS_DIR")
    return Path(named) if named else Path(os.environ.get("DEJA_DATA_DIR") or ".deja") / "artifacts"


@pytest.fixture(scope="session")
def minilm_dir(artifacts_dir: Path) -> Path:
    """The default model's checkpoint."""
    prepare("package", artifacts_dir, "int8")
    return (artifacts_dir / "sources" / "all-minilm-l6-v2").resolve()


@pytest.fixture(scope="session")
def int8_embedder(artifacts_dir: Path) -> OnnxEmbedder:
    return OnnxEmbedder(prepare("package", artifacts_dir, "int8"))


@pytest.fixture(scope="session")
def fp32_embedder(artifacts_dir: Path) -> OnnxEmbedder:
    return OnnxEmbedder(prepare("package", artifacts_dir, "fp32"))


@pytest.fixture
def embeddings_server() -> Iterator[EmbeddingsServer]:
    server = EmbeddingsServer()
    yield server
    server.close()
