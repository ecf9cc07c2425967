"""Queues on a real Redis: leases run out, are renewed and replaced, and of all that hold one a single worker completes."""

from __future__ import annotations

import asyncio

import pytest
import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_requests import ClaimRequest
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import VERBS, claim, ids, leases, new, submit
from tests.queue_check import problems


async def test_a_lease_that_ran_out_makes_the_task_ready_with_its_attempt_counted(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("a"), new("b"))
    (old,) = await claim(store, queue, worker="gone", count=1, lease_s=0.05)
    await asyncio.sleep(0.08)
    assert await store.sweep([queue]) == [1]
    assert problems(plain, queue) == []
    again, _ = await claim(store, queue)
    assert (again["id"], again["attempt"], again["reason"]) == ("a", "2", "")
    assert (await store.step("complete", queue, "a", old["lease"], b"1")).word == "lease_lost"
    assert (await store.step("complete", queue, "a", again["lease"], b"2")).record["result"] == "2"


async def test_a_claim_alone_sees_leases_that_ran_out(store: TaskStore, queue: QueueKeys) -> None:
    await submit(store, queue, new("a"))
    await claim(store, queue, lease_s=0.03)
    assert await ids(store, queue) == []
    await asyncio.sleep(0.05)
    assert await ids(store, queue) == ["a"]


async def test_a_renewed_lease_holds(store: TaskStore, queue: QueueKeys) -> None:
    await submit(store, queue, new("a"))
    (held,) = await claim(store, queue, lease_s=0.05)
    renewed = await store.step("renew", queue, "a", held["lease"], "5000")
    assert float(renewed.record["lease_until"]) - float(held["lease_until"]) > 4
    await asyncio.sleep(0.08)
    assert await ids(store, queue) == []
    assert (await store.step("renew", queue, "a", "forged", "")).word == "lease_lost"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("lease", ["", "forged", "*"], ids=["empty", "forged", "pattern"])
async def test_without_its_lease_nothing_can_be_done_to_a_task(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, verb: str, lease: str
) -> None:
    await submit(store, queue, new("ready"), new("held"))
    await store.step("release", queue, "ready", (await claim(store, queue, count=1))[0]["lease"])
    before = plain.hgetall(queue.key("task:ready"))
    assert (await store.step(verb, queue, "ready", lease, *VERBS[verb])).word == "lease_lost"
    assert (await store.step(verb, queue, "missing", lease, *VERBS[verb])).word == "task_not_found"
    assert (
        await store.step(verb, QueueKeys(queue.tenant, "other"), "ready", lease, *VERBS[verb])
    ).word == "queue_not_found"
    assert plain.hgetall(queue.key("task:ready")) == before


async def test_of_many_that_complete_with_every_lease_there_ever_was_one_is_heard(
    store: TaskStore, queue: QueueKeys
) -> None:
    await submit(store, queue, new("a", max_attempts=50))
    tokens = []
    for _ in range(20):
        (held,) = await claim(store, queue, lease_s=0.001)
        tokens.append(held["lease"])
        await asyncio.sleep(0.003)
    (held,) = await claim(store, queue)
    tokens.insert(7, held["lease"])
    done = await asyncio.gather(
        *(store.step("complete", queue, "a", token, str(number).encode()) for number, token in enumerate(tokens))
    )
    assert [step.word for step in done].count("ok") == 1
    assert done[7].word == "ok"


async def test_a_restarted_worker_gets_what_it_held_under_new_leases(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, *(new(f"t{number}") for number in range(4)), new("urgent", priority=9))
    held = await claim(store, queue, worker="w1", count=4)
    again = await claim(store, queue, worker="w1", count=2, is_recovering=True)
    assert [record["id"] for record in again] == ["urgent", "t0"]
    assert {record["attempt"] for record in again} == {"2"}
    assert not {record["lease"] for record in again} & {record["lease"] for record in held}
    assert problems(plain, queue) == []
    # What it did not ask for went back, and comes before what was never handed out.
    assert await ids(store, queue, worker="w2") == ["t1", "t2", "t3"]
    assert (await store.step("complete", queue, "urgent", held[0]["lease"], b"1")).word == "lease_lost"


async def test_what_a_worker_never_received_goes_back_uncounted(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    await submit(store, queue, new("a"), new("b"), new("c", priority=1))
    received = await claim(store, queue, count=1)
    lost = leases(5)
    await store.claim(queue, ClaimRequest("w", 5), lost)
    assert await store.give_back(queue, "w", lost) == 2
    assert await store.give_back(queue, "w", lost) == 0
    assert problems(plain, queue) == []
    assert {record["id"]: record["attempt"] for record in await claim(store, queue)} == {"b": "1", "c": "1"}
    assert (await store.step("complete", queue, "a", received[0]["lease"], b"1")).word == "ok"
