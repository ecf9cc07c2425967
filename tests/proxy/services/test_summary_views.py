"""Summary views: partitions and tasks over long-term memory, told honestly when they fail."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.memory.records import FoundMemories, FoundMemory, Match, Memory, MemoryType, Search
from proxy.core.memory_server.views import Task, TaskStatus, View
from proxy.errors import RequestError, UpstreamError
from proxy.services import summary_views
from proxy.services.asking_again import Asker
from proxy.services.background import Background
from proxy.services.summaries import Summaries
from proxy.services.summary_views import SummaryViews
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.summary_views import SummaryViewStore
from tests.proxy.services.auditing import Provider, Upstreams
from tests.redis_server import private_redis

NOW = 1_800_000_000.0
MEMORY = Memory(
    memory_id="m", text="User likes tea", memory_type=MemoryType.SEMANTIC, user="ann", session=None, namespace=None, topics=(),
    entities=(), created_at=1.0, updated_at=1.0, accessed_at=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    # As in the application: redis-py's own timer loses cancellations, on Python 3.11 at least.
    opened = open_client(redis_url, deadline_ms=None)
    yield opened
    await opened.aclose()


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    made = Background()
    yield made
    await made.aclose()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


class LongTerm:
    """Some memories; a search by user finds that user's."""

    def __init__(self, *memories: Memory) -> None:
        self.memories = memories
        self.searches: list[Search] = []

    async def search(self, tenant: str, wanted: Search, *, is_use: bool = True) -> FoundMemories:
        assert not is_use, "a summary is no use of a memory: it could never be forgotten for want of use"
        self.searches.append(wanted)
        match = wanted.conditions.user
        fit = [each for each in self.memories if match == Match() or each.user in (match.one_of or ())]
        page = fit[wanted.offset : wanted.offset + wanted.limit]
        following = wanted.offset + len(page)
        return FoundMemories(
            tuple(FoundMemory(each, 0.0, 1.0) for each in page), len(fit), following if following < len(fit) else None
        )


Make = Callable[..., SummaryViews]


@pytest.fixture
def make(client: Redis, background: Background) -> Make:
    def made(
        long_term: LongTerm, reply: Any = lambda body: "A summary.", *, model: str | None = "small", now: float = NOW
    ) -> SummaryViews:
        asker = Asker(answer_bytes=1 << 20, on_call=lambda purpose, usage: None)
        upstreams: Any = Upstreams(Provider(reply))
        return SummaryViews(
            SummaryViewStore(client),
            long_term,
            Summaries(asker, upstreams, model=model),
            Guard(client.ping),
            background,
            deadline_s=5.0,
            now=lambda: now,
        )

    return made


VIEW = View("v1", ("user_id",))


async def ended(service: SummaryViews, tenant: str, task_id: str) -> Task:
    for _ in range(1000):
        task = await service.task(tenant, task_id)
        if task is not None and task.is_over:
            return task
        await asyncio.sleep(0.005)
    raise AssertionError("it did not end within 5 s")


async def test_a_run_summarises_every_partition(make: Make, tenant: str) -> None:
    long_term = LongTerm(MEMORY, replace(MEMORY, user="bob"), replace(MEMORY, user=None))
    service = make(long_term)
    await service.create(tenant, VIEW)
    task = await service.run(tenant, "v1", "t1", ())
    assert task.status is TaskStatus.PENDING
    done = await ended(service, tenant, "t1")
    assert (done.status, done.started_at, done.completed_at, done.error) == (TaskStatus.SUCCESS, NOW, NOW, None)
    found = await service.partitions(tenant, "v1", {})
    assert [(each.group, each.summary, each.memory_count) for each in found] == [
        ({"user_id": "ann"}, "A summary.", 1),
        ({"user_id": "bob"}, "A summary.", 1),
    ]


async def test_a_run_reads_page_by_page(make: Make, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_views, "PAGE", 2)
    service = make(LongTerm(*(replace(MEMORY, memory_id=f"m{number}") for number in range(5))))
    await service.create(tenant, VIEW)
    assert (await service.run_partition(tenant, "v1", {"user_id": "ann"}, ())).memory_count == 5


async def test_a_model_that_fails_leaves_no_summary_and_says_so(make: Make, tenant: str) -> None:
    service = make(LongTerm(MEMORY), lambda body: (500, b"{}"))
    await service.create(tenant, VIEW)
    with pytest.raises(UpstreamError, match="not summarised"):
        await service.run_partition(tenant, "v1", {"user_id": "ann"}, ())
    await service.run(tenant, "v1", "t1", ())
    done = await ended(service, tenant, "t1")
    assert done.status is TaskStatus.FAILED
    assert "not summarised" in str(done.error)
    assert await service.partitions(tenant, "v1", {}) == []


