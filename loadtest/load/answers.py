"""What came back, read: where from, what it says, and whether that answers what was asked. Pure.

The simulated provider quotes the question that it answers, the last two of a conversation. So every answer tells by itself whether it was
made for this question, for another wording of it, or for another question, whatever cache stands in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import orjson

from loadtest.load.workload import Ask

_QUOTED = re.compile(r"you asked “([^”]*)”(?: \(question \d+ of this conversation, after “([^”]*)”\))?")
_CACHE_STATUS = re.compile(rb"\r\ncache-status: *([^\r]*)", re.IGNORECASE)


class Source(StrEnum):
    """Where an answer came from."""

    EXACT = "exact"
    SEMANTIC = "semantic"
    MISS = "miss"
    JOINED = "joined"
    BYPASS = "bypass"
    UNTOLD = "untold"
    FAILED = "failed"


HITS = frozenset((Source.EXACT, Source.SEMANTIC))


@dataclass(frozen=True, slots=True)
class Said:
    """The words of an answer.

    Attributes:
        text: the assistant's.
        input_tokens: as its usage tells; 0 where it tells none.
        output_tokens: as its usage tells; where it tells none, the events that carried text.
    """

    text: str
    input_tokens: int
    output_tokens: int


class UnreadableError(ValueError):
    """The body is no whole chat completion."""


def source(status: int, head: bytes) -> Source:
    """Where an answer came from, by Deja's `Cache-Status` or LiteLLM's headers; others leave it untold.

    Args:
        status: of HTTP.
        head: status line and headers, raw.
    """
    if status != 200:
        return Source.FAILED
    found = _CACHE_STATUS.search(head)
    if found is None:
        return _litellm(head)
    told = found[1].rpartition(b"deja; ")[2]
    if told.startswith(b"hit"):
        return Source.SEMANTIC if b"detail=semantic" in told else Source.EXACT
    if b"collapsed" in told:
        return Source.JOINED
    return Source.BYPASS if b"fwd=bypass" in told else Source.MISS


def _litellm(head: bytes) -> Source:
    if b"x-litellm-version" not in head:
        return Source.UNTOLD
    if b"x-litellm-cache-key" not in head:  # said of hits alone
        return Source.MISS
    return Source.SEMANTIC if b"x-litellm-semantic-similarity" in head else Source.EXACT


def read(body: bytes, *, is_streamed: bool) -> Said:
    """Read an answer, whole or streamed.

    Raises:
        UnreadableError: it is none, or a stream that ended early.
    """
    try:
        return _streamed(body) if is_streamed else _whole(body)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UnreadableError(f"no whole chat completion: {body[:200]!r}") from error


def question(said: str) -> str | None:
    """The question that the answer quotes; None where it quotes none."""
    quoted = _QUOTED.search(said)
    return quoted[1] if quoted else None


def is_right(ask: Ask, said: str) -> bool:
    """Whether the answer serves: made for a wording of the question, after a wording of the one before it."""
    quoted = _QUOTED.search(said)
    if quoted is None or quoted[1] not in ask.serving:
        return False
    if ask.after is None:
        return quoted[2] is None
    return quoted[2] in ask.after.serving


def _whole(body: bytes) -> Said:
    value = orjson.loads(body)
    usage = value.get("usage") or {}
    text = value["choices"][0]["message"]["content"] or ""
    return Said(text, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))


def _streamed(body: bytes) -> Said:
    parts: list[str] = []
    tokens_in = tokens_out = 0
    is_ended = False
    for line in body.split(b"\n"):
        if line.startswith(b"data: [DONE]"):
            is_ended = True
        elif line.startswith(b"data: "):
            value = orjson.loads(line[6:])
            if usage := value.get("usage"):
                tokens_in, tokens_out = usage["prompt_tokens"], usage["completion_tokens"]
            parts += (text for choice in value["choices"] if (text := choice["delta"].get("content")))
    if not is_ended:
        raise ValueError("the stream did not end")
    return Said("".join(parts), tokens_in, tokens_out or len(parts))
