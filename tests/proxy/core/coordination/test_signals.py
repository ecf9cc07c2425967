"""Signals: what was sent is what arrives, in one line, whoever published it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import sse
from proxy.core.coordination import signals
from proxy.errors import RequestError
from tests.proxy.core.coordination.test_events import json_values


@given(json_values)
def test_a_signal_arrives_as_it_was_sent(data: Any) -> None:
    sent = signals.message(data, signal_id="sig_1", channel="news", agent="planner", at=12.5)
    frame = signals.received(sent, channel="news", at=99.0)
    assert orjson.loads(frame.text) == {"id": "sig_1", "channel": "news", "agent": "planner", "at": 12.5, "data": data}
    assert sse.events(frame.event) == [frame.text.encode()]
    assert frame.is_signal


@given(st.binary())
def test_whatever_is_published_by_hand_arrives_as_one_event(raw: bytes) -> None:
    frame = signals.received(raw, channel="news", at=12.5)
    (told,) = sse.events(frame.event)
    assert orjson.loads(told)["channel"] == "news"


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"any text", "any text"),
        (b"two\nlines", "two\nlines"),
        (b'{"n": 1}', {"n": 1}),
        (b"7", 7),
        (b"\xff", "�"),
        (b"[" * 400 + b"]" * 400, "[" * 400 + "]" * 400),
    ],
    ids=["text", "lines", "object", "number", "no text", "deep"],
)
def test_what_is_no_signal_of_ours_becomes_the_data_of_one(raw: bytes, data: Any) -> None:
    told = orjson.loads(signals.received(raw, channel="news", at=12.5).text)
    assert told == {"id": None, "channel": "news", "agent": None, "at": 12.5, "data": data}


def test_a_signal_written_over_several_lines_arrives_in_one() -> None:
    raw = b'{"id": "x",\n "channel": "news", "agent": null,\r\n "at": 1, "data": 2}'
    (told,) = sse.events(signals.received(raw, channel="news", at=12.5).event)
    assert orjson.loads(told)["id"] == "x"


def test_data_nested_deeper_than_can_be_written_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        signals.message(orjson.loads("[" * 500 + "]" * 500), signal_id="s", channel="c", agent=None, at=0)
    assert caught.value.code == "nesting_too_deep"


def test_notices_say_what_happened_under_their_own_name() -> None:
    assert signals.missed(3).event == b'event: missed\ndata: {"missed":3}\n\n'
    for frame, name in ((signals.interrupted(), "interrupted"), (signals.resumed(), "resumed")):
        assert frame.event.startswith(b"event: " + name.encode())
        assert list(orjson.loads(frame.text)) == [name]
        assert not frame.is_signal
