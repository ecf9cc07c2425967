"""Content that somebody would have to fetch: images, files and sounds named by an address.

A provider that fetches them does so from its own network. LiteLLM fetches for those that do not, from Deja's, where an address that a
caller wrote may lead to what the caller could never reach (a cloud's metadata, a neighbour without a password).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:(?!.*;base64,)", re.IGNORECASE)
"""A scheme, and not the text that a `data:` URL carries along."""
_NO_CONTENT = frozenset(
    {"type", "text", "refusal", "thinking", "reasoning", "signature", "detail", "format", "cache_control"}
)


def address_in(messages: Any) -> str | None:
    """Where the first part stands whose content would have to be fetched, such as `messages[1].content[0]`; None where all is there."""
    if not isinstance(messages, list):
        return None
    for number, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        parts = content if isinstance(content, list) else ()
        for position, part in enumerate(parts):
            if isinstance(part, Mapping) and any(_ADDRESS.match(text[:256]) for text in _texts(part)):
                return f"messages[{number}].content[{position}]"
    return None


def _texts(part: Any) -> Iterable[str]:
    """All that a part names, but for words."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if name not in _NO_CONTENT:
                yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
