"""As many requests as a server takes, from a generator that costs next to nothing: a request is bytes, an answer is counted.

What `driver.closed_loop` does costs some 100 µs a request, most of it for reading answers: on two cores, taken from the server.
Here it is some 25 µs: nothing waits on a future, and of an answer only its end, its status and where it came from are looked for.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

from loadtest.load import answers, figures, wire
from loadtest.load.answers import Source

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WAIT_S = 30.0


@dataclass(slots=True)
class Blows:
    """What came of it.

    Attributes:
        seconds: it took.
        sources: answers by where they came from; `FAILED` are those that were none.
        took_ms: of each answered request.
        failure: one of the failed answers.
    """

    seconds: float = 0.0
    sources: Counter[Source] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    failure: bytes = b""

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.took_ms) / self.seconds if self.seconds else 0.0

    def share(self, *sources: Source) -> float:
        """How many of all came from these."""
        return sum(self.sources[source] for source in sources) / max(1, self.sources.total())

    @property
    def latency(self) -> figures.Latency:
        """Percentiles."""
        return figures.latency(self.took_ms)


def hammer(port: int, raws: Iterable[bytes], *, seconds: float, connections: int, host: str = "127.0.0.1") -> Blows:
    """Ask on so many connections, on each again as soon as it was answered.

    Args:
        port: of the host.
        raws: whole requests, shared by all connections; it ends when they do.
        seconds: after which no more is sent.
        connections: asking at once.
        host: name or address.
    """
    return wire.fast(_hammered((host, port), iter(raws), seconds, connections))


async def _hammered(at: tuple[str, int], raws: Iterator[bytes], seconds: float, connections: int) -> Blows:
    blows, loop = Blows(), asyncio.get_running_loop()
    hands = [(await loop.create_connection(lambda: _Hand(blows, raws), *at))[1] for _ in range(connections)]
    began = time.perf_counter()
    for hand in hands:
        hand.begin(began + seconds)
    await asyncio.wait([hand.done for hand in hands], timeout=seconds + _WAIT_S)
    blows.seconds = time.perf_counter() - began
    blows.sources[Source.FAILED] += sum(not hand.done.done() for hand in hands)
    for hand in hands:
        hand.close()
    return blows


class _Hand(asyncio.Protocol):
    """One connection."""

    def __init__(self, blows: Blows, raws: Iterator[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._blows, self._raws, self._end = blows, raws, 0.0
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, end: float) -> None:
        self._end = end
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.done():
            self._blows.sources[Source.FAILED] += 1
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(received, 0, head_end + 2)
        if length is None:
            if not received.endswith(b"\r\n0\r\n\r\n"):
                return
        elif len(received) < head_end + 4 + int(length[1]):
            return
        self._count(received, head_end)
        self._send()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _count(self, received: bytes, head_end: int) -> None:
        blows, head = self._blows, received[:head_end]
        found = answers.source(int(head[9:12]), head)
        blows.sources[found] += 1
        if found is Source.FAILED:
            blows.failure = received[:2000]
        else:
            blows.took_ms.append((time.perf_counter() - self._sent_at) * 1000)

    def _send(self) -> None:
        self._received = b""
        self._sent_at = time.perf_counter()
        raw = next(self._raws, None) if self._sent_at < self._end else None
        if raw is None:
            if not self.done.done():
                self.done.set_result(None)
        elif self._transport is not None:
            self._transport.write(raw)
