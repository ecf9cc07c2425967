"""Server-sent events to callers: one event per entry, its id for `Last-Event-ID`, a comment when nothing happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import StreamingResponse

from proxy.core import sse, stream_ids
from proxy.ports import StreamEntry
from proxy.services.tails import Gap

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the latter: nginx must not collect events
GAP = {"reason": "trimmed", "message": "Entries between the id you named and the next one are no longer kept."}


def last_event_id(request: Request, after: str | None) -> str | None:
    """Where a caller left off: the `Last-Event-ID` header (a browser's reconnect) before the parameter `after`; None for neither.

    Raises:
        RequestError: 400, it is no id.
    """
    given = request.headers.get("last-event-id")
    if given:
        return stream_ids.checked(given, "Last-Event-ID")
    return stream_ids.checked(after, "after") if after else None


def wants_events(request: Request) -> bool:
    """Whether the caller asks for server-sent events."""
    return "text/event-stream" in request.headers.get("accept", "")


def events_of(
    tail: AsyncIterator[list[StreamEntry] | Gap], shown: Callable[[StreamEntry], tuple[str, Any] | None]
) -> StreamingResponse:
    """Send what is followed.

    Args:
        tail: as `services.tails` yields it.
        shown: (event name, JSON-like data) of an entry, None to leave it out.
    """
    return stream(_framed(tail, shown))


def stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    """Send server-sent events as they come; the iterator is closed when the caller leaves."""
    return StreamingResponse(frames, media_type="text/event-stream", headers=_HEADERS)


async def _framed(
    tail: AsyncIterator[list[StreamEntry] | Gap], shown: Callable[[StreamEntry], tuple[str, Any] | None]
) -> AsyncIterator[bytes]:
    yield sse.COMMENT  # the head leaves with it: the caller knows that it is connected
    async with aclosing(tail):  # type: ignore[type-var]
        async for entries in tail:
            if isinstance(entries, Gap):
                yield sse.named_event("gap", orjson.dumps(GAP))
                continue
            frames = []
            for entry in entries:
                event = shown(entry)
                if event is not None:
                    frames.append(sse.named_event(event[0], orjson.dumps(event[1]), event_id=entry.entry_id))
            yield b"".join(frames) or sse.COMMENT
