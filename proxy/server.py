"""One serving process: uvicorn's options, and how it leaves: nothing that was begun is cut short.

listening ──SIGTERM──▶ closed to newcomers; what is under way goes on, each answer saying `Connection: close`
          ──idle connections given IDLE_S to ask once more, or all gone──▶ uvicorn's own shutdown, bounded by `DEJA_DRAIN_S`
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from proxy.api.corked import CorkedHttp, OpenWebSockets
from proxy.settings import Settings

IDLE_S = 1.0
"""How long a kept-alive connection without a request is left open on the way out: a request may be on the wire, and would be lost."""
_TICK_S = 0.02
"""Between looks at whether all have gone."""


def options(settings: Settings) -> dict[str, Any]:
    """uvicorn's options besides the address."""
    return {
        "http": CorkedHttp,
        "ws": OpenWebSockets,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nothing here trusts a caller's word about where it is
        "timeout_keep_alive": 75,  # above the 55 to 60 s after which clients and balancers drop theirs
        "timeout_graceful_shutdown": settings.drain_s,
        "ws_per_message_deflate": False,  # a signal is small, and would be compressed once for each who listens
        # past the limit one is told; past this the connection is closed
        "ws_max_size": 4 * settings.signals.message_bytes,
    }


class Server(uvicorn.Server):
    """uvicorn, telling when it serves, and leaving without dropping a request.

    Args:
        config: uvicorn's.
        on_started: called with the port once it serves.
    """

    def __init__(self, config: uvicorn.Config, on_started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._is_impatient = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the doors, then say so."""
        await super().startup(sockets)
        if self.started:
            listening: Any = self.servers[0].sockets[0].getsockname()
            self._on_started(int(listening[1]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Whoever presses Ctrl-C waits for it; whoever sends SIGTERM has callers who do not know yet."""
        self._is_impatient = self._is_impatient or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the doors; what streams without an end is ended first, or it would hold the door open."""
        end_streams = getattr(getattr(self.config.loaded_app, "state", None), "end_streams", None)
        if end_streams is not None:
            end_streams()
        if not self._is_impatient:
            await self._see_out()
        await super().shutdown(sockets)

    async def _see_out(self) -> None:
        """Answer what still comes on connections that are open, and close each behind its answer."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for connection in list(self.server_state.connections):
            if not _is_idle(connection):
                connection.shutdown()  # closes behind its answer
        loop = asyncio.get_running_loop()
        until = loop.time() + IDLE_S
        while loop.time() < until and any(map(_is_idle, self.server_state.connections)):  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(_TICK_S)


def _is_idle(connection: Any) -> bool:
    """Whether a connection waits for a request. uvicorn's HTTP protocols have a cycle for each, its WebSockets none at all."""
    if not hasattr(connection, "cycle"):
        return False
    return connection.cycle is None or bool(connection.cycle.response_complete)
