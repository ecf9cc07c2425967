"""Queues on a real Redis: whatever is done in whatever order, all structures always tell the same."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.coordination.keys import QueueKeys
from proxy.stores.client import open_client
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import DEFAULTS, VERBS, claim, new, submit
from tests.queue_check import problems

STEP = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 9), st.sampled_from(["", "delay_s", "deadline_s"])),
    st.tuples(st.just("claim"), st.sampled_from(["w1", "w2"]), st.integers(1, 3), st.booleans(), st.booleans()),
    st.tuples(
        st.sampled_from([*VERBS, "fail for good", "cancel", "requeue", "input"]), st.integers(0, 50), st.booleans()
    ),
    st.just(("sweep",)),
    st.just(("requeue all",)),
    st.just(("prune",)),
    st.just(("give back",)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=5, max_size=40))
def test_whatever_is_done_in_whatever_order_all_structures_tell_the_same(redis_url: str, steps: list[Any]) -> None:
    queue = QueueKeys(uuid.uuid4().hex, "q")

    async def run() -> None:
        client = open_client(redis_url, deadline_ms=5000)
        try:
            await _play(TaskStore(client, max_updates=10_000), queue, steps)
        finally:
            await client.aclose()

    asyncio.run(run())
    with redis.Redis.from_url(redis_url, decode_responses=True) as plain:
        assert problems(plain, queue) == []
        for key in plain.scan_iter(f"{queue.base}*"):
            plain.delete(key)


async def _play(store: TaskStore, queue: QueueKeys, steps: list[Any]) -> None:
    names = (f"t{number}" for number in itertools.count())
    made: list[str] = []
    held: list[tuple[str, str]] = []
    completed: set[str] = set()
    await store.configure(queue, {}, DEFAULTS | {"backoff_s": "0.001", "max_attempts": "2", "retention_s": "0.001"})
    for step in steps:
        match step:
            case ("submit", priority, when):
                made.append(next(names))
                await submit(store, queue, new(made[-1], priority=priority, **({when: 0.002} if when else {})))
            case ("claim", worker, count, is_recovering, is_short):
                how = {"lease_s": 0.001} if is_short else {}
                for record in await claim(store, queue, worker=worker, count=count, is_recovering=is_recovering, **how):
                    held.append((record["id"], record["lease"]))
            case ("sweep",):
                await store.sweep([queue])
            case ("requeue all",):
                await store.requeue_dead(queue, 100)
            case ("prune",):
                await store.prune(queue, keep=3)
            case ("give back",):
                await store.give_back(queue, "w1", [lease for _, lease in held[-2:]])
            case (("cancel" | "requeue") as verb, which, _) if made:
                await store.step(verb, queue, made[which % len(made)])
            case ("input", which, _) if made:
                await store.step("input", queue, made[which % len(made)], b"1")
            case (verb, which, is_own) if held:
                task, lease = held[which % len(held)]
                name = "fail" if verb == "fail for good" else verb
                rest = (b"1", "0", "", "0") if verb == "fail for good" else VERBS[name]
                done = await store.step(name, queue, task, lease if is_own else "forged", *rest)
                assert is_own or done.word in ("lease_lost", "task_not_found")
                if name == "complete" and done.word == "ok":
                    assert task not in completed
                    completed.add(task)
