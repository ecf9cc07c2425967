"""`deja tune` and `deja eval` as a person types them, up to where models begin; with models in tests/proxy/commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PAIR = '{"a": "How do I boil an egg?", "b": "How to boil an egg?", "same": true}\n'


def deja(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `deja` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEJA_", "OPENAI_"))}
    return subprocess.run(
        [str(Path(sys.executable).with_name("deja")), *arguments],
        env=inherited | {"DEJA_DATA_DIR": str(cwd / "data")},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tune",), "name a file of labelled pairs, or say --journal"),
        (("tune", "pairs.jsonl", "--journal"), "one of the two"),
        (("tune", "pairs.jsonl"), "pairs.jsonl, line 2, column 1: this is not JSON"),
        (("tune", "nowhere.csv"), "nowhere.csv cannot be read: No such file"),
        (("tune", "pairs.txt"), "pairs.txt is neither .jsonl nor .csv"),
        (("eval", "nowhere"), "nowhere holds no .jsonl"),
        (("eval", ".", "--sets", "other"), "has no other; it has pairs"),
        (("eval", ".", "--through-proxy", "http://127.0.0.1:1"), "No Deja answers at http://127.0.0.1:1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_used_is_told_in_a_sentence_and_ends_with_status_2(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "pairs.jsonl").write_text(PAIR + "nonsense\n")
    (tmp_path / "pairs.txt").write_text(PAIR)
    told = deja(*arguments, cwd=tmp_path)
    assert told.returncode == 2
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr
    assert "cannot start" not in told.stderr


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("tune", "pairs.jsonl", "--max-wrong-hit-rate", "2"), "max-wrong-hit-rate"),
        (("eval", ".", "--most", "0"), "most"),
    ],
    ids=["tune", "eval"],
)
def test_an_option_out_of_range_is_named(tmp_path: Path, arguments: tuple[str, ...], option: str) -> None:
    told = deja(*arguments, cwd=tmp_path)
    assert told.returncode == 2
    assert option in told.stderr
