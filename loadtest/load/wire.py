"""HTTP/1.1 over kept connections, with as little as possible between the request and the socket: it must not cost what it measures.

One call at a time on a connection; the answer is taken as it comes (a length, or chunks) and put together at its end. Times are
`time.perf_counter`.
"""

from __future__ import annotations

import asyncio
import re
import selectors
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import orjson
import uvloop

T = TypeVar("T")

CHAT = "/v1/chat/completions"
_HEAD_END = b"\r\n\r\n"
_CHUNKS_END = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP.
        head: status line and headers, raw.
        body: whole, chunks joined.
        sent_at, first_at, done_at: when the request went out, when the first byte of the body was there, and when its last.
    """

    status: int
    head: bytes
    body: bytes
    sent_at: float
    first_at: float
    done_at: float


class Line(asyncio.Protocol):
    """One connection; made by `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._received = bytearray()
        self._body_from = 0
        self._length = -1
        self._sent_at = self._first_at = 0.0

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Line:
        """Connect, without TLS."""
        _, line = await asyncio.get_running_loop().create_connection(cls, host, port)
        return line

    @property
    def is_open(self) -> bool:
        """Whether a call can be made on it."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, raw: bytes) -> Reply:
        """Send a whole request and wait for its whole answer.

        Raises:
            ConnectionError: the server hung up.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the server hung up")
        self._received.clear()
        self._body_from = 0
        self._waiter = asyncio.get_running_loop().create_future()
        self._sent_at = time.perf_counter()
        self._transport.write(raw)
        return await self._waiter

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send at once, never wait for more to send."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are none by birth
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError(f"the server hung up in the middle of an answer: {exc}"))

    def data_received(self, data: bytes) -> None:
        """Take what came; at the end of the answer, give it out."""
        received = self._received
        received += data
        if not self._body_from and not self._read_head():
            return
        if len(received) > self._body_from and not self._first_at:
            self._first_at = time.perf_counter()
        if self._length >= 0:
            if len(received) >= self._body_from + self._length:
                self._give(bytes(received[self._body_from :]))
        elif received.endswith(_CHUNKS_END) or received[self._body_from :] == _CHUNKS_END[2:]:
            self._give(_dechunked(memoryview(received)[self._body_from :]))

    def _read_head(self) -> bool:
        end = self._received.find(_HEAD_END)
        if end < 0:
            return False
        self._body_from = end + len(_HEAD_END)
        length = _LENGTH.search(self._received, 0, end)
        self._length = int(length[1]) if length else -1
        self._first_at = 0.0
        return True

    def _give(self, body: bytes) -> None:
        now = time.perf_counter()
        head = bytes(self._received[: self._body_from])
        reply = Reply(int(head[9:12]), head, body, self._sent_at, self._first_at or now, now)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)


def request(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST, ready to send."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"POST {path} HTTP/1.1\r\nhost: deja\r\ncontent-type: application/json\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str) -> bytes:
    """A GET, ready to send."""
    return f"GET {path} HTTP/1.1\r\nhost: deja\r\n\r\n".encode()


def chat(
    messages: list[dict[str, str]],
    *,
    model: str,
    headers: Mapping[str, str],
    is_streamed: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """A chat completion, ready to send."""
    body: dict[str, Any] = {"model": model, "messages": messages, **(extra or {})}
    if is_streamed:
        body["stream"] = True
    return request(CHAT, orjson.dumps(body), headers)


def fast(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on the loop that costs least; its timers are exact to a millisecond."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def exact(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop whose timers are exact to some 0.1 ms: epoll's, and libuv's, are to 1 ms. At most 1,000 connections."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(coroutine)


def _dechunked(chunks: memoryview) -> bytes:
    """Join chunks; the text between them is their sizes."""
    whole = chunks.tobytes()
    parts: list[bytes] = []
    at = 0
    while at < len(whole):
        line_end = whole.index(b"\r\n", at)
        size = int(whole[at:line_end].partition(b";")[0], 16)
        if size == 0:
            break
        parts.append(whole[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2
    return b"".join(parts)
