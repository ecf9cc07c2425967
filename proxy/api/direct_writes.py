"""Signals written to sockets at once, by who has them: no task is woken, nothing is framed by a library.

Only where nothing of the listener's own task is under way, and its socket takes what is written; all else goes the long way round, through
its queue (`services.signals`). What is written here is what uvicorn would have written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from proxy.core.coordination.signals import Frame
from proxy.services.signals import Write

FULL_BYTES = 65_536
"""Waiting to be sent to one listener: from here on it is slow, and its queue's business."""
_TEXT = 0x81
"""A WebSocket's final frame of text (RFC 6455, section 5.2)."""


def to_events(transport: Any) -> Write | None:
    """A writer of server-sent events into a chunked answer whose head has left; None where there is no transport to write to."""
    return _writer(transport, lambda frame: chunk(frame.event))


def to_websocket(transport: Any) -> Write | None:
    """A writer of text frames to a WebSocket that is open."""
    return _writer(transport, lambda frame: text_frame(frame.text.encode()))


def chunk(data: bytes) -> bytes:
    """A piece of a body in chunked transfer coding (RFC 9112, section 7.1); not the empty one, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def text_frame(payload: bytes) -> bytes:
    """A whole text message of a server, which are not masked."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    return (
        struct.pack("!BBH", _TEXT, 126, size) + payload
        if size < 1 << 16
        else struct.pack("!BBQ", _TEXT, 127, size) + payload
    )


def _writer(transport: Any, framed: Callable[[Frame], bytes]) -> Write | None:
    if transport is None:
        return None

    def write(frame: Frame) -> bool:
        if transport.is_closing() or transport.get_write_buffer_size() >= FULL_BYTES:
            return False
        transport.write(framed(frame))
        return True

    return write
