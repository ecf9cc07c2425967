"""The few ASGI moves the hot path makes: read a body within a limit, send a reply, notice that the caller left.

Raw ASGI and no middleware: Starlette's `BaseHTTPMiddleware` would hide the caller's leaving, and each layer costs a task or two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from types import TracebackType
from typing import Any

from proxy.errors import RequestError
from proxy.ports import Headers
from proxy.services.background import Background

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientLeft(Exception):  # noqa: N818 - an event, not an error
    """The caller closed the connection before the answer was complete."""


async def read_body(scope: Scope, receive: Receive, *, limit_bytes: int) -> bytes:
    """Read a request body whole.

    Raises:
        RequestError: 413, it is larger than the limit.
        ClientLeft: it never arrived in full.
    """
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class BodyPieces:
    """A request body as it arrives, for passing through unread; `is_read` is set once it is complete."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_read = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces.

        Raises:
            ClientLeft: it broke off.
        """
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body", False):
                self.is_read.set()
                return


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header, None if it is absent; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a complete response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_head(send: Send, status: int, headers: Headers) -> None:
    """Begin a response whose body follows in pieces."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def send_pieces(send: Send, pieces: AsyncIterator[bytes]) -> None:
    """Send a body piece by piece as it comes; the iterator is closed whatever happens. `send_end` completes it."""
    async with aclosing(pieces):  # type: ignore[type-var]
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def send_end(send: Send) -> None:
    """End a body sent in pieces."""
    await send({"type": "http.response.body", "body": b""})


class RequestId:
    """Gives every response that has none a request id; the hot path writes its own."""

    def __init__(self, app: App, *, header: bytes, mint: Callable[[], str]) -> None:
        self._app = app
        self._header = header
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if all(name != self._header for name, _ in headers):
                    message["headers"] = [*headers, (self._header, self._mint().encode())]
            await send(message)

        await self._app(scope, receive, with_id if scope["type"] == "http" else send)


class UntilClientLeaves:
    """`async with UntilClientLeaves(receive, background): …` ends the block with ClientLeft when the caller goes.

    The watch begins once the request body has been read, for there is one channel for both. The response must not be completed
    inside the block: the server reports that as a disconnect too.

    Args:
        receive: the ASGI channel.
        background: where the watch runs.
        after: set when the body has been read; None when it was read before.
    """

    def __init__(self, receive: Receive, background: Background, *, after: asyncio.Event | None = None) -> None:
        self._receive = receive
        self._background = background
        self._after = after
        self._has_left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = self._background.spawn(self._watch(), name="disconnect-watch")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if not self._has_left:
            return
        was_ended = kind is None or issubclass(kind, asyncio.CancelledError)
        if was_ended and self._task.uncancel() == 0:
            raise ClientLeft from None

    async def _watch(self) -> None:
        if self._after is not None:
            await self._after.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        self._task.cancel()


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(
        f"The request body is larger than {limit_bytes} bytes; send less, or raise DEJA_LIMITS__BODY_BYTES.",
        status=413,
        code="request_too_large",
    )
