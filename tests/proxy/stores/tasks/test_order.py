"""Queues on a real Redis: which task comes first, and when one that is delayed, given back or retried comes."""

from __future__ import annotations

import asyncio

import pytest
import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_requests import ClaimRequest
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import DEFAULTS, claim, ids, leases, new, submit
from tests.queue_check import problems


async def test_higher_priorities_come_first_and_within_one_the_first_submitted(
    store: TaskStore, queue: QueueKeys
) -> None:
    priorities = [5, 0, 9, 5, 9, 3, 0, 5]
    await submit(store, queue, *(new(f"t{number}", priority=priority) for number, priority in enumerate(priorities)))
    await submit(store, queue, new("late", priority=9))
    expected = [f"t{number}" for number, _ in sorted(enumerate(priorities), key=lambda pair: -pair[1])]
    expected.insert(2, "late")
    assert await ids(store, queue, count=4) + await ids(store, queue) == expected


async def test_delayed_tasks_come_when_they_are_due_in_that_order(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("c", delay_s=0.30), new("a", delay_s=0.1), new("b", delay_s=0.2), new("now"))
    first = await store.claim(queue, ClaimRequest("w", 9), leases(9))
    assert [record["id"] for record in first.records] == ["now"]
    assert first.next_due_s is not None
    assert 0 < first.next_due_s <= 0.11
    assert problems(plain, queue) == []
    await asyncio.sleep(0.32)
    assert await ids(store, queue) == ["a", "b", "c"]


async def test_what_is_delayed_to_the_same_moment_keeps_its_order(store: TaskStore, queue: QueueKeys) -> None:
    names = [f"t{number:02}" for number in range(20)]
    shuffled = sorted(names, key=lambda name: hash(name))
    await submit(store, queue, *(new(name, delay_s=0.05) for name in shuffled))
    await asyncio.sleep(0.1)
    assert await ids(store, queue) == shuffled


async def test_a_released_task_keeps_its_place_and_its_attempts(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("a"), new("b"), new("c"))
    a, b = await claim(store, queue, count=2)
    assert (await store.step("release", queue, "b", b["lease"])).word == "ok"
    assert (await store.step("release", queue, "a", a["lease"])).record["attempt"] == "0"
    assert problems(plain, queue) == []
    assert plain.xpending(queue.key("ready:5"), "workers")["consumers"] == [{"name": "~returned", "pending": 2}]
    again = await claim(store, queue, worker="other")
    assert [record["id"] for record in again] == ["a", "b", "c"]
    assert {record["attempt"] for record in again} == {"1"}


async def test_the_pause_doubles_up_to_its_bound_and_chance_takes_half_off_at_most(
    store: TaskStore, queue: QueueKeys
) -> None:
    await store.configure(queue, {"backoff_s": "100", "max_backoff_s": "350", "max_attempts": "9"}, DEFAULTS)
    pauses = []
    for number, chance in enumerate(["0", "0", "0", "0.999"]):
        await submit(store, queue, new(f"t{number}"))
        for _ in range(number):  # so many attempts before
            (held,) = await claim(store, queue)
            await store.step("fail", queue, held["id"], held["lease"], b"1", "1", "0", "0")
        (held,) = await claim(store, queue)
        failed = await store.step("fail", queue, held["id"], held["lease"], b"1", "1", "", chance)
        pauses.append(float(failed.record["ready_at"]) - float(failed.record["changed_at"]))
    assert pauses == pytest.approx([100, 200, 350, 175], rel=0.01)
