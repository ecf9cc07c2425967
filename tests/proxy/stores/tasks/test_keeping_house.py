"""Queues on a real Redis: what is removed when it is old, too much or asked to be erased, and a sweep that goes on."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.services.task_erasure import TaskErasure
from proxy.stores import tasks as tasks_module
from proxy.stores.breaker import Guard
from proxy.stores.task_lists import TaskLists
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import DEFAULTS, VERBS, claim, ids, new, submit
from tests.queue_check import problems


async def test_what_ended_long_ago_is_removed_with_all_that_leads_to_it(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await store.configure(queue, {"retention_s": "0.05"}, DEFAULTS)
    await submit(store, queue, new("parent"), new("open"))
    await submit(store, queue, *(new(f"t{n}", idempotency_key=f"k{n}", parent="parent") for n in range(4)))
    for held in await claim(store, queue):
        number = held["id"].removeprefix("t")
        if number.isdigit():
            verb = "fail" if number in "01" else "complete"
            await store.step(
                verb, queue, held["id"], held["lease"], *((b"1", "0", "", "0") if verb == "fail" else (b"1",))
            )
    await store.step("cancel", queue, "parent")
    assert await store.prune(queue, keep=100) == 0
    await asyncio.sleep(0.08)
    assert await store.prune(queue, keep=100) == 5
    left = set(plain.scan_iter(f"{queue.base}*"))
    assert left == {
        queue.key(name)
        for name in ("config", "task:open", "tasks", "state:working", "leases", "ready:5", "updates", "dead")
    }
    assert plain.xlen(queue.key("dead")) == 0
    assert problems(plain, queue) == []


async def test_workers_that_are_gone_are_forgotten_and_those_that_hold_something_are_not(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(store, queue, new("a"), new("b"), new("c"))
    (gone,) = await claim(store, queue, worker="gone", count=1)
    await store.step("complete", queue, "a", gone["lease"], b"1")
    await claim(store, queue, worker="busy", count=1)
    (back,) = await claim(store, queue, worker="back", count=1)
    await store.step("release", queue, "c", back["lease"])
    await store.prune(queue, keep=100)
    assert len(plain.xinfo_consumers(queue.key("ready:5"), "workers")) == 4
    monkeypatch.setattr(tasks_module, "CONSUMER_KEPT_MS", 0)
    await asyncio.sleep(0.01)
    await store.prune(queue, keep=100)
    left = {consumer["name"] for consumer in plain.xinfo_consumers(queue.key("ready:5"), "workers")}
    assert left == {"busy", "~returned"}
    assert problems(plain, queue) == []


async def test_too_many_ended_tasks_are_removed_oldest_first_and_the_dead_letter_is_spared(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, *(new(f"t{number:02}") for number in range(20)))
    for held in await claim(store, queue):
        is_dead = held["id"] == "t00"
        await store.step(
            *(
                ("fail", queue, held["id"], held["lease"], b"1", "0", "", "0")
                if is_dead
                else ("complete", queue, held["id"], held["lease"], b"1")
            )
        )
    assert await store.prune(queue, keep=5) == 15
    assert plain.zrange(queue.key("tasks"), 0, -1) == ["t00", "t16", "t17", "t18", "t19"]
    assert problems(plain, queue) == []


async def test_the_tasks_of_a_session_are_erased_whatever_became_of_them(
    store: TaskStore, lists: TaskLists, queue: QueueKeys, client: Redis, plain: redis.Redis
) -> None:
    await submit(store, queue, *(new(f"t{n}", session="s", idempotency_key=f"k{n}", deadline_s=60) for n in range(6)))
    await submit(
        store, queue, new("later", session="s", delay_s=60), new("other", session="s2", parent="t0"), new("none")
    )
    held = await claim(store, queue, count=5)
    for task, verb in zip(held, ("complete", "fail", "pause", "release"), strict=False):
        rest = (b"1", "0", "", "0") if verb == "fail" else VERBS[verb]
        await store.step(verb, queue, task["id"], task["lease"], *rest)
    await store.register(queue)
    guard = Guard(client.ping)
    erasure = TaskErasure(store, lists, guard, deadline_s=5)
    assert await erasure.erase_session(queue.tenant, "s") == 7
    assert await erasure.erase_session(queue.tenant, "s") == 0
    assert problems(plain, queue) == []
    assert await ids(store, queue) == ["other", "none"]
    assert not plain.exists(queue.key("idempotency"), queue.key("deadlines"))
    assert (await store.step("complete", queue, "t4", held[4]["lease"], b"1")).word == "task_not_found"
    await guard.aclose()


async def test_updates_are_capped(client: Redis, queue: QueueKeys, plain: redis.Redis) -> None:
    store = TaskStore(client, max_updates=100)
    await store.configure(queue, {}, DEFAULTS)
    for _ in range(5):
        await submit(store, queue, *(new() for _ in range(100)))
    assert plain.xlen(queue.key("updates")) < 300


async def test_sweeping_goes_on_after_scripts_were_flushed_and_past_a_queue_that_is_broken(
    store: TaskStore, queue: QueueKeys, client: Redis
) -> None:
    await submit(store, queue, new("a"))
    await claim(store, queue, lease_s=0.01)
    broken = QueueKeys(queue.tenant, "broken")
    await store.configure(broken, {}, DEFAULTS)
    await client.set(broken.key("leases"), "no sorted set")
    await asyncio.sleep(0.02)
    await client.script_flush()
    assert await store.sweep([broken, queue, QueueKeys(queue.tenant, "none")]) == [None, 1, 0]
