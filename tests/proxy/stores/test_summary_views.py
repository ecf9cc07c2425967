"""Summary views in a real Redis."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from proxy.core.memory.records import Conditions, Match
from proxy.core.memory_server import keys
from proxy.core.memory_server.views import Partition, Task, TaskStatus, View
from proxy.stores.summary_views import SummaryViewStore

VIEW = View("v1", ("user_id",), {"namespace": "n"}, Conditions(namespace=Match(one_of=("n",))), name="Mine")
PARTITION = Partition("v1", {"user_id": "ann"}, "She likes tea.", 2, 4.5)


@pytest.fixture
def store(client: Redis) -> SummaryViewStore:
    return SummaryViewStore(client)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def test_views_are_kept_each_for_its_tenant(store: SummaryViewStore, tenant: str) -> None:
    assert await store.add(tenant, VIEW, most=10)
    assert await store.view(tenant, "v1") == VIEW
    assert await store.views(tenant) == [VIEW]
    stranger = uuid.uuid4().hex
    assert await store.view(stranger, "v1") is None
    assert await store.views(stranger) == []
    assert tenant in await store.tenants()


async def test_there_are_so_many_and_no_more(store: SummaryViewStore, tenant: str) -> None:
    assert await store.add(tenant, VIEW, most=1)
    assert not await store.add(tenant, replace(VIEW, view_id="v2"), most=1)


async def test_a_removed_view_takes_its_summaries_with_it_and_gets_no_new_ones(
    store: SummaryViewStore, client: Redis, tenant: str
) -> None:
    await store.add(tenant, VIEW, most=10)
    assert await store.keep(tenant, PARTITION)
    assert await store.partitions(tenant, "v1") == [PARTITION]
    await store.remove(tenant, "v1")
    assert not await store.keep(tenant, PARTITION)
    assert await store.partitions(tenant, "v1") == []
    assert await client.exists(keys.views(tenant), keys.view(tenant, "v1")) == 0


async def test_a_partition_that_is_run_again_replaces_the_former(store: SummaryViewStore, tenant: str) -> None:
    await store.add(tenant, VIEW, most=10)
    newer = replace(PARTITION, summary="She likes coffee.")
    other = replace(PARTITION, group={"user_id": "bob"})
    for partition in (PARTITION, newer, other):
        await store.keep(tenant, partition)
    assert await store.partitions(tenant, "v1") == [newer, other]


async def test_a_task_is_read_as_it_was_written_and_goes_by_itself(
    store: SummaryViewStore, client: Redis, tenant: str
) -> None:
    task = Task("any id/at all", "v1", TaskStatus.PENDING, created_at=1.25, alive_at=1.25)
    for each in (task, replace(task, status=TaskStatus.FAILED, started_at=2.0, completed_at=3.0, error="no")):
        await store.write_task(tenant, each)
        assert await store.task(tenant, "any id/at all") == each
    assert await store.task(uuid.uuid4().hex, "any id/at all") is None
    assert await client.ttl(keys.task(tenant, "any id/at all")) > 86_400


async def test_one_process_has_the_turn(store: SummaryViewStore, tenant: str) -> None:
    assert await store.take_turn(tenant, "v1", for_s=60)
    assert not await store.take_turn(tenant, "v1", for_s=60)
    assert await store.take_turn(tenant, "v2", for_s=60)
