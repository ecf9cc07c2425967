"""/mcp: who may ask, then the SDK. A web page that made a browser believe that its name is this machine's is refused (DNS rebinding)."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.api import asgi, errors
from proxy.api.asgi import App, ClientLeft, Message, Receive, Scope, Send, UntilClientLeaves
from proxy.api.identity import Identity
from proxy.errors import DejaError, RequestError
from proxy.mcp.inside import Inside
from proxy.services.background import Background

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

BODY_BYTES = 4 << 20
"""The SDK's own bound."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may call besides this machine's own addresses and pages; all in lower case.

    Attributes:
        hosts: names, with a port or for any.
        origins: of web pages, scheme included.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


class Endpoint:
    """The application behind /mcp; the SDK is imported when it is first called.

    Args:
        app: whose routes the tools call.
        identity: tells tenants apart.
        background: where the SDK's tasks and the tools' requests run.
        version: of Deja.
        allowed: who may call besides this machine.
    """

    def __init__(self, app: App, identity: Identity, background: Background, *, version: str, allowed: Allowed) -> None:
        self._app = app
        self._identity = identity
        self._background = background
        self._version = version
        self._allowed = allowed
        self._lock = asyncio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            check_origin(scope, self._allowed, has_keys=self._identity.owns_credentials)
            self._identity.tenant(scope)
            if scope["method"] != "POST":
                raise RequestError(
                    "Deja's MCP has no sessions and no stream of its own: POST each message.",
                    status=405,
                    code="method_not_allowed",
                )
            body = await asgi.read_body(scope, receive, limit_bytes=BODY_BYTES)
            told = await self._told(scope, receive, body)
        except ClientLeft:
            return
        except DejaError as error:
            await _refuse(error, send)
            return
        for message in told:
            await send(message)

    async def _told(self, scope: Scope, receive: Receive, body: bytes) -> list[Message]:
        """What the SDK answers; ClientLeft once nobody waits for it, and the tool that runs is ended."""
        told: list[Message] = []
        pieces = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if pieces:
                return pieces.pop()
            await asyncio.Event().wait()  # until cancelled: the leaving is watched for below
            raise AssertionError

        async def keep(message: Message) -> None:
            told.append(message)

        manager = await self._opened()
        async with UntilClientLeaves(receive, self._background):
            await manager.handle_request(scope, replay, keep)
        return told

    async def _opened(self) -> StreamableHTTPSessionManager:
        async with self._lock:
            if self._manager is None or self._running is None or self._running.done():  # the SDK runs each one once
                manager = await asyncio.to_thread(self._built)  # a second, during which others are answered
                is_open = asyncio.Event()
                self._running = self._background.spawn(_run(manager, is_open), name="mcp")
                await is_open.wait()
                self._manager = manager
        return self._manager

    def _built(self) -> StreamableHTTPSessionManager:
        from proxy.mcp import server

        return server.manager(server.build(self._caller, version=self._version), body_bytes=BODY_BYTES)

    def _caller(self, request: Any) -> Inside:
        return Inside(self._app, self._background, request.scope["headers"])


async def _run(manager: StreamableHTTPSessionManager, is_open: asyncio.Event) -> None:
    try:
        async with manager.run():
            is_open.set()
            await asyncio.Event().wait()  # until the application ends
    finally:
        is_open.set()  # who waits for it must not wait for ever


def check_origin(scope: Scope, allowed: Allowed, *, has_keys: bool) -> None:
    """Refuse what may be a web page that speaks for a browser's user.

    Host must be an address or localhost, which no one can rebind, or a name that is allowed, unless callers need a key, which no page
    has. Origin, which browsers send, must be this machine or allowed.

    Raises:
        RequestError: 403.
    """
    host = (asgi.header(scope, b"host") or b"").decode("latin-1")
    if not (has_keys or _is_here(host, any_address=True) or _is_named(host, allowed)):
        raise RequestError(
            "This Host is not accepted without keys: call Deja by its address or localhost, allow it with DEJA_MCP__ALLOWED_HOSTS, or "
            "set DEJA_AUTH__KEYS.",
            status=403,
            code="host_not_allowed",
            param="Host",
        )
    sent = asgi.header(scope, b"origin")
    origin = None if sent is None else sent.decode("latin-1").lower()
    if origin is not None and origin not in allowed.origins and not _is_here(_netloc(origin), any_address=False):
        raise RequestError(
            "Pages of this Origin may not use Deja's MCP; DEJA_MCP__ALLOWED_ORIGINS allows more.",
            status=403,
            code="origin_not_allowed",
            param="Origin",
        )


def _is_named(host: str, allowed: Allowed) -> bool:
    host = host.lower()
    return host in allowed.hosts or host.rpartition(":")[0] in allowed.hosts


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # unbalanced brackets
        return ""


def _is_here(netloc: str, *, any_address: bool) -> bool:
    try:
        name = urlsplit(f"//{netloc}").hostname or ""
        if name == "localhost":
            return True
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return any_address or address.is_loopback


async def _refuse(error: DejaError, send: Send) -> None:
    status = errors.status_of(error)
    headers = [(b"content-type", b"application/json")]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    headers += [(b"allow", b"POST")] if status == 405 else []
    await asgi.send_whole(send, status, tuple(headers), errors.body_of(error))
