from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import sse


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space"),
        pytest.param(b"data:  a\n\n", [b" a"], id="one space only"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"], id="all line ends"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="two lines"),
        pytest.param(b"data\n\n", [b""], id="bare name"),
        pytest.param(b": ping\n\ndata: a\n\n", [b"a"], id="comment"),
        pytest.param(b"event: message\nid: 1\nretry: 5\ndata: a\n\n", [b"a"], id="other fields"),
        pytest.param(b"database: x\n\n", [], id="field that begins alike"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte order mark"),
        pytest.param(b"\n\n\n", [], id="empty lines"),
        pytest.param(b"data: a\n\ndata: b\n", [b"a"], id="not closed"),
        pytest.param(b"data: a\n\ndata: b", [b"a"], id="line not ended"),
        pytest.param(b"data: a: b\n\n", [b"a: b"], id="colon inside"),
    ],
)
def test_events_are_read_as_the_standard_says(raw: bytes, found: list[bytes]) -> None:
    assert sse.events(raw) == found


@given(st.lists(st.text(max_size=10).map(lambda text: orjson.dumps({"t": text})), max_size=5))
def test_what_is_written_is_read(datas: list[bytes]) -> None:
    assert sse.events(b"".join(sse.event(data) for data in datas)) == datas


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_end_is_seen_with_any_line_end(end: bytes) -> None:
    assert sse.ends_stream(b"data: {}" + end + end + b"data: [DONE]" + end)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"data: {}\n\n",
        b"data: [DONE]",
        b"data: [DONE",
        b'data: {"content":"[DONE]"}\n\n',
        b'data: {"content":"data: [DONE]"}\n\n',
        b'data: {"content":"\\ndata: [DONE]\\n"}\n\n',
        b": data: [DONE]\n\n",
        b"data: [DONE] or not\n\n",
    ],
)
def test_what_only_looks_like_the_end_is_not(tail: bytes) -> None:
    assert not sse.ends_stream(tail)


@pytest.mark.parametrize("terminator", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE] \n\n"])
def test_the_end_is_seen_wherever_the_bytes_were_split(terminator: bytes) -> None:
    """As the driver looks: after each piece, at the last 64 bytes."""
    stream = sse.event(b'{"choices":[]}') * 5 + terminator
    first_line_end = (
        len(stream) - len(terminator) + min(terminator.find(end) for end in (b"\n", b"\r") if end in terminator) + 1
    )
    for split in range(1, len(stream)):
        tail, seen_at = b"", None
        for upto, piece in ((split, stream[:split]), (len(stream), stream[split:])):
            tail = (tail + piece)[-64:]
            if seen_at is None and sse.ends_stream(tail):
                seen_at = upto
        assert seen_at == (split if split >= first_line_end else len(stream)), split


def test_the_end_is_seen_byte_by_byte() -> None:
    stream, tail, seen = b"data: {}\n\ndata: [DONE]\n\n", b"", []
    for at in range(len(stream)):
        tail = (tail + stream[at : at + 1])[-64:]
        seen.append(sse.ends_stream(tail))
    assert seen == [False] * (len(stream) - 2) + [True, True]


def test_an_error_is_told_in_openais_shape() -> None:
    error = orjson.loads(sse.error_data("It broke off.", code="upstream_broken"))["error"]
    assert error == {"message": "It broke off.", "type": "upstream_error", "param": None, "code": "upstream_broken"}
