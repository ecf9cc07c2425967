"""Queues on a real Redis: order, leases, attempts, exactly one completion, and that all structures always tell the same."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_requests import ClaimRequest, Submission, submission
from proxy.core.coordination.tasks import DEATHS
from proxy.errors import StoreFullError
from proxy.services.task_erasure import TaskErasure
from proxy.stores import tasks as tasks_module
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.task_lists import TaskLists
from proxy.stores.tasks import TaskStore
from tests.queue_check import problems
from tests.redis_server import private_redis

DEFAULTS = {
    "durability": "everysec",
    "max_attempts": "3",
    "lease_s": "60",
    "backoff_s": "1",
    "max_backoff_s": "300",
    "retention_s": "604800",
}


def new(task_id: str | None = None, **fields: Any) -> Submission:
    return submission(
        fields | ({"id": task_id} if task_id else {}),
        queue="q",
        minted_id=f"task_{secrets.token_hex(6)}",
        payload_bytes=1 << 20,
    )


def leases(count: int) -> list[str]:
    return [f"lease_{secrets.token_hex(8)}" for _ in range(count)]


@pytest.fixture
def queue() -> QueueKeys:
    return QueueKeys(uuid.uuid4().hex, "q")


@pytest.fixture
async def store(client: Redis, queue: QueueKeys) -> TaskStore:
    opened = TaskStore(client, max_updates=10_000)
    await opened.register(queue)
    await opened.configure(queue, {}, DEFAULTS)
    return opened


@pytest.fixture
def lists(client: Redis) -> TaskLists:
    return TaskLists(client)


@pytest.fixture
def plain(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened


async def claim(
    store: TaskStore, queue: QueueKeys, worker: str = "w", count: int = 100, **how: Any
) -> list[dict[str, str]]:
    claimed = await store.claim(queue, ClaimRequest(worker, count, **how), leases(count))
    assert claimed.word == "ok"
    return [dict(record) for record in claimed.records]


async def ids(store: TaskStore, queue: QueueKeys, **how: Any) -> list[str]:
    return [record["id"] for record in await claim(store, queue, **how)]


async def submit(store: TaskStore, queue: QueueKeys, *tasks: Submission) -> None:
    assert (await store.submit(queue, tasks)).word == "ok"


# ── order ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


VERBS = {
    "renew": ("",),
    "complete": (b"1",),
    "fail": (b'"e"', "1", "", "0"),
    "release": (),
    "reject": (b'"r"',),
    "pause": ("input-required", b'"m"'),
}


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


# ── failing, and the dead letter ──────────────────────────────────────────────────────────────────────────────────────


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


# ── submitting ────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── lists and keeping house ───────────────────────────────────────────────────────────────────────────────────────────


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


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── anything in any order ─────────────────────────────────────────────────────────────────────────────────────────────

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
