"""Signals: what one looks like in Redis, to server-sent events and to WebSockets. Encoded once, however many listen.

In Redis a signal is JSON text {"id", "channel", "agent", "at", "data"}. Whatever else somebody publishes there by hand arrives as `data`.
Besides signals a subscriber is told what it missed:

    {"missed": n}            it was too slow: n signals were left out here
    {"interrupted": "…"}     Redis was lost here; what was sent until the next is unknown
    {"resumed": "…"}         Redis is back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core import sse
from proxy.errors import RequestError

_FIELDS = {"id", "channel", "agent", "at", "data"}


@dataclass(frozen=True, slots=True)
class Frame:
    """Something to tell subscribers, ready to send.

    Attributes:
        text: JSON, for a WebSocket's text frame.
        event: the same as a server-sent event.
        is_signal: it was published; else it is a notice of ours.
    """

    text: str
    event: bytes
    is_signal: bool


def message(data: Any, *, signal_id: str, channel: str, agent: str | None, at: float) -> bytes:
    """A signal as it is published.

    Args:
        data: parsed JSON.
        signal_id: minted for it.
        channel: the caller's name of the channel.
        agent: who sends, None for nobody named.
        at: unix seconds.

    Raises:
        RequestError: 400, the data is nested too deeply to write.
    """
    try:
        return orjson.dumps({"id": signal_id, "channel": channel, "agent": agent, "at": at, "data": data})
    except orjson.JSONEncodeError:  # the parser takes four times as many levels as the writer
        raise RequestError(
            "The signal cannot be sent: it is nested more than 250 levels deep.", code="nesting_too_deep", param="body"
        ) from None


def received(raw: bytes, *, channel: str, at: float) -> Frame:
    """What came out of Redis, ready to send.

    Args:
        raw: as published, by Deja or by anyone.
        channel: the caller's name of the channel.
        at: when it came, unix seconds; for what says nothing itself.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = raw.decode("utf-8", "replace")
    if isinstance(found, dict) and found.keys() == _FIELDS:
        # As it came, unless a hand wrote it over several lines, which would end a server-sent event.
        return _frame("signal", raw if b"\n" not in raw and b"\r" not in raw else orjson.dumps(found), is_signal=True)
    told = {"id": None, "channel": channel, "agent": None, "at": at, "data": found}
    try:
        return _frame("signal", orjson.dumps(told), is_signal=True)
    except orjson.JSONEncodeError:  # nested too deeply: as text, then
        return _frame("signal", orjson.dumps(told | {"data": raw.decode("utf-8", "replace")}), is_signal=True)


def missed(count: int) -> Frame:
    """So many signals were left out here."""
    return _frame("missed", orjson.dumps({"missed": count}))


INTERRUPTED = "The connection to Redis was lost: signals sent from here on may be missing."
RESUMED = "The connection to Redis is back: signals arrive again."


def interrupted() -> Frame:
    """Redis was lost here."""
    return _frame("interrupted", orjson.dumps({"interrupted": INTERRUPTED}))


def resumed() -> Frame:
    """Redis is back."""
    return _frame("resumed", orjson.dumps({"resumed": RESUMED}))


def _frame(name: str, body: bytes, *, is_signal: bool = False) -> Frame:
    return Frame(body.decode(), sse.named_event(name, body), is_signal)
