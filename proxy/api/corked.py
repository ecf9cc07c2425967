"""uvicorn's protocols with fewer system calls and tasks: head and body leave together, and who may write to a socket at once can.

uvicorn writes an answer's head and its body one after the other. Each write is a system call, and the first wakes the client for a head
that it can do nothing with. Held back until the event loop's turn ends, both leave as one; a stream's pieces leave as soon as before,
since nothing else runs in between.

Applications find the transport in their scope. A signal for a thousand listeners would otherwise wake a thousand tasks, each to write the
same bytes (`api.direct_writes`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol

TRANSPORT = "deja.transport"
"""Where applications find it in their scope."""


class CorkedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        corked: Any = Corked(transport, self.loop)
        super().connection_made(corked)

    def on_message_begin(self) -> None:
        """A request has begun."""
        super().on_message_begin()
        scope: Any = self.scope
        scope[TRANSPORT] = self.transport

    def handle_websocket_upgrade(self) -> None:
        """What follows is no longer HTTP, and another protocol's business."""
        corked: Any = self.transport
        corked.flush()
        self.transport = corked.transport
        super().handle_websocket_upgrade()


class OpenWebSockets(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=…)`."""

    async def run_asgi(self) -> None:
        """Run the application, which may write by itself."""
        scope: Any = self.scope
        scope[TRANSPORT] = _WhileOpen(self.transport, self.conn)
        await super().run_asgi()

    def shutdown(self) -> None:
        """The server ends; uvicorn's own fails where the application has said goodbye already, and Deja's shutdown with it."""
        if self.conn.state is State.CLOSING and not self.close_sent:
            self.stop_keepalive()
            self.transport.close()
        else:
            super().shutdown()


class _WhileOpen:
    """A WebSocket's transport, which is as good as closing from the closing handshake on."""

    def __init__(self, transport: Any, connection: ServerProtocol) -> None:
        self._transport = transport
        self._connection = connection
        self.write = transport.write
        self.get_write_buffer_size = transport.get_write_buffer_size

    def is_closing(self) -> bool:
        """Whether nothing may be written any more."""
        return self._connection.state is not State.OPEN or bool(self._transport.is_closing())


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
