from __future__ import annotations

import itertools

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
    assert sse.done_ending().feed(b"data: {}" + end + end + b"data: [DONE]" + end)


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
    assert not sse.done_ending().feed(tail)


@pytest.mark.parametrize("terminator", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE] \n\n"])
def test_the_end_is_seen_wherever_the_bytes_were_split(terminator: bytes) -> None:
    stream = sse.event(b'{"choices":[]}') * 5 + terminator
    first_line_end = (
        len(stream) - len(terminator) + min(terminator.find(end) for end in (b"\n", b"\r") if end in terminator) + 1
    )
    for split in range(1, len(stream)):
        ending = sse.done_ending()
        is_first = ending.feed(stream[:split])
        assert is_first == (split >= first_line_end), split
        assert is_first or ending.feed(stream[split:]), split


def fed_byte_by_byte(ending: sse.Ending, stream: bytes) -> list[bool]:
    """What the ending says after each byte, up to the one with which the stream ended."""
    seen: list[bool] = []
    for at in range(len(stream)):
        seen.append(ending.feed(stream[at : at + 1]))
        if seen[-1]:
            break
    return seen


def test_the_end_is_seen_byte_by_byte() -> None:
    stream = b"data: {}\n\ndata: [DONE]\n\n"
    assert fed_byte_by_byte(sse.done_ending(), stream) == [False] * (len(stream) - 2) + [True]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 1000])
def test_a_named_event_ends_the_stream_once_it_is_whole(end: bytes, size: int) -> None:
    event = b"event: done" + end + b'data: {"text":"' + b"x" * size + b'"}' + end + end
    stream = b'event: word\ndata: {"text":"event: done"}\n\n' + event
    seen = fed_byte_by_byte(sse.named_ending(b"done", b"failed"), stream)
    # A lone CR ends the line, and may be half of a CRLF: only another line end tells.
    assert seen == [False] * (len(stream) - 1) + [True]


@given(st.lists(st.integers(0, 60), max_size=5))
def test_a_named_end_is_seen_wherever_the_bytes_were_split(cuts: list[int]) -> None:
    stream = b"event: word\ndata: {}\n\nevent: failed\ndata: {}\n\n"
    places = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    ending = sse.named_ending(b"done", b"failed")
    seen = [ending.feed(stream[start:end]) for start, end in itertools.pairwise(places)]
    assert seen == [False] * (len(seen) - 1) + [True]
