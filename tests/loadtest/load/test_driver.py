"""The driver and its wire, against a server of a few lines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from loadtest.load import driver
from loadtest.load.answers import Source
from loadtest.load.driver import Target
from loadtest.load.samples import Sample
from loadtest.load.wire import Line, get
from loadtest.load.workload import Ask, Kind
from proxy.upstream.simulation import simulate

Answer = Callable[[bytes], Awaitable[list[bytes]]]
ASK = Ask(0, Kind.NEW, "What is a kite?", frozenset(("What is a kite?",)))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """Serve: give each body to `answer`, write the pieces it returns one by one; an empty list hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head)
                pieces = await answer(await reader.readexactly(int(length[1])) if length else b"")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not pieces:
                    break
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await asyncio.sleep(0.02)  # hung-up connections end
    finally:
        server.close()
        await server.wait_closed()


async def simulated(body: bytes) -> list[bytes]:
    found = simulate("POST", "/chat/completions", body, call=1, now_s=0.0)
    head = b"HTTP/1.1 200 OK\r\ncache-status: deja; fwd=miss\r\n"
    if len(found.pieces) == 1:
        return [head + b"Content-Length: %d\r\n\r\n" % len(found.pieces[0]), found.pieces[0]]
    return [
        head + b"transfer-encoding: chunked\r\n\r\n",
        *(b"%x\r\n%b\r\n" % (len(p), p) for p in found.pieces),
        b"0\r\n\r\n",
    ]


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_an_answer_is_read_however_it_is_cut(whole: bytes) -> None:
    cuts = iter(range(1, len(whole)))

    async def cut(_: bytes) -> list[bytes]:
        at = next(cuts)
        return [whole[:at], whole[at:]]

    async with serving(cut) as port:
        line = await Line.connect(port)
        for _ in range(1, len(whole)):
            reply = await line.ask(get("/"))
            assert (reply.status, reply.body) == (200, b"hello")
            assert reply.sent_at <= reply.first_at <= reply.done_at
        line.close()


async def test_a_chunked_answer_without_a_body_ends() -> None:
    async def empty(_: bytes) -> list[bytes]:
        return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"]

    async with serving(empty) as port:
        line = await Line.connect(port)
        assert (await line.ask(get("/"))).body == b""
        line.close()


async def test_a_stall_of_the_server_is_counted_for_every_request_that_was_due() -> None:
    gate = asyncio.Lock()

    async def in_turn(body: bytes) -> list[bytes]:
        async with gate:
            await asyncio.sleep(0.05)
            return await simulated(body)

    samples: list[Sample] = []
    async with serving(in_turn) as port:
        moments = iter([0.001, 0.002, 0.003, 0.004, 0.005, 9.0])
        await driver.open_loop(Target(port), repeat(ASK), moments, seconds=1.0, on_sample=samples.append)
    assert len(samples) == 5
    assert max(sample.took_ms for sample in samples) > 4 * 45  # though its own answer took 50 ms


async def test_a_request_for_which_no_connection_is_free_waits_and_its_time_runs() -> None:
    async def slow(body: bytes) -> list[bytes]:
        await asyncio.sleep(0.05)
        return await simulated(body)

    samples: list[Sample] = []
    async with serving(slow) as port:
        await driver.open_loop(
            Target(port), repeat(ASK), iter([0.0, 0.0, 2.0]), seconds=1.0, on_sample=samples.append, connections=1
        )
    first, second = samples
    assert second.sent_at >= first.done_at
    assert second.late_ms > 45
    assert second.took_ms > 95


async def test_a_follow_up_holds_the_answer_that_came() -> None:
    bodies: list[bytes] = []

    async def kept(body: bytes) -> list[bytes]:
        bodies.append(body)
        return await simulated(body)

    later = Ask(1, Kind.FOLLOW_UP, "Why?", frozenset(("Why?",)), is_streamed=True, after=ASK)
    samples: list[Sample] = []
    async with serving(kept) as port:
        await driver.open_loop(Target(port), [ASK, later], iter([0.0, 0.0, 2.0]), seconds=1.0, on_sample=samples.append)
    assert b"What is a kite?" in bodies[1]
    assert b"Simulated answer" in bodies[1]
    assert [sample.is_right for sample in samples] == [True, True]
    assert samples[1].events > 10


async def test_whoever_is_hung_up_on_has_failed_and_the_rest_goes_on() -> None:
    count = 0

    async def moody(body: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [] if count == 2 else await simulated(body)

    samples: list[Sample] = []
    async with serving(moody) as port:
        await driver.closed_loop(Target(port), [ASK] * 4, seconds=5.0, connections=1, on_sample=samples.append)
    assert [sample.source for sample in samples] == [Source.MISS, Source.FAILED, Source.MISS, Source.MISS]


async def test_a_closed_loop_ends_with_its_time() -> None:
    samples: list[Sample] = []
    async with serving(simulated) as port:
        await driver.closed_loop(Target(port), repeat(ASK), seconds=0.1, connections=3, on_sample=samples.append)
    assert len(samples) > 3
    assert all(sample.is_right and sample.output_tokens for sample in samples)
