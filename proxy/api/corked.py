"""uvicorn's HTTP protocol with one system call per answer: head and body leave together.

uvicorn writes an answer's head and its body one after the other. Each write is a system call, and the first wakes the client for a head
that it can do nothing with. Held back until the event loop's turn ends, both leave as one; a stream's pieces leave as soon as before,
since nothing else runs in between.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class CorkedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        corked: Any = Corked(transport, self.loop)
        super().connection_made(corked)

    def handle_websocket_upgrade(self) -> None:
        """What follows is no longer HTTP, and another protocol's business."""
        corked: Any = self.transport
        corked.flush()
        self.transport = corked.transport
        super().handle_websocket_upgrade()


class Corked:
    """A transport that writes what one turn of the event loop brings in one go.

    Args:
        transport: writes.
        loop: whose turns count.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Send, with what else comes in this turn."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what is held back."""
        if self._held:
            held, self._held = self._held, []
            self.transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close, once all is sent."""
        self.flush()
        self.transport.close()
