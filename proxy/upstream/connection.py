"""One connection to a provider: httpcore's, without the pools that httpx and httpcore put around it, and with head and body in one write.

A small call costs 320 µs of processor time and 380 by the clock, where httpx's transport takes 400 and 490: a pool of one connection is 55
of them, the rest a second system call, which also wakes the provider for a head it can do nothing with.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpcore
import httpx

_PORTS = {b"http": 80, b"https": 443}
_JOINED_BYTES = 1 << 16
"""A longer body is not copied to go with its head: it takes several packets anyway."""

SocketOptions = Iterable[tuple[int, int, int]]


class Connection(httpx.AsyncBaseTransport):
    """An httpx transport of one connection, made when it is first needed and again when it was lost. One call at a time.

    Args:
        tls: for https.
        keepalive_s: it is kept for so long without a call.
        socket_options: of it.
    """

    def __init__(self, *, tls: ssl.SSLContext, keepalive_s: float, socket_options: SocketOptions) -> None:
        self._tls = tls
        self._keepalive_s = keepalive_s
        self._socket_options = tuple(socket_options)
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return with the head of its answer.

        Raises:
            httpx.TransportError: as httpx's own transport.
        """
        url = request.url
        port = url.port or _PORTS[url.raw_scheme.lower()]
        wanted = httpcore.Origin(url.raw_scheme, url.raw_host, port)
        connection = await self._usable(wanted)
        with _as_httpx():
            answer = await connection.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _usable(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The connection, if the provider has not closed it and it is not too old."""
        kept = self._connection
        if kept is not None:
            if kept.is_available() and not kept.has_expired() and kept.can_handle_request(origin):
                return kept
            await self.aclose()
        self._connection = httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._tls,
            keepalive_expiry=self._keepalive_s,
            network_backend=_Network(),
            socket_options=self._socket_options,
        )
        return self._connection


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        with _as_httpx():
            await self._stream.aclose()


class _Network(httpcore.AnyIOBackend):
    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return _Joined(await super().connect_tcp(*args, **kwargs))


class _Joined(httpcore.AsyncNetworkStream):
    """A stream whose first write since the last read waits for the next one: a request's head, for its body.

    Args:
        stream: the real one.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._is_head = True  # what is written next
        self._held = b""
        self._timeout_s: float | None = None  # for writing what is held

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  (httpcore's signature)
        if self._held:  # a request without a body
            with contextlib.suppress(
                httpcore.WriteError
            ):  # as httpcore does: the provider may have answered all the same
                await self._flush(b"")
        self._is_head = True
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._timeout_s = timeout
        if self._is_head:
            self._held, self._is_head = buffer, False
        elif self._held:
            await self._flush(buffer)
        else:
            await self._stream.write(buffer, timeout)

    async def _flush(self, more: bytes) -> None:
        held, self._held = self._held, b""
        if len(more) > _JOINED_BYTES:
            await self._stream.write(held, self._timeout_s)
            await self._stream.write(more, self._timeout_s)
        else:
            await self._stream.write(held + more, self._timeout_s)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Joined(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpx's exceptions: they bear the names of httpcore's."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
