"""Queues on a real Redis: which tasks end in the dead letter, how each death is told, and the way back."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.tasks import DEATHS
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import claim, ids, new, submit
from tests.queue_check import problems


async def test_attempts_used_up_by_dead_workers_end_in_the_dead_letter(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("poison", max_attempts=2), new("fine"))
    for _ in range(2):
        assert (await ids(store, queue, count=1, lease_s=0.02)) == ["poison"]
        await asyncio.sleep(0.04)
    assert await ids(store, queue) == ["fine"]
    ((_, letter),) = plain.xrange(queue.key("dead"))
    assert (letter["task"], letter["reason"], letter["attempts"]) == ("poison", "lease-expired", "2")
    assert problems(plain, queue) == []


async def test_a_task_that_kills_its_worker_at_every_start_ends_in_the_dead_letter(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("poison"))
    for attempt in range(3):
        assert await ids(store, queue, is_recovering=attempt > 0) == ["poison"]
    assert await ids(store, queue, is_recovering=True) == []
    assert [fields["reason"] for _, fields in plain.xrange(queue.key("dead"))] == ["worker-restarted"]


async def test_every_task_that_fails_for_good_is_told_once_with_its_reason(
    client: Redis, store: TaskStore, queue: QueueKeys
) -> None:
    deaths: list[str] = []
    telling = TaskStore(client, max_updates=100, on_death=deaths.append)
    await submit(telling, queue, *(new(f"t{number}", max_attempts=1) for number in range(4)))
    held = {record["id"]: record["lease"] for record in await claim(telling, queue, worker="w1", count=3)}
    fail = (b"1", "1", "", "0")
    for _ in range(2):  # the second time its answer was lost
        assert (await telling.step("fail", queue, "t0", held["t0"], *fail)).word in ("ok", "repeated")
    assert (await telling.step("fail", queue, "t1", held["t1"], b"1", "0", "", "0")).record["state"] == "failed"
    assert deaths == ["attempts-used-up", "not-retried"]
    await claim(telling, queue, worker="w1", is_recovering=True)  # loses t2, and gets t3
    assert deaths.pop() == "worker-restarted"
    await claim(telling, queue, worker="w1", is_recovering=True)
    assert deaths.pop() == "worker-restarted"

    await submit(telling, queue, *(new(name, max_attempts=1, deadline_s=3600) for name in ("late", "later", "lost")))
    held = {record["id"]: record["lease"] for record in await claim(telling, queue)}
    await client.hset(queue.key("task:late"), "deadline_at", "1.000")
    await client.zadd(queue.key("deadlines"), {"late": 1000, "later": 1000})
    await client.zadd(queue.key("leases"), {"lost": 1000})
    for _ in range(2):
        assert (await telling.step("renew", queue, "late", held["late"], "")).word == "deadline_passed"
    assert deaths[2:] == ["deadline"]
    assert await telling.sweep([queue]) == [2]
    assert sorted(deaths[3:]) == ["deadline", "lease-expired"]
    assert set(deaths) | {"worker-restarted"} == set(DEATHS)
    assert await telling.sweep([queue]) == [0]
    assert len(deaths) == 5


async def test_a_dead_task_is_requeued_with_all_its_attempts(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("a"), new("b"), new("c"))
    for held in await claim(store, queue):
        await store.step("fail", queue, held["id"], held["lease"], b'{"why":"x"}', "0", "", "0")
    letters = [fields for _, fields in plain.xrange(queue.key("dead"))]
    assert [(letter["task"], letter["reason"], letter["error"]) for letter in letters] == [
        (name, "not-retried", '{"why":"x"}') for name in "abc"
    ]
    revived = await store.step("requeue", queue, "b")
    assert (revived.word, revived.record["attempt"], revived.record["state"]) == ("ok", "0", "submitted")
    assert (await store.step("requeue", queue, "b")).word == "not_dead"
    assert problems(plain, queue) == []
    rest = await store.requeue_dead(queue, 1)
    assert (rest.count, rest.left) == (1, 1)
    assert await ids(store, queue) == ["b", "a"]
    assert problems(plain, queue) == []


@pytest.mark.parametrize("state", ["delayed", "ready", "working", "paused"])
async def test_a_task_that_is_late_has_failed_and_is_not_dead(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, state: str
) -> None:
    await submit(store, queue, new("a", deadline_s=0.05, **({"delay_s": 60} if state == "delayed" else {})))
    lease = (await claim(store, queue))[0]["lease"] if state in ("working", "paused") else ""
    if state == "paused":
        await store.step("pause", queue, "a", lease, "input-required", b"1")
    await asyncio.sleep(0.07)
    if state == "working":
        assert (await store.step("complete", queue, "a", lease, b"1")).word == "deadline_passed"  # before any sweep
    else:
        assert await store.sweep([queue]) == [1]
    record = plain.hgetall(queue.key("task:a"))
    assert (record["state"], record["reason"]) == ("failed", "deadline")
    assert not plain.exists(queue.key("dead"))
    assert problems(plain, queue) == []
    assert (await store.step("requeue", queue, "a")).word == "not_dead"
