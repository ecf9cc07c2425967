"""Queues on a real Redis: a step sent again is done once, tasks are canceled wherever they are, and paused for input."""

from __future__ import annotations

import pytest
import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import VERBS, claim, ids, new, submit
from tests.queue_check import problems


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "renew"])
async def test_a_step_sent_again_is_done_once(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, verb: str
) -> None:
    await submit(store, queue, new("a"))
    (held,) = await claim(store, queue)
    first = await store.step(verb, queue, "a", held["lease"], *VERBS[verb])
    again = await store.step(verb, queue, "a", held["lease"], *VERBS[verb])
    assert (first.word, again.word) == ("ok", "repeated")
    assert again.record == first.record
    assert plain.xlen(queue.key("updates")) == 3
    for other in set(VERBS) - {verb}:
        assert (await store.step(other, queue, "a", held["lease"], *VERBS[other])).word == "lease_lost"


@pytest.mark.parametrize("state", ["delayed", "ready", "returned", "working", "paused"])
async def test_a_task_can_be_canceled_wherever_it_is(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, state: str
) -> None:
    await submit(store, queue, new("a", delay_s=60) if state == "delayed" else new("a"))
    lease = ""
    if state in ("returned", "working", "paused"):
        lease = (await claim(store, queue))[0]["lease"]
    if state == "returned":
        await store.step("release", queue, "a", lease)
    if state == "paused":
        await store.step("pause", queue, "a", lease, "auth-required", b"1")
    assert (await store.step("cancel", queue, "a")).record["state"] == "canceled"
    assert (await store.step("cancel", queue, "a")).word == "repeated"
    assert problems(plain, queue) == []
    assert await ids(store, queue) == []
    if state == "working":
        for verb, rest in VERBS.items():
            assert (await store.step(verb, queue, "a", lease, *rest)).word == "task_canceled"
    assert (await store.step("complete", queue, "a", "forged", b"1")).word == "lease_lost"


async def test_a_paused_task_waits_for_input_and_its_attempt_does_not_count(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("a"))
    (held,) = await claim(store, queue)
    assert (await store.step("input", queue, "a", b"1")).word == "not_paused"
    paused = await store.step("pause", queue, "a", held["lease"], "input-required", b'"which one?"')
    assert (paused.record["state"], paused.record["message"]) == ("input-required", '"which one?"')
    assert await ids(store, queue) == []
    assert problems(plain, queue) == []
    await store.step("input", queue, "a", b'"the red one"')
    (again,) = await claim(store, queue)
    assert (again["input"], again["attempt"]) == ('"the red one"', "1")