async def test_what_nobody_foresaw_ends_the_task_and_is_not_quoted(make: Make, tenant: str) -> None:
    long_term = LongTerm(MEMORY)

    async def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("a secret")

    long_term.search = broken  # type: ignore[method-assign]
    service = make(long_term)
    await service.create(tenant, VIEW)
    await service.run(tenant, "v1", "t1", ())
    done = await ended(service, tenant, "t1")
    assert done.status is TaskStatus.FAILED
    assert "secret" not in str(done.error)


async def test_without_a_model_nothing_runs_but_a_view_may_name_one(make: Make, tenant: str) -> None:
    service = make(LongTerm(MEMORY), model=None)
    await service.create(tenant, VIEW)
    for call in (service.run(tenant, "v1", "t1", ()), service.run_partition(tenant, "v1", {"user_id": "ann"}, ())):
        with pytest.raises(RequestError, match="DEJA_MEMORY__MODEL"):
            await call
    assert await service.task(tenant, "t1") is None
    await service.create(tenant, replace(VIEW, view_id="v2", model="named"))
    assert (await service.run_partition(tenant, "v2", {"user_id": "ann"}, ())).summary == "A summary."


async def test_a_task_that_is_under_way_is_told_and_not_begun_again(make: Make, tenant: str) -> None:
    release = asyncio.Event()
    long_term = LongTerm(MEMORY)
    search = long_term.search

    async def slow(*arguments: Any, **named: Any) -> Any:
        await release.wait()
        return await search(*arguments, **named)

    long_term.search = slow  # type: ignore[method-assign]
    service = make(long_term)
    await service.create(tenant, VIEW)
    await service.run(tenant, "v1", "t1", ())
    again = await service.run(tenant, "v1", "t1", ())
    assert not again.is_over
    release.set()
    await ended(service, tenant, "t1")
    assert len(long_term.searches) == 1


async def test_a_task_whose_process_died_is_told_as_failed_and_may_run_again(
    make: Make, client: Redis, tenant: str
) -> None:
    store = SummaryViewStore(client)
    await store.write_task(
        tenant, Task("t1", "v1", TaskStatus.RUNNING, created_at=NOW - 100, alive_at=NOW - 100, started_at=NOW - 100)
    )
    service = make(LongTerm(MEMORY))
    await service.create(tenant, VIEW)
    dead = await service.task(tenant, "t1")
    assert dead is not None
    assert dead.status is TaskStatus.FAILED
    await service.run(tenant, "v1", "t1", ())
    assert (await ended(service, tenant, "t1")).status is TaskStatus.SUCCESS


async def test_continuous_views_are_refreshed_by_one_of_several_processes(
    make: Make, client: Redis, tenant: str
) -> None:
    await client.flushall()
    first, second = LongTerm(MEMORY), LongTerm(MEMORY)
    one, two = make(first), make(second)
    await one.create(tenant, replace(VIEW, is_continuous=True))
    await one.create(tenant, replace(VIEW, view_id="v2"))
    await asyncio.gather(one.refresh_due(), two.refresh_due())
    assert len(first.searches) + len(second.searches) == 1
    assert [each.summary for each in await one.partitions(tenant, "v1", {})] == ["A summary."]
    assert await one.partitions(tenant, "v2", {}) == []


async def test_another_tenant_has_no_such_view(make: Make, tenant: str) -> None:
    service = make(LongTerm(MEMORY))
    await service.create(tenant, VIEW)
    stranger = uuid.uuid4().hex
    for call in (
        service.view(stranger, "v1"),
        service.partitions(stranger, "v1", {}),
        service.run(stranger, "v1", "t1", ()),
        service.run_partition(stranger, "v1", {"user_id": "ann"}, ()),
    ):
        with pytest.raises(RequestError, match="not found") as caught:
            await call
        assert caught.value.status == 404


async def test_what_may_tell_of_an_erased_user_goes_and_what_tells_of_others_stays(make: Make, tenant: str) -> None:
    service = make(LongTerm(MEMORY, replace(MEMORY, user="bob")))
    await service.create(tenant, VIEW)
    await service.create(tenant, View("v2", ("memory_type",)))
    for group in ({"user_id": "ann"}, {"user_id": "bob"}):
        await service.run_partition(tenant, "v1", group, ())
    await service.run_partition(tenant, "v2", {"memory_type": "semantic"}, ())
    assert await service.erase_user(tenant, "ann") == 2
    assert [each.group for each in await service.partitions(tenant, "v1", {})] == [{"user_id": "bob"}]
    assert await service.partitions(tenant, "v2", {}) == []
    assert await service.erase_session(tenant, "any") == 1
