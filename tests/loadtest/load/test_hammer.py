"""The hammer, against the server of the driver's tests: it blocks, so the server has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import repeat

import pytest

from loadtest.load.answers import Source
from loadtest.load.driver import Target
from loadtest.load.hammer import hammer
from tests.loadtest.load.test_driver import ASK, serving, simulated


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that answers every third request with an error."""
    count = 0
    found: list[int] = []
    is_up, loop = threading.Event(), asyncio.new_event_loop()
    is_over = asyncio.Event()

    async def moody(body: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"] if count % 3 == 0 else await simulated(body)

    async def serve() -> None:
        async with serving(moody) as at:
            found.append(at)
            is_up.set()
            await is_over.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert is_up.wait(10)
    yield found[0]
    loop.call_soon_threadsafe(is_over.set)
    thread.join(10)


def test_every_request_is_counted_by_where_its_answer_came_from(port: int) -> None:
    raw = Target(port).raw(ASK)
    blows = hammer(port, repeat(raw, 30), seconds=20, connections=4)
    assert blows.sources[Source.MISS] == 20
    assert blows.sources[Source.FAILED] == 10
    assert blows.failure.endswith(b"busy")
    assert len(blows.took_ms) == 20
    assert blows.share(Source.MISS) == pytest.approx(2 / 3)
    assert blows.per_s > 0


def test_it_ends_with_its_time(port: int) -> None:
    blows = hammer(port, repeat(Target(port).raw(ASK)), seconds=0.1, connections=2)
    assert blows.sources.total() > 2
