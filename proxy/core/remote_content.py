"""Content that somebody would have to fetch: images, files and sounds named by an address.

A provider that fetches them does so from its own network. LiteLLM fetches for those that do not, from Deja's, where an address that a
caller wrote may lead to what the caller could never reach (a cloud's metadata, a neighbour without a password).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:(?!.*;base64,)", re.IGNORECASE)
"""A scheme, and not the text that a `data:` URL carries along."""
_NO_CONTENT = frozenset(
    {
        *("type", "text", "refusal", "thinking", "reasoning", "signature", "detail", "format", "cache_control"),
        *("role", "id", "call_id", "tool_use_id", "name", "status"),
        *("arguments", "input", "action"),  # what a model gave a tool is data, whatever it looks like
    }
)
_WORDS_OR_PARTS = ("content", "output")
"""Fields that hold words where they are a text, and parts where they are not."""


def address_in(turns: Any, name: str = "messages") -> str | None:
    """Where the first part stands whose content would have to be fetched, such as `messages[1].content[0]`; None where all is there.

    Args:
        turns: messages of chat or of Anthropic's API, or items of OpenAI's Responses API.
        name: of the field that they come in.
    """
    for number, turn in enumerate(turns if isinstance(turns, list) else ()):
        for where, part in _parts(turn, f"{name}[{number}]"):
            if any(_ADDRESS.match(text[:256]) for text in _texts(part)):
                return where
    return None


def _parts(turn: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a message or an item, and where each stands."""
    if not isinstance(turn, Mapping):
        return
    if "role" not in turn:
        yield where, {name: value for name, value in turn.items() if name not in _WORDS_OR_PARTS}  # of an item
    for field in _WORDS_OR_PARTS:
        content = turn.get(field)
        if isinstance(content, Mapping):
            yield f"{where}.{field}", content
        for position, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, Mapping):
                yield f"{where}.{field}[{position}]", part


def _texts(part: Any) -> Iterable[str]:
    """All that a part names, but for words."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if name not in _NO_CONTENT and not (name in _WORDS_OR_PARTS and isinstance(value, str)):
                yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
