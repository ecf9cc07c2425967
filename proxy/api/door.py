"""Who comes in: asked before anything else is done, the body not yet read. What is refused here has cost a few microseconds.

Every path but the open ones asks for a caller, a new route as well: nothing is open for want of a line of code. The answer to a refusal
has the shape that clients of that path read.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.api import asgi, langcache
from proxy.api.asgi import App, Message, Receive, Scope, Send
from proxy.api.cache_headers import REQUEST_ID
from proxy.api.errors import body_at, status_of
from proxy.api.identity import CALLER, Identity
from proxy.api.memory import route
from proxy.core.access.callers import check
from proxy.core.access.scopes import KeyScope, is_open, wanted_by
from proxy.errors import DejaError, RequestError
from proxy.ports import Headers
from proxy.services import ids
from proxy.services.limits import Limits


class Door:
    """ASGI middleware, met first.

    Args:
        app: everything behind it.
        identity: tells who is asking.
        limits: what keys may use.
        on_refusal: told the code of each refusal.
        now: unix time in seconds.
    """

    def __init__(
        self,
        app: App,
        *,
        identity: Identity,
        limits: Callable[[], Limits],
        on_refusal: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._identity = identity
        self._limits = limits
        self._on_refusal = on_refusal
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it in."""
        if scope["type"] == "lifespan" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        headers: Headers = ()
        try:
            caller = await self._identity.identify(scope["headers"])
            wanted = wanted_by(path)
            check(caller, wanted, now_s=self._now())
            if path != "/mcp":  # its tools' requests come through here, too
                verdict = await self._limits().admit(caller, wanted)
                if verdict is not None:
                    headers = verdict.headers
                    if verdict.error is not None:
                        raise verdict.error
        except DejaError as error:
            self._on_refusal(error.code if isinstance(error, RequestError) else type(error).__name__)
            await refuse(scope, send, error, headers)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, _telling(send, headers) if headers else send)


def _telling(send: Send, headers: Headers) -> Send:
    """A `send` that adds headers to an answer; a provider's own of the same name are about its limits, and give way."""
    names = frozenset(name for name, _ in headers)

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*(pair for pair in message.get("headers", ()) if pair[0] not in names), *headers]
        await send(message)

    return tell


async def refuse(scope: Scope, send: Send, error: DejaError, headers: Headers = ()) -> None:
    """Answer with an error, whatever was asked: HTTP, or a WebSocket that is not opened."""
    status = status_of(error)
    about = [(b"content-type", b"application/json"), (REQUEST_ID, ids.request_id().encode()), *headers]
    if status == 401:
        about.append((b"www-authenticate", b"Bearer"))  # RFC 9110 11.6.1; clients of MCP go by it
    body = _shaped(scope["path"], error)
    if scope["type"] == "http":
        await asgi.send_whole(send, status, tuple(about), body)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": about})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": 1008})  # RFC 6455 7.4.1: policy violation


def _shaped(path: str, error: DejaError) -> bytes:
    """An error as clients of a path read it."""
    if wanted_by(path) is KeyScope.MEMORY:
        return bytes(route.problem(error).body)
    if path.startswith("/v1/caches/"):
        return bytes(langcache.problem(error).body)
    return body_at(path, error)
