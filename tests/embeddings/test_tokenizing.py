"""Tokenizers of one file share their vocabulary and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from embeddings import tokenizing
from embeddings.tokenizing import open_tokenizer

TEXTS = (
    "How do I reset my router?", "Zürich, 3.5 °C, 5 o'clock", "a [SEP] b [MASK]", "", "日本語 и русский", "x" * 99, "don't re-do it\n\tnow",
)  # fmt: skip


@pytest.fixture
def path(minilm_dir: Path) -> Path:
    return minilm_dir / "tokenizer.json"


def test_it_reads_as_the_file_says_but_whole(path: Path) -> None:
    theirs = Tokenizer.from_file(str(path))
    theirs.no_padding()
    theirs.no_truncation()
    own = open_tokenizer(path)
    for text in (*TEXTS, "and " * 1000):
        assert own.encode(text).ids == theirs.encode(text).ids
        assert own.encode(text, "what else?").ids == theirs.encode(text, "what else?").ids


def test_settings_are_each_ones_own(path: Path) -> None:
    cut, literal, plain = (open_tokenizer(path) for _ in range(3))
    cut.enable_truncation(8)
    literal.encode_special_tokens = True
    text = "one two three four five six seven [SEP] eight"
    assert len(cut.encode(text).ids) == 8
    assert "[SEP]" not in literal.encode(text).tokens[1:-1]
    assert "[SEP]" in plain.encode(text).tokens[1:-1]
    assert len(plain.encode(text).ids) > 8


def test_another_file_is_another_vocabulary(path: Path, tmp_path: Path) -> None:
    changed = tmp_path / "tokenizer.json"
    changed.write_text(path.read_text("utf-8").replace('"water"', '"w4ter"'), "utf-8")
    assert open_tokenizer(path).token_to_id("water") is not None
    assert open_tokenizer(changed).token_to_id("water") is None


def test_one_file_is_read_once(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "_read", {})
    copy = tmp_path / "tokenizer.json"
    copy.write_bytes(path.read_bytes())
    open_tokenizer(path)
    open_tokenizer(copy)  # the verifier's is a file of its own
    assert len(tokenizing._read) == 1
