"""Queues on a real Redis: the pages of a queue's tasks, and how it stands."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.stores.task_lists import TaskLists
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import claim, new, submit


async def test_pages_show_every_task_once_newest_first(store: TaskStore, lists: TaskLists, queue: QueueKeys) -> None:
    await submit(store, queue, *(new(f"t{number:03}") for number in range(250)))
    await submit(store, queue, new("last"))
    seen: list[str] = []
    before = None
    while page := await lists.page(queue, "tasks", before, 40):
        seen += [task for _, task in page]
        before = page[-1]
    assert seen == ["last", *(f"t{number:03}" for number in reversed(range(250)))]


async def test_tasks_of_one_instant_are_paged_too(lists: TaskLists, queue: QueueKeys, client: Redis) -> None:
    await client.zadd(queue.key("tasks"), {f"t{number:03}": 1795383120686.739 for number in range(500)})
    seen: list[str] = []
    before = None
    while page := await lists.page(queue, "tasks", before, 30):
        seen += [task for _, task in page]
        before = page[-1]
    assert seen == [f"t{number:03}" for number in reversed(range(500))]


async def test_how_a_queue_stands(store: TaskStore, lists: TaskLists, queue: QueueKeys) -> None:
    await submit(store, queue, new("a", priority=2), new("b", delay_s=60))
    await asyncio.sleep(0.03)
    standing = await lists.standing(queue)
    assert standing is not None
    assert (standing.counts["submitted"], standing.counts["delayed"], standing.counts["dead"]) == (2, 1, 0)
    assert standing.oldest_ready_s is not None
    assert 0.02 < standing.oldest_ready_s < 5
    (held,) = await claim(store, queue)
    assert (await lists.standing(queue)).oldest_ready_s is None  # type: ignore[union-attr]
    await store.step("release", queue, "a", held["lease"])
    assert (await lists.standing(queue)).oldest_ready_s > 0.02  # type: ignore[union-attr,operator]
    assert await lists.standing(QueueKeys(queue.tenant, "none")) is None
