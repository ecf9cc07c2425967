"""The load generator's client: raw HTTP/1.1 over kept connections, sent at the moments a schedule says.

An HTTP library would cost more than what it measures. Every moment is unix time (`time.time`), for the kernel stamps what arrives with that
clock: on loopback, at the very moment the server writes it to its socket. So each call has four times:

    intended ─▶ sent ─▶ left (the server wrote its answer) ─▶ read (the generator has it)

`read - intended` is what a caller waits, and is what goals are held against: a generator that falls behind cannot hide a slow server.
`left - sent` is the server's part, waiting for its turn included; `sent - intended` is the generator's own lateness.
"""

from __future__ import annotations

import asyncio
import gc
import re
import selectors
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SO_TIMESTAMPNS = 35
"""Linux's number on all but a few architectures; Python 3.11 has no name for it."""
STAMP_BYTES = 64
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        body: whole.
        sent_at: when the request went out, unix seconds.
        left_at: when the server wrote the last of it.
        read_at: when it had been read.
    """

    status: int
    body: bytes
    sent_at: float
    left_at: float
    read_at: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One call, in milliseconds.

    Attributes:
        kind: what was asked.
        took_ms: from the intended moment until the answer had been read.
        server_ms: from sending until the server had written its answer; None where it cannot be told.
        late_ms: from the intended moment until sending.
    """

    kind: str
    took_ms: float
    server_ms: float | None
    late_ms: float


class Wire:
    """One kept connection, for one call at a time.

    Args:
        port: on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._socket = connected(port)
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._left_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._loop.add_reader(self._socket.fileno(), self._read)

    async def ask(self, raw: bytes) -> Answer:
        """Send a whole request and wait for its whole answer.

        Raises:
            ConnectionError: the server hung up.
        """
        self._received = b""
        sent_at = time.time()
        if self._socket.send(raw) < len(raw):
            raise ConnectionError("the request does not fit into the socket's buffer: send less at once")
        while (whole := _whole(self._received)) is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        return Answer(*whole, sent_at, self._left_at, time.time())

    def close(self) -> None:
        """Hang up."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        piece, self._left_at = stamped(self._socket)
        self._received += piece
        if self._waiter is not None and not self._waiter.done():
            if piece:
                self._waiter.set_result(None)
            else:
                self._waiter.set_exception(ConnectionError("the server hung up"))


def connected(port: int) -> socket.socket:
    """A connection to 127.0.0.1 that sends at once, does not block, and stamps what arrives."""
    found = socket.create_connection(("127.0.0.1", port), timeout=30)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    found.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    found.setblocking(False)
    return found


def stamped(source: socket.socket) -> tuple[bytes, float]:
    """Read what is there; also when the last of it arrived, in unix seconds."""
    piece, notes, _, _ = source.recvmsg(1 << 18, STAMP_BYTES)
    for level, kind, note in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", note[:16])
            return piece, seconds + nanoseconds / 1e9
    return piece, time.time()


def request(method: str, path: str, *, key: str, body: bytes = b"") -> bytes:
    """A request, ready to send."""
    head = f"{method} {path} HTTP/1.1\r\nhost: deja\r\nauthorization: Bearer {key}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def expected(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it is what should have come: a fast error is no result.

    Raises:
        SystemExit: it is not.
    """
    if answer.status not in statuses:
        raise SystemExit(f"fleet: expected {statuses}, got {answer.status}: {answer.body[:500].decode()}")
    return answer


@dataclass(frozen=True, slots=True)
class Call:
    """Something to do at a moment.

    Attributes:
        at_s: after the begin.
        kind: what it is.
        do: does it; an Answer says when, None where only the whole can be timed.
    """

    at_s: float
    kind: str
    do: Callable[[], Awaitable[Answer | None]]


async def open_loop(calls: Sequence[Call], on_done: Callable[[], None], *, skipped_s: float = 0.0) -> list[Sample]:
    """Make each call at its moment, whether those before have been answered or not; see the module on what counts.

    Args:
        calls: in the order of their moments.
        on_done: told of each answer.
        skipped_s: calls before this moment are made and not counted: connections and scripts are new then.
    """
    samples: list[Sample] = []
    gc.collect()
    gc.disable()  # a collection in the generator is no pause of the server
    begin = time.time() + 0.05

    async def make(call: Call) -> None:
        intended = begin + call.at_s
        started = time.time()
        answer = await call.do()
        read_at = time.time() if answer is None else answer.read_at
        sent_at = started if answer is None else answer.sent_at
        server_ms = None if answer is None else (answer.left_at - answer.sent_at) * 1000
        if call.at_s >= skipped_s:
            samples.append(Sample(call.kind, (read_at - intended) * 1000, server_ms, (sent_at - intended) * 1000))
        on_done()

    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                if (pause_s := begin + call.at_s - time.time()) > 0:
                    await asyncio.sleep(pause_s)
                group.create_task(make(call))
    finally:
        gc.enable()
    return samples


class Pool:
    """Wires that calls take in turns; a call for which none is free waits, and its time runs.

    Args:
        port: on 127.0.0.1.
        size: how many.
    """

    def __init__(self, port: int, size: int) -> None:
        self._all = [Wire(port) for _ in range(size)]
        self._free: asyncio.LifoQueue[Wire] = asyncio.LifoQueue()
        for wire in self._all:
            self._free.put_nowait(wire)

    async def ask(self, raw: bytes, *statuses: int) -> Answer:
        """Send a request on a free wire; the status must be one of those."""
        wire = await self._free.get()
        try:
            return expected(await wire.ask(raw), *statuses)
        finally:
            self._free.put_nowait(wire)

    def close(self) -> None:
        """Hang up."""
        for wire in self._all:
            wire.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop whose timers are exact to some 0.1 ms: epoll's, and libuv's, are to 1 ms."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(coroutine)


def _whole(received: bytes) -> tuple[int, bytes] | None:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head)
    size = int(length[1]) if length else 0
    return (int(head[9:12]), body) if len(body) >= size else None
