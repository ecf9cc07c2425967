from __future__ import annotations

from pathlib import Path

import pytest

from embeddings.errors import ModelFormatError
from embeddings.onnx import Manifest, OnnxEmbedder


def test_the_model_reads_256_tokens(int8_embedder: OnnxEmbedder) -> None:
    exact, over = int8_embedder.embed(["word " * 254, "word " * 255])
    assert (exact.tokens, exact.is_truncated) == (256, False)
    assert (over.tokens, over.is_truncated) == (256, True)


def test_a_text_of_megabytes_is_truncated_without_being_tokenised_whole(int8_embedder: OnnxEmbedder) -> None:
    embedding = int8_embedder.embed([" " * 5_000_000 + "the question"])[0]
    assert embedding.is_truncated


@pytest.mark.parametrize(
    ("text", "unknown"),
    [("plain words", 0), ("a 🍕 pizza", 1), ("half \ud83d pair", 1), ("z" * 300, 1)],
    ids=["none", "emoji", "lone-surrogate", "endless-word"],
)
def test_what_the_vocabulary_lacks_is_counted(int8_embedder: OnnxEmbedder, text: str, unknown: int) -> None:
    assert int8_embedder.embed([text])[0].unknown_tokens == unknown


def test_a_damaged_model_says_to_delete_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="no exported model"):
        OnnxEmbedder(tmp_path)
    Manifest("m", 4, 8, "int8", "mean", "a", "b", 1).write(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="delete it"):
        OnnxEmbedder(tmp_path)
