"""Several workers behind one socket: hits, calls in flight, metrics and repeats are all of theirs; none is missed when it is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import Exchange, FakeUpstream, chat, cut_after, error, sse, sse_chat

WORKERS = 2
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Shared by all clients: httpx would read all certificates for each."""


@pytest.fixture(scope="module")
def workers(provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(
        arguments=("--workers", str(WORKERS)),
        DEJA_UPSTREAM__BASE_URL=provider.base_url,
        DEJA_CACHE__ON_REPEAT="regenerate",
    ) as process:
        yield process


class Line:
    """A connection of one client, kept open, so that one worker answers all that is asked on it."""

    def __init__(self, deja: DejaProcess, tenant: str) -> None:
        self._root = deja.root
        self._http = httpx.AsyncClient(
            base_url=deja.base_url, headers={"authorization": f"Bearer {tenant}"}, timeout=30, verify=NO_TLS
        )

    async def ask(
        self, question: str, *, stream: bool = False, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": question}], "stream": stream}
        return await self._http.post("/chat/completions", json=body, headers=headers)

    async def port(self) -> int:
        """The connection's own port."""
        answer = await self._http.get(f"{self._root}/health")
        return int(answer.extensions["network_stream"].get_extra_info("client_addr")[1])

    async def aclose(self) -> None:
        await self._http.aclose()


async def with_lines(deja: DejaProcess, count: int, use: Callable[[list[Line]], Awaitable[None]]) -> None:
    """Lines of one tenant to all workers; the kernel gives a burst of connections to whichever worker wakes first."""
    tenant = f"sk-{uuid.uuid4()}"
    lines: list[Line] = []
    reached: set[int] = set()
    try:
        async with asyncio.timeout(20):
            while len(lines) < count or len(reached) < WORKERS:
                lines.append(Line(deja, tenant))
                reached.add(worker_at(deja, await lines[-1].port()))
        await use(lines[-count:])
    finally:
        await asyncio.gather(*(line.aclose() for line in lines))


def worker_at(deja: DejaProcess, port: int) -> int:
    """Process id of the worker that holds a connection, by the port of either end."""
    for child in deja.children():
        connections = Path(f"/proc/{child}/net/tcp").read_text().splitlines()[1:]
        ends = [line.split() for line in connections]
        inodes = {end[9] for end in ends if f"{port:04X}" in (end[1].partition(":")[2], end[2].partition(":")[2])}
        links = (link for link in Path(f"/proc/{child}/fd").iterdir() if link.is_symlink())
        if {f"socket:[{inode}]" for inode in inodes} & {link.readlink().name for link in links}:
            return child
    raise AssertionError(f"no worker holds a connection with port {port}")


def counted(deja: DejaProcess, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels, as a scrape tells it."""
    families = text_string_to_metric_families(httpx.get(f"{deja.root}/metrics", timeout=10).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_what_one_worker_stored_all_of_them_serve(workers: DejaProcess, upstream: FakeUpstream) -> None:
    async def use(lines: list[Line]) -> None:
        first = (await lines[0].ask("Which worker knows this?")).json()["choices"]
        for line in lines[1:]:
            answer = await line.ask("Which worker knows this?")
            assert "hit; detail=exact" in answer.headers["cache-status"]
            assert answer.json()["choices"] == first

    await with_lines(workers, 12, use)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.3], ids=["instant provider", "slow provider"])
@pytest.mark.parametrize("stream", [False, True])
async def test_identical_misses_at_all_workers_make_one_call(
    workers: DejaProcess, upstream: FakeUpstream, delay_s: float, stream: bool
) -> None:
    upstream.script(chat("One answer for all.", after_s=delay_s))

    async def use(lines: list[Line]) -> None:
        answers = await asyncio.gather(*(line.ask("What is asked at once?", stream=stream) for line in lines))
        assert all(answer.status_code == 200 and "One" in answer.text for answer in answers)
        assert all(answer.headers["cache-status"].startswith(("deja; hit", "deja; fwd=miss")) for answer in answers), {
            answer.headers["cache-status"] for answer in answers
        }

    await with_lines(workers, 60, use)
    assert len(upstream.requests) == 1


async def test_a_stream_is_read_live_by_callers_of_all_workers(workers: DejaProcess, upstream: FakeUpstream) -> None:
    pieces = sse_chat("alpha beta gamma delta epsilon")
    upstream.script(sse(pieces, between_s=0.15))
    before = counted(workers, "deja_flights_followed_total", how="followed")

    async def read(line: Line) -> tuple[bytes, float]:
        body = {"model": "m", "messages": [{"role": "user", "content": "Who reads along?"}], "stream": True}
        arrived: list[float] = []
        got = b""
        async with line._http.stream("POST", "/chat/completions", json=body) as answer:
            async for piece in answer.aiter_raw():
                got += piece
                arrived.append(time.monotonic())
        return got, arrived[-1] - arrived[0]

    async def use(lines: list[Line]) -> None:
        for whole, took_s in await asyncio.gather(*map(read, lines)):
            assert whole == b"".join(pieces)
            assert took_s > 0.15 * (len(pieces) - 3)

    await with_lines(workers, 16, use)
    assert len(upstream.requests) == 1
    assert counted(workers, "deja_flights_followed_total", how="followed") == before + WORKERS - 1


async def test_an_error_reaches_callers_of_all_workers(workers: DejaProcess, upstream: FakeUpstream) -> None:
    failing = error(503)

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.4)
        await failing(exchange)

    upstream.script(slowly)

    async def use(lines: list[Line]) -> None:
        answers = await asyncio.gather(*(line.ask("Will this fail for all?") for line in lines))
        assert {answer.status_code for answer in answers} == {503}

    await with_lines(workers, 16, use)
    assert len(upstream.requests) == 1


async def test_a_stream_that_breaks_off_ends_with_an_error_event_everywhere(
    workers: DejaProcess, upstream: FakeUpstream
) -> None:
    pieces = sse_chat("never finished")

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await cut_after(pieces[:2])(exchange)

    upstream.script(slowly)

    async def use(lines: list[Line]) -> None:
        answers = await asyncio.gather(*(line.ask("Does this break off?", stream=True) for line in lines))
        assert all(b"upstream_broken" in answer.content for answer in answers)

    await with_lines(workers, 16, use)
    assert len(upstream.requests) == 1


async def test_no_store_is_shared_by_no_worker(workers: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(chat("Mine alone.", after_s=0.2))

    async def use(lines: list[Line]) -> None:
        await asyncio.gather(*(line.ask("Is this kept?", headers={"cache-control": "no-store"}) for line in lines))

    await with_lines(workers, 6, use)
    assert len(upstream.requests) == 6


async def test_a_repeat_is_one_whichever_worker_it_meets(workers: DejaProcess, upstream: FakeUpstream) -> None:
    async def use(lines: list[Line]) -> None:
        session = uuid.uuid4().hex
        told = [await line.ask("Try again?", headers={"x-deja-session": session}) for line in lines]
        assert [answer.headers["cache-status"].partition("detail=")[2] for answer in told[1:]] == ["repeat"] * 7

    await with_lines(workers, 8, use)
    assert len(upstream.requests) == 8


async def test_the_metrics_are_those_of_all_workers(workers: DejaProcess, upstream: FakeUpstream) -> None:
    before = counted(workers, "deja_requests_total", outcome="exact")

    async def use(lines: list[Line]) -> None:
        await lines[0].ask("Counted everywhere?")
        for line in lines:
            await line.ask("Counted everywhere?")

    await with_lines(workers, 12, use)
    assert {counted(workers, "deja_requests_total", outcome="exact") - before for _ in range(6)} == {12}


async def test_all_workers_are_replaced_and_nobody_notices(workers: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(chat("Still here.", after_s=0.05))
    assert workers.process is not None
    is_over = False
    asked = 0
    before = counted(workers, "deja_requests_total")

    async def keep_asking(line: Line) -> None:
        nonlocal asked
        while not is_over:
            asked += 1
            answer = await line.ask(f"Question {asked}?", headers={"x-deja-mode": "off"})
            assert answer.status_code == 200
            await asyncio.sleep(0.02)

    async def use(lines: list[Line]) -> None:
        nonlocal is_over
        users = [asyncio.ensure_future(keep_asking(line)) for line in lines]  # noqa: TID251
        slow = asyncio.ensure_future(_stream_slowly(workers, upstream))  # noqa: TID251
        said = workers.log.count("serves\n")
        workers.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        async with asyncio.timeout(100):
            while workers.log.count("serves\n") < said + WORKERS or workers.log.count("has left\n") < WORKERS:
                await asyncio.sleep(0.1)
                assert not any(user.done() for user in users), "a request was dropped"
        is_over = True
        await asyncio.gather(*users)
        assert await slow == b"".join(SLOWLY)

    await with_lines(workers, 8, use)
    assert counted(workers, "deja_requests_total") == before + asked + 1


SLOWLY = sse_chat("one two three four five six seven eight")


async def _stream_slowly(deja: DejaProcess, upstream: FakeUpstream) -> bytes:
    """A stream that is under way when its worker is told to leave."""
    slowly = sse(SLOWLY, between_s=0.4)
    plain = chat("Still here.", after_s=0.05)

    async def behave(exchange: Exchange) -> None:
        await (slowly if b"take your time" in exchange.request.body else plain)(exchange)

    upstream.script(behave)
    async with httpx.AsyncClient(base_url=deja.base_url, timeout=30) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "take your time"}], "stream": True}
        return (await http.post("/chat/completions", json=body, headers={"x-deja-mode": "off"})).content


async def test_a_worker_that_was_killed_is_replaced_and_its_followers_are_served(
    workers: DejaProcess, upstream: FakeUpstream
) -> None:
    upstream.script(chat("After all.", after_s=2.0))

    async def use(lines: list[Line]) -> None:
        asked = [asyncio.ensure_future(line.ask("Who survives?")) for line in lines]  # noqa: TID251
        await upstream.seen(lambda fake: len(fake.requests) == 1)
        _kill_the_leader(workers, upstream)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        served = [answer for answer in answers if isinstance(answer, httpx.Response)]
        assert served
        assert all(answer.status_code == 200 and "After all." in answer.text for answer in served)
        assert len(upstream.requests) == 2

    await with_lines(workers, 24, use)
    workers.wait_until_whole()


def _kill_the_leader(deja: DejaProcess, provider: FakeUpstream) -> None:
    """kill -9 for the worker that asks the provider; others may keep idle connections to it."""
    os.kill(worker_at(deja, provider.caller_port), signal.SIGKILL)
