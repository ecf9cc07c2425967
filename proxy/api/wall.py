"""The wall behind all routes: what nobody foresaw is answered as other errors are, and only where it failed is logged.

A server logs an exception with its message, which may quote a prompt, a memory or a key.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable

from proxy.api.asgi import App, Message, Receive, Scope, Send
from proxy.api.door import refuse
from proxy.errors import ConfigError, RequestError, where

logger = logging.getLogger("deja.requests")


class Wall:
    """Lets no exception out, but while the application opens and closes: a start that fails has to be told.

    Args:
        app: the application behind it.
        on_failure: told the route that failed, as it is documented; "" where there was none.
        route: the one that is behind it, where it is only one.
    """

    def __init__(self, app: App, *, on_failure: Callable[[str], None], route: str = "") -> None:
        self._app = app
        self._on_failure = on_failure
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._open(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            route = self._route or str(getattr(scope.get("route"), "path_format", ""))
            logger.error("a request to %s failed with %s", route or "no route", where(error))
            self._on_failure(route)
            # Refused by the server where an answer has begun: then it closes the connection, and the caller sees it cut.
            with contextlib.suppress(Exception):
                await refuse(scope, send, _unforeseen())

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application open and close; a setting that stops it is told in its own sentence, in place of a traceback."""

        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and isinstance(error := sys.exc_info()[1], ConfigError):
                message = {**message, "message": f"cannot start: {error}"}
            await send(message)

        with contextlib.suppress(ConfigError):  # told
            await self._app(scope, receive, tell)


def _unforeseen() -> RequestError:
    return RequestError(
        "Deja failed on this request and has logged where. Where it was to change something, that may have happened or not: look "
        "before you send it again.",
        status=500,
        code="internal_error",
        kind="internal_error",
    )
