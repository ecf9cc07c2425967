"""Reading a person's labelled pairs: JSON lines or CSV, plain or gzipped. What is wrong with one is told by line and column.

{"a": "How do I reset my password?", "b": "I forgot my password", "same": true, "kind": "accounts"}
a,b,same,kind
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.errors import ConfigError
from proxy.tuning.scoring import LabelledPair

_TRUE = frozenset({"1", "true", "yes", "same"})
_FALSE = frozenset({"0", "false", "no", "different"})
_LABELS = "true or false (or 1 or 0, yes or no)"
_NO_KIND = "all"


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read labelled pairs; `kind` is optional, "all" where there is none.

    Args:
        path: ends in .jsonl or .csv, either with .gz behind it.

    Raises:
        ConfigError: the file cannot be read, or something in it is not as it should be; names line and column.
    """
    text = _text(path)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix == ".csv":
        rows = _csv_rows(text, path)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        rows = _json_rows(text, path)
    else:
        raise ConfigError(f"{path} is neither .jsonl nor .csv; name it by what it holds")
    pairs = [_pair(row, path, line) for line, row in rows]
    if not pairs:
        raise ConfigError(f'{path} holds no pairs; write lines like {{"a": "…", "b": "…", "same": true}}')
    return pairs


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not UTF-8 text, nor that gzipped: {error}") from error


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines(): a text may hold signs that it takes for ends of lines, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            column = getattr(error, "colno", 1)
            said = getattr(error, "msg", str(error))
            raise ConfigError(f"{path}, line {number}, column {column}: this is not JSON ({said})") from error
        if not isinstance(row, dict):
            raise ConfigError(
                f'{path}, line {number}, column 1: expected an object such as {{"a": "…", "b": "…", "same": true}}'
            )
        yield number, row


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = {"a", "b", "same"} - set(reader.fieldnames or ())
        if missing:
            raise ConfigError(f"{path}, line 1: the heading lacks {_listed(missing)}; it has to name a, b and same")
        for row in reader:
            if None in row or None in row.values():
                columns = len(reader.fieldnames or ())
                raise ConfigError(
                    f"{path}, line {reader.line_num}: this row has not {columns} columns; quote texts that hold commas"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: this is not CSV ({error})") from error


def _pair(row: Mapping[str, Any], path: Path, line: int) -> LabelledPair:
    texts = [_text_of(row, name, path, line) for name in ("a", "b")]
    kind = row.get("kind") or _NO_KIND
    if not isinstance(kind, str):
        raise ConfigError(f"{path}, line {line}, column kind: expected a word, not {type(kind).__name__}")
    return LabelledPair(texts[0], texts[1], _label(row, path, line), kind)


def _text_of(row: Mapping[str, Any], name: str, path: Path, line: int) -> str:
    if name not in row:
        raise ConfigError(f"{path}, line {line}: the column {name} is missing; a pair has a, b and same")
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        said = "is empty" if isinstance(value, str) else f"is a {type(value).__name__}"
        raise ConfigError(f"{path}, line {line}, column {name}: expected a text, this {said}")
    return value.strip()


def _label(row: Mapping[str, Any], path: Path, line: int) -> bool:
    value = row.get("same")
    if value is None:
        raise ConfigError(f"{path}, line {line}, column same: the label is missing; write {_LABELS}")
    said = str(value).strip().lower()
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise ConfigError(f"{path}, line {line}, column same: {said[:20]!r} is no label; write {_LABELS}")


def _listed(names: set[str]) -> str:
    return " and ".join(sorted(names))
