"""Claims that wait: woken when there is something, as many as there is for, and what nobody receives goes back; on a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_replies import Claimed, Fields
from proxy.core.coordination.task_requests import ClaimRequest, submission
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services import task_claims, task_wakeups
from proxy.services.background import Background
from proxy.services.task_claims import Claims
from proxy.services.task_wakeups import Lines
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.task_wakeups import WakeUps
from proxy.stores.tasks import TaskStore
from tests.redis_server import private_redis, private_server

CONFIG = {
    "durability": "everysec",
    "max_attempts": "3",
    "lease_s": "60",
    "backoff_s": "1",
    "max_backoff_s": "300",
    "retention_s": "1",
}


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - no event tells of what Redis does
        await asyncio.sleep(0.005)


class CountingStore(TaskStore):
    """Counts claims, and may hold them up before or after they ran."""

    claims = 0
    held: asyncio.Event | None = None
    lost: BaseException | None = None

    async def claim(self, queue: QueueKeys, request: ClaimRequest, leases: Sequence[str]) -> Claimed:
        self.claims += 1
        claimed = await super().claim(queue, request, leases)
        if self.held is not None:
            await self.held.wait()
        if self.lost is not None:
            lost, self.lost = self.lost, None
            raise lost
        return claimed


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


class Bench:
    """A store with claims on it, and a queue of its own."""

    def __init__(self, url: str) -> None:
        self.client = open_client(url, deadline_ms=5000)
        self.store = CountingStore(self.client, max_updates=1000)
        self.queue = QueueKeys(uuid.uuid4().hex, "q")
        self.background = Background()
        self.guard = Guard(self.client.ping)
        self.ear = WakeUps(open_client(url, deadline_ms=None, max_connections=1))
        self.lines = Lines(self.ear, self.background)
        self.claims = Claims(self.store, self.lines, self.guard, self.background, deadline_s=2)

    async def open(self) -> None:
        await self.store.configure(self.queue, {}, CONFIG)

    async def aclose(self) -> None:
        await self.background.aclose()
        await self.guard.aclose()
        await self.ear.aclose()
        await self.client.aclose()

    async def submit(self, *ids: str, **fields: Any) -> None:
        tasks = [submission(fields | {"id": each}, queue="q", minted_id="", payload_bytes=100) for each in ids]
        assert (await self.store.submit(self.queue, tasks)).word == "ok"

    async def claim(self, worker: str = "w", wait_s: float = 5, **how: Any) -> tuple[Fields, ...]:
        return await self.claims.claim(self.queue, ClaimRequest(worker, **how), wait_s=wait_s)

    def begin(self, worker: str = "w", wait_s: float = 5, **how: Any) -> asyncio.Task[tuple[Fields, ...]]:
        return asyncio.get_running_loop().create_task(self.claim(worker, wait_s, **how))

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(5):
            await until(lambda: self.lines.waiting >= count)

    async def ready(self) -> list[str]:
        found = await self.store.claim(self.queue, ClaimRequest("looker", 100), [str(n) for n in range(100)])
        await self.store.give_back(self.queue, "looker", [str(n) for n in range(100)])
        return [record["id"] for record in found.records]


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    opened = Bench(redis_url)
    await opened.open()
    yield opened
    await opened.aclose()


async def test_who_waits_is_woken_by_a_submission_and_not_by_polling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    waiting = bench.begin()
    await bench.until_waiting(1)
    started = time.monotonic()
    await bench.submit("a")
    assert [record["id"] for record in await waiting] == ["a"]
    assert time.monotonic() - started < 2


async def test_a_lost_message_costs_the_poll(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 0.2)
    waiting = bench.begin()
    await bench.until_waiting(1)
    await bench.ear.stop_listening(bench.queue.key("wake"))
    await bench.submit("a")
    assert [record["id"] for record in await waiting] == ["a"]


async def test_a_delayed_task_is_handed_out_when_it_is_due(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    waiting = bench.begin()
    await bench.until_waiting(1)
    started = time.monotonic()
    await bench.submit("a", delay_s=0.3)
    (record,) = await waiting
    assert 0.29 < time.monotonic() - started < 3
    assert float(record["started_at"]) >= float(record["ready_at"])


async def test_a_lease_that_runs_out_wakes_who_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    await bench.submit("a")
    await bench.claim("dies", lease_s=0.3)
    assert [record["attempt"] for record in await bench.claim("lives")] == ["2"]


async def test_as_many_are_woken_as_there_are_tasks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    waiting = [bench.begin(f"w{number}", wait_s=1.5) for number in range(40)]
    await bench.until_waiting(40)
    before = bench.store.claims
    await bench.submit("a", "b", "c")
    got = [record["id"] for records in await asyncio.gather(*waiting) for record in records]
    assert sorted(got) == ["a", "b", "c"]
    # Three that were woken, and each one's last look when its time was up.
    assert bench.store.claims - before <= 3 + 40


async def test_a_hundred_waiting_workers_share_a_hundred_tasks(bench: Bench) -> None:
    waiting = [bench.begin(f"w{number}") for number in range(100)]
    await bench.until_waiting(100)
    for number in range(0, 100, 4):
        await bench.submit(*(f"t{number + each}" for each in range(4)))
    got = [record["id"] for records in await asyncio.gather(*waiting) for record in records]
    assert sorted(got) == sorted(f"t{number}" for number in range(100))


async def test_nothing_comes_so_the_wait_ends_empty(bench: Bench) -> None:
    started = time.monotonic()
    assert await bench.claim(wait_s=0.2) == ()
    assert 0.2 <= time.monotonic() - started < 2


async def test_a_queue_that_is_not_there_is_told_at_once(bench: Bench) -> None:
    bench.queue = QueueKeys(bench.queue.tenant, "none")
    with pytest.raises(RequestError, match="no such queue"):
        await bench.claim()


async def test_who_leaves_while_waiting_takes_no_task_along(bench: Bench) -> None:
    waiting = bench.begin()
    await bench.until_waiting(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert bench.lines.waiting == 0
    await bench.submit("a")
    assert await bench.ready() == ["a"]


async def test_who_leaves_while_the_script_runs_has_its_tasks_given_back_uncounted(bench: Bench) -> None:
    await bench.submit("a", "b")
    bench.store.held = asyncio.Event()
    claiming = bench.begin(count=2)
    async with asyncio.timeout(5):
        await until(lambda: bench.store.claims > 0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    bench.store.held.set()
    bench.store.held = None
    again = await bench.claim(count=2)
    while len(again) < 2:
        again += await bench.claim(count=2)
    assert [(record["id"], record["attempt"]) for record in again] == [("a", "1"), ("b", "1")]


async def test_a_claim_whose_reply_never_came_is_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_claims, "GIVE_BACK_AFTER_S", (0.01,))
    await bench.submit("a")
    bench.store.lost = StoreUnavailableError("no reply")
    with pytest.raises(StoreUnavailableError):
        await bench.claim(wait_s=0)
    (record,) = await bench.claim()
    assert (record["id"], record["attempt"]) == ("a", "1")


async def test_a_woken_worker_that_leaves_passes_the_word_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    first = bench.begin("first")
    await bench.until_waiting(1)
    second = bench.begin("second")
    await bench.until_waiting(2)
    line = bench.lines._lines[bench.queue.key("wake")]
    await bench.client.publish("elsewhere", "1")
    line.ring(1)  # the first is woken, and in the same moment it leaves
    first.cancel()
    await bench.client.xlen("elsewhere")
    assert line.rings >= 1
    await bench.submit("a")
    assert [record["id"] for record in await second] == ["a"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_on_the_way_out_everyone_stops_waiting(bench: Bench) -> None:
    waiting = [bench.begin(f"w{number}", wait_s=60) for number in range(3)]
    await bench.until_waiting(3)
    bench.lines.close()
    async with asyncio.timeout(3):
        assert await asyncio.gather(*waiting) == [(), (), ()]


async def test_a_queue_is_listened_to_no_longer_when_nobody_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_wakeups, "LINGER_S", 0.05)
    await bench.claim(wait_s=0.05)
    channel = bench.queue.key("wake")
    assert await bench.client.pubsub_numsub(channel) == [(channel.encode(), 1)]
    async with asyncio.timeout(5):
        await until(lambda: not bench.lines._lines)
        await until(lambda: not bench.background._tasks - {bench.lines._listener})
    assert await bench.client.pubsub_numsub(channel) == [(channel.encode(), 0)]
    await bench.submit("a")
    assert len(await bench.claim()) == 1


async def test_after_redis_was_away_who_waits_is_woken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_wakeups, "POLL_S", 60.0)
    with private_server() as server:
        bench = Bench(server.url)
        await bench.open()
        waiting = bench.begin(wait_s=20)
        await bench.until_waiting(1)
        pid = server.pid
        assert pid is not None
        other: Redis = open_client(server.url, deadline_ms=1000)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(15):
            while True:
                try:
                    await other.ping()
                    break
                except Exception:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(task_wakeups.RETRY_S + 0.3)
            if waiting.done():  # it was told that Redis was away, and asks again
                with pytest.raises(StoreUnavailableError):
                    await waiting
                waiting = bench.begin(wait_s=20)
                await bench.until_waiting(1)
            await bench.submit("a")
            assert [record["id"] for record in await waiting] == ["a"]
        await other.aclose()
        await bench.aclose()
