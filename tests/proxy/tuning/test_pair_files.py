from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.tuning.pair_files import read_pairs
from proxy.tuning.scoring import LabelledPair

TEXTS = st.text(min_size=1, max_size=30).map(str.strip).filter(bool)
PAIRS = st.lists(st.builds(LabelledPair, TEXTS, TEXTS, st.booleans(), TEXTS), min_size=1, max_size=5)


@given(pairs=PAIRS)
def test_json_lines_are_read_as_they_were_written(
    pairs: list[LabelledPair], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = ({"a": one.stored, "b": one.asked, "same": one.is_same, "kind": one.kind} for one in pairs)
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8"))
    assert read_pairs(path) == pairs


@given(pairs=PAIRS)
def test_csv_is_read_as_it_was_written(pairs: list[LabelledPair], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("kind", "a", "b", "same"))
        writer.writerows((one.kind, one.stored, one.asked, int(one.is_same)) for one in pairs)
    assert read_pairs(path) == pairs


@pytest.mark.parametrize("written", ["true", "1", "yes", "Same", '"yes"'])
def test_a_label_may_be_written_in_several_ways(tmp_path: Path, written: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"a,b,same\none,two,{written}\n")
    assert read_pairs(path) == [LabelledPair("one", "two", True, "all")]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("x.jsonl", '{"a": "1", "b": "2", "same": true}\n{"a": "1",, "b"}', "line 2, column 11: this is not JSON"),
        ("x.jsonl", '["a", "b", true]', "line 1, column 1: expected an object"),
        ("x.jsonl", '{"a": "1", "same": true}', "line 1: the column b is missing"),
        ("x.jsonl", '{"a": "1", "b": 2, "same": true}', "line 1, column b: expected a text, this is a int"),
        ("x.jsonl", '\n{"a": " ", "b": "2", "same": true}', "line 2, column a: expected a text, this is empty"),
        ("x.jsonl", '{"a": "1", "b": "2"}', "line 1, column same: the label is missing"),
        ("x.jsonl", '{"a": "1", "b": "2", "same": null}', "line 1, column same: the label is missing"),
        ("x.jsonl", '{"a": "1", "b": "2", "same": "perhaps"}', "line 1, column same: 'perhaps' is no label"),
        ("x.jsonl", '{"a": "1", "b": "2", "same": 1, "kind": 3}', "line 1, column kind: expected a word"),
        ("x.jsonl", "", "holds no pairs"),
        ("x.csv", "a,b,label\n1,2,1\n", "line 1: the heading lacks same"),
        ("x.csv", "a,b,same\n1,2,1\n1,2\n", "line 3: this row has not 3 columns"),
        ("x.csv", "a,b,same\none, or two,three,1\n", "line 2: this row has not 3 columns"),
        ("x.txt", "a,b,same\n", "is neither .jsonl nor .csv"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_wrong_with_a_file_is_told_by_line_and_column(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as told:
        read_pairs(path)
    assert sentence in str(told.value)
    assert str(path) in str(told.value)


def test_a_file_that_is_not_there_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl cannot be read: No such file"):
        read_pairs(tmp_path / "nowhere.jsonl")


def test_a_file_that_is_no_text_is_told_plainly(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_pairs(tmp_path / "x.csv")
