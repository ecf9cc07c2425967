"""Queues on a real Redis: a submission makes each task once, a batch is taken whole or not at all, a full Redis takes none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_requests import Submission
from proxy.errors import StoreFullError
from proxy.stores.client import open_client
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import DEFAULTS, VERBS, claim, ids, new, submit
from tests.queue_check import problems
from tests.redis_server import private_redis


async def test_a_submission_sent_again_is_the_task_of_then(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis
) -> None:
    first = await store.submit(queue, [new(payload=1, idempotency_key="k"), new("own", payload=2)])
    (held,) = await claim(store, queue, count=1)
    await store.step("complete", queue, held["id"], held["lease"], b"1")
    again = await store.submit(queue, [new(payload=1, idempotency_key="k"), new("own", payload=2), new("third")])
    assert [is_new for is_new, _ in again.tasks] == [False, False, True]
    assert [fields["id"] for _, fields in again.tasks][:2] == [fields["id"] for _, fields in first.tasks]
    assert again.tasks[0][1]["state"] == "completed"
    assert problems(plain, queue) == []


@pytest.mark.parametrize(
    ("tasks", "word"),
    [
        ([new("n1"), new(payload=2, idempotency_key="k")], "idempotency_conflict"),
        ([new("n1"), new("own", payload=3)], "task_exists"),
        ([new("n1"), new("n2", deadline_at=1)], "deadline_passed"),
    ],
    ids=["another task under the key", "another task under the id", "a deadline in the past"],
)
async def test_of_a_batch_with_one_that_cannot_be_nothing_is_written(
    store: TaskStore, queue: QueueKeys, plain: redis.Redis, tasks: Sequence[Submission], word: str
) -> None:
    await submit(store, queue, new(payload=1, idempotency_key="k"), new("own", payload=2))
    before = sorted(plain.scan_iter(f"{queue.base}*"))
    refused = await store.submit(queue, tasks)
    assert (refused.word, refused.position) == (word, 1)
    assert sorted(plain.scan_iter(f"{queue.base}*")) == before


async def test_a_hundred_submitters_with_one_key_make_one_task(store: TaskStore, queue: QueueKeys) -> None:
    done = await asyncio.gather(*(store.submit(queue, [new(payload="same", idempotency_key="k")]) for _ in range(100)))
    assert sum(is_new for submitted in done for is_new, _ in submitted.tasks) == 1
    assert len({fields["id"] for submitted in done for _, fields in submitted.tasks}) == 1


async def test_a_full_redis_takes_no_task_and_lets_work_end() -> None:
    with private_redis() as url, redis.Redis.from_url(url, decode_responses=True) as plain:
        client = open_client(url, deadline_ms=5000)
        store, queue = TaskStore(client, max_updates=1000), QueueKeys("t", "q")
        await store.configure(queue, {}, DEFAULTS)
        await submit(store, queue, *(new(f"t{number}") for number in range(12)), new("late", delay_s=0.01))
        held = {record["id"]: record["lease"] for record in await claim(store, queue, count=8)}
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)
        before = sorted(plain.scan_iter("*"))
        with pytest.raises(StoreFullError):
            await store.submit(queue, [new("more"), new("more-still")])
        assert sorted(plain.scan_iter("*")) == before
        for verb, rest in VERBS.items():
            task, lease = held.popitem()
            assert (await store.step(verb, queue, task, lease, *rest)).word == "ok", verb
        assert (await store.step("cancel", queue, "t11")).word == "ok"
        await store.sweep([queue])
        assert "late" in await ids(store, queue)
        assert problems(plain, queue) == []
        await client.aclose()
