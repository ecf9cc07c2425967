"""Closing LiteLLM's streams: a caller who leaves must end the call to the provider, and most of LiteLLM's wrappers do not pass it on.

So they are opened, by the names under which they hold what they read from, down to the one that does close its connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_HELD_AS = ("_anthropic_wrapper", "litellm_custom_stream_wrapper", "completion_stream", "_stream", "response")
_CLOSING = ("CustomStreamWrapper", "Response")
"""Types that close the connection below them, by name, as no type is imported: LiteLLM's of chats, and httpx's."""
_MOST_LAYERS = 8


async def close(stream: Any) -> None:
    """Close a stream with all that it reads from; from the outside, so that nobody reads what is closed."""
    for layer in list(_layers(stream)):
        if hasattr(layer, "aclose"):
            await layer.aclose()


def _layers(stream: Any) -> Iterator[Any]:
    for _ in range(_MOST_LAYERS):
        if stream is None:
            return
        yield stream
        if type(stream).__name__ in _CLOSING:
            return
        stream = _below(stream)


def _below(stream: Any) -> Any:
    """What a wrapper reads from: an attribute of it, or of an asynchronous generator a variable."""
    frame = getattr(stream, "ag_frame", None)
    held = {name: getattr(stream, name, None) for name in _HELD_AS} if frame is None else frame.f_locals
    return next((held[name] for name in _HELD_AS if held.get(name) is not None), None)
