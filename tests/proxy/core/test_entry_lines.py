"""What is exported comes back as it was, and nothing else does."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.entry_lines import read_line, write_line

KEY = "deja:v1:entry:0e:{0a}:ent_1"
FIELDS = {
    "entry_id": b"ent_1",
    "family": b"chat",
    "namespace": b"",
    "model": b"m",
    "question": "Wie heißt du?".encode(),
    "tags": b"",
    "created_at": b"1700000000.5",
    "ttl_s": b"60",
    "fingerprint": b"0f",
}
WRITER = {"tenant": "0a", "secret": b"secret"}


@given(st.dictionaries(st.sampled_from(["body", "vector", "usage", "other"]), st.binary(max_size=40)))
def test_an_entry_comes_back_as_it_was(more: dict[str, bytes]) -> None:
    fields = {**FIELDS, **more}
    line = write_line(KEY, fields, **WRITER)
    assert line.endswith(b"\n")
    read = read_line(line, **WRITER)
    assert read is not None
    assert (read.entry.redis_key, read.fields) == (KEY, fields)


@pytest.mark.parametrize(
    "reader", [{"tenant": "0b", "secret": b"secret"}, {"tenant": "0a", "secret": b"other"}], ids=str
)
def test_a_line_is_good_for_its_tenant_and_its_deja_alone(reader: dict[str, object]) -> None:
    assert read_line(write_line(KEY, FIELDS, **WRITER), **reader) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["key", "fields", "binary", "seal", "more"])
def test_an_altered_line_is_refused(part: str) -> None:
    line = orjson.loads(write_line(KEY, FIELDS, **WRITER))
    line[part] = {
        "key": KEY + "0",
        "fields": {**line["fields"], "ttl_s": "61"},
        "binary": {"x": ""},
        "seal": "0" * 64,
    }.get(part, 1)
    assert read_line(orjson.dumps(line), **WRITER) is None


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"7", b'{"seal": 7}', b'{"seal": "\xc3\xa9", "key": "k"}'], ids=repr
)
def test_what_is_no_line_is_refused(raw: bytes) -> None:
    assert read_line(raw, **WRITER) is None
