from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings.hashing import HashingEmbedder
from proxy.errors import ConfigError
from proxy.tuning import eval_sets
from proxy.tuning.eval_sets import EvalSet


def embed(texts: Sequence[str]) -> Any:
    return np.stack([one.vector for one in HashingEmbedder().embed(texts)])


def write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
    return path


def sets_of(path: Path, most: int = 100) -> list[EvalSet]:
    name = path.name.split(".")[0]
    return list(eval_sets.sets_of(name, path, embed, most))


def test_files_are_found_with_and_without_gzip(tmp_path: Path) -> None:
    for name in ("one.jsonl.gz", "two.jsonl", "README.md"):
        write(tmp_path, name)
    assert list(eval_sets.files(tmp_path)) == ["one", "two"]
    assert list(eval_sets.files(tmp_path, ["two"])) == ["two"]


def test_a_set_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, "one.jsonl")
    with pytest.raises(ConfigError, match="has no nope; it has one"):
        eval_sets.files(tmp_path, ["nope"])
    with pytest.raises(ConfigError, match=r"holds no \.jsonl"):
        eval_sets.files(tmp_path / "elsewhere")


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\nnonsense\n')
    with pytest.raises(ConfigError, match="line 2: this is not JSON"):
        eval_sets.read_rows(path)


def test_pairs_are_taken_as_they_are(tmp_path: Path) -> None:
    path = write(
        tmp_path, "mine.jsonl.gz", {"a": "A?", "b": "B?", "same": 1, "kind": "k"}, {"a": "C?", "b": "D?", "same": 0}
    )
    (made,) = sets_of(path)
    assert [(one.stored, one.asked, one.is_same, one.kind) for one in made.pairs] == [
        ("A?", "B?", True, "k"),
        ("C?", "D?", False, "all"),
    ]
    assert "not trained on" in made.note


def test_neighbours_of_one_group_are_the_same_and_of_none_or_out_of_scope_never(tmp_path: Path) -> None:
    rows = [
        {"text": f"how do I open an account {i}", "group": group} for i, group in enumerate([1, 1, 2, "oos", "oos"])
    ]
    (made,) = sets_of(write(tmp_path, "faq.jsonl", *rows))
    same = {frozenset((one.stored[-1], one.asked[-1])) for one in made.pairs if one.is_same}
    assert same == {frozenset("01")}
    assert len(made.pairs) == 10
    (alone,) = sets_of(write(tmp_path, "prompts.jsonl", *({"text": row["text"]} for row in rows)))
    assert len(alone.pairs) == 10
    assert not [one for one in alone.pairs if one.is_same]


def test_no_more_pairs_than_asked_for_always_the_same_and_the_note_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.jsonl", *({"a": f"A{i}?", "b": "B?", "same": 1} for i in range(50)))
    (made,), (again,) = sets_of(path, 10), sets_of(path, 10)
    assert made == again
    assert len(made.pairs) == 10
    assert "10 of 50 pairs" in made.note


def test_what_was_trained_on_is_left_out(tmp_path: Path) -> None:
    assert sets_of(write(tmp_path, "qqp_train.jsonl.gz", {"a": "A?", "b": "B?", "same": 1, "kind": "qqp"})) == []
    rows = [{"text": f"where is card {i}", "group": f"intent {i % 9}"} for i in range(30)]
    assert sets_of(write(tmp_path, "banking77_train.jsonl.gz", *rows)) == []
    names = [one.name for one in sets_of(write(tmp_path, "banking77_test.jsonl.gz", *rows))]
    assert names == ["banking77_test, intents trained on", "banking77_test, new intents"]


def test_a_known_file_gives_what_the_recipe_kept_aside(tmp_path: Path) -> None:
    write(
        tmp_path,
        "pawsx_en.jsonl.gz",
        *({"a": f"A {i}", "b": f"B {i}", "same": i % 2, "kind": "pawsx"} for i in range(200)),
    )
    (made,) = sets_of(tmp_path / "pawsx_en.jsonl.gz", 1000)
    assert 10 < len(made.pairs) < 60
    assert "kept aside" in made.note


def test_a_row_that_lacks_a_field_is_told_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.jsonl", {"a": "A?", "b": "B?", "same": 1}, {"a": "A?", "same": 1})
    with pytest.raises(ConfigError, match=r"mine\.jsonl: a row lacks 'b'"):
        sets_of(path)


def test_a_plain_file_by_the_name_of_a_trained_one_is_not_measured_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gzip it \(pawsx_en\.jsonl\.gz\)"):
        sets_of(write(tmp_path, "pawsx_en.jsonl", {"a": "A?", "b": "B?", "same": 1, "kind": "pawsx"}))


def test_conversations_are_no_set_of_pairs(tmp_path: Path) -> None:
    rows = [{"first": "Who?", "first_answer": "He.", "follow_up": "When?", "follow_up_answer": "Then."}]
    assert eval_sets.is_conversation(rows[0])
    assert eval_sets.is_conversation({"topic": "1", "turns": [{"raw": "Who?"}]})
    assert not eval_sets.is_conversation({"text": "Who?"})
    assert sets_of(write(tmp_path, "talks.jsonl", *rows)) == []
