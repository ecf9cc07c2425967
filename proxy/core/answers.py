"""A provider's complete answer, taken apart as far as storing, recording and comparing need; the same for every dialect.

How its bytes are read and replayed is each dialect's own (`core.dialects`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.models import NotStored, WireMode

_PIECE_CHARS = 48
"""Characters per replayed chunk: a few words, as providers send; a size between one burst and one event per token."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer.

    Attributes:
        body: stored form, of the dialect's own shape.
        wire: the ways in which it can be replayed.
        messages: what was said, one assistant message in chat's shape for each choice; as much of it as could be read.
        finish_reasons: why each choice ended, in chat's words.
        has_tool_calls: some choice calls a tool.
        usage: as the provider sent it, or counted.
        usage_estimated: `usage` is a count of our own.
        answer_id: its id, where callers may go on from it; else "".
        is_exact_only: holds what belongs to this very request (signed reasoning, say) and is never served to another wording.
    """

    body: dict[str, Any]
    wire: WireMode
    messages: tuple[dict[str, Any], ...]
    finish_reasons: tuple[str | None, ...]
    has_tool_calls: bool
    usage: Mapping[str, Any] | None
    usage_estimated: bool = False
    is_exact_only: bool = False
    answer_id: str = ""

    @property
    def message(self) -> dict[str, Any]:
        """The first choice's."""
        return self.messages[0]


class Malformed(ValueError):  # noqa: N818 - a fact about an answer, never shown to a caller
    """The bytes are not a complete answer; carries the reason for not storing."""

    def __init__(self, reason: NotStored) -> None:
        super().__init__(reason.value)
        self.reason = reason


def can_replay(wire: WireMode, *, as_stream: bool) -> bool:
    """Whether an entry of this kind can be sent the way the caller asks."""
    return wire is WireMode.BOTH or (wire is WireMode.STREAM) == as_stream


def guarded(read: Callable[[], Answer]) -> Answer:
    """An answer no provider documents must cost its place in the cache, not the caller's reply.

    Raises:
        Malformed: whatever else reading it raised for a field of another type.
    """
    try:
        answer = read()
        orjson.dumps(answer.body)  # orjson reads four times as many levels as it writes
    except Malformed:
        raise
    except (TypeError, AttributeError, LookupError, ValueError) as error:  # JSONEncodeError is a TypeError
        raise Malformed(NotStored.MALFORMED) from error
    return answer


def json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are.

    Raises:
        Malformed: they are none.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(NotStored.MALFORMED) from error
    if not isinstance(value, dict):
        raise Malformed(NotStored.MALFORMED)
    return value


def pieces(text: str) -> list[str]:
    """Cut a text into replay chunks at white space; joined again they are the text."""
    found: list[str] = []
    start = 0
    while start < len(text):
        end = min(start + _PIECE_CHARS, len(text))
        if end < len(text):
            space = text.rfind(" ", start + 1, end)
            end = space if space > start else end
        found.append(text[start:end])
        start = end
    return found


def count_tokens(chars: int) -> int:
    """Tokens at four characters each, OpenAI's own rule of thumb for English."""
    return round(chars / 4)
