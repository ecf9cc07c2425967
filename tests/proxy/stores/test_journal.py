from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis as PlainRedis
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.records import Record, note_of
from proxy.stores.journal import JournalStore

NODE = 100
"""Events of one node of a stream: approximate trimming takes whole ones."""


def store_of(client: Redis, *, max_events: int = 1000, hard: int = 5000, session_events: int = 1000) -> JournalStore:
    return JournalStore(
        client, ttl_s=60, max_session_events=session_events, max_events=max_events, hard_max_events=hard
    )


def note(number: int, session: str = "s", tenant: str = "t") -> Record:
    return note_of(
        "deja.task.completed",
        {"task": str(number)},
        event_id=f"evt_{number}",
        at=float(number),
        tenant=tenant,
        session=session,
        agent=None,
    )


async def fill(client: Redis, count: int, *, first: int = 0) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for number in range(first, first + count):
            pipe.xadd(keys.JOURNAL, {"event_id": f"evt_{number}"})
        await pipe.execute()


async def numbers(client: Redis) -> list[int]:
    found: Any = await client.xrange(keys.JOURNAL)
    return [int(fields[b"event_id"].decode().removeprefix("evt_")) for _, fields in found]


async def read(client: Redis, group: str, count: int, *, ack: bool = True) -> list[int]:
    """What a consumer of a group gets next."""
    reply: Any = await client.xreadgroup(group, "one", {keys.JOURNAL: ">"}, count=count)
    entries = reply[0][1] if reply else []
    if entries and ack:
        await client.xack(keys.JOURNAL, group, *[entry_id for entry_id, _ in entries])
    return [int(fields[b"event_id"].decode().removeprefix("evt_")) for _, fields in entries]


# --- appending and reading ---------------------------------------------------------------------------------------------------------


async def test_a_sessions_events_stand_in_the_journal_and_in_its_timeline(own_client: Redis) -> None:
    store = store_of(own_client)
    await store.append([note(1), note(2, session="other"), note(3)])
    assert await numbers(own_client) == [1, 2, 3]
    found = await store.timeline("t", "s", after="0-0", limit=10)
    assert found is not None
    assert [entry.fields["event_id"] for entry in found] == ["evt_1", "evt_3"]
    later = await store.timeline("t", "s", after=found[0].entry_id, limit=10)
    assert later == found[1:]
    assert await store.timeline("t", "s", after=found[-1].entry_id, limit=10) == []
    assert await store.timeline("another", "s", after="0-0", limit=10) is None


async def test_a_timeline_is_capped_and_has_an_end(own_client: Redis) -> None:
    store = store_of(own_client, session_events=NODE)
    await store.append([note(number) for number in range(5 * NODE)])
    _, events, _ = keys.session_keys(keys.session_tag("t", "s"))
    assert NODE <= await own_client.xlen(events) <= 2 * NODE
    assert 0 < await own_client.ttl(events) <= 60
    assert await own_client.ttl(keys.JOURNAL) == -1


async def test_an_append_trims_nothing(own_client: Redis) -> None:
    store = store_of(own_client, max_events=100, hard=100)
    await store.append([note(number) for number in range(1000)])
    assert await own_client.xlen(keys.JOURNAL) == 1000


# --- trimming ----------------------------------------------------------------------------------------------------------------------


async def test_a_journal_below_its_cap_is_left_alone(own_client: Redis) -> None:
    await fill(own_client, 1000)
    done = await store_of(own_client, max_events=1000).trim()
    assert (done.removed, done.lost, done.left) == (0, 0, 1000)


async def test_an_empty_journal_is_left_alone(own_client: Redis) -> None:
    done = await store_of(own_client).trim()
    assert (done.removed, done.lost, done.left) == (0, 0, 0)


async def test_without_groups_the_newest_events_stay(own_client: Redis) -> None:
    await fill(own_client, 12_345)
    done = await store_of(own_client, max_events=1000).trim()
    left = await numbers(own_client)
    assert 1000 <= len(left) <= 1000 + NODE
    assert left[-1] == 12_344
    assert (done.removed, done.lost, done.left) == (12_345 - len(left), 0, len(left))


@pytest.mark.parametrize("ack", [True, False], ids=["acknowledged", "only delivered"])
async def test_what_a_group_has_not_acknowledged_stays(own_client: Redis, ack: bool) -> None:
    await fill(own_client, 3000)
    await own_client.xgroup_create(keys.JOURNAL, "archive", id="0")
    await read(own_client, "archive", 700, ack=ack)
    done = await store_of(own_client, max_events=500).trim()
    left = await numbers(own_client)
    assert 700 - NODE <= left[0] <= 700 if ack else left[0] == 0
    assert done.lost == 0


async def test_one_event_still_pending_holds_the_rest(own_client: Redis) -> None:
    await fill(own_client, 3000)
    await own_client.xgroup_create(keys.JOURNAL, "archive", id="0")
    reply: Any = await own_client.xreadgroup("archive", "one", {keys.JOURNAL: ">"}, count=2000)
    delivered = [entry_id for entry_id, _ in reply[0][1]]
    await own_client.xack(keys.JOURNAL, "archive", *delivered[:450], *delivered[451:])
    await store_of(own_client, max_events=100).trim()
    assert (await numbers(own_client))[0] <= 450
    await own_client.xack(keys.JOURNAL, "archive", delivered[450])
    await store_of(own_client, max_events=100).trim()
    assert 2000 - NODE <= (await numbers(own_client))[0] <= 2000


async def test_the_slowest_of_several_groups_counts(own_client: Redis) -> None:
    await fill(own_client, 3000)
    for group, has_read in (("fast", 2500), ("slow", 900)):
        await own_client.xgroup_create(keys.JOURNAL, group, id="0")
        await read(own_client, group, has_read)
    await store_of(own_client, max_events=100).trim()
    assert 900 - NODE <= (await numbers(own_client))[0] <= 900


async def test_past_the_hard_cap_the_oldest_go_and_are_counted_with_the_group_at_fault(own_client: Redis) -> None:
    await fill(own_client, 3000)
    await own_client.xgroup_create(keys.JOURNAL, "sleeper", id="0")
    done = await store_of(own_client, max_events=500, hard=1000).trim()
    assert done.removed == done.lost == 3000 - done.left
    assert 1000 <= done.left <= 1000 + NODE
    assert done.slowest == "sleeper"


async def test_a_pending_event_that_was_lost_holds_nothing_any_more(own_client: Redis) -> None:
    await fill(own_client, 3000)
    await own_client.xgroup_create(keys.JOURNAL, "archive", id="0")
    await read(own_client, "archive", 1, ack=False)
    store = store_of(own_client, max_events=500, hard=1000)
    assert (await store.trim()).lost > 0
    assert len(await read(own_client, "archive", 5000)) >= 1000
    done = await store.trim()
    assert (done.lost, done.left <= 500 + NODE) == (0, True)


@given(
    read_of=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 100)), max_size=3),
    max_events=st.integers(100, 1500),
    hard=st.integers(100, 3000),
)
@settings(max_examples=25)
def test_nothing_a_group_needs_is_lost_below_the_hard_cap(
    redis_url: str, read_of: list[tuple[int, int]], max_events: int, hard: int
) -> None:
    """Groups that have read so many, each leaving so many of them unacknowledged, and any caps."""
    import asyncio

    from proxy.stores.client import open_client

    async def run() -> None:
        client = open_client(redis_url, deadline_ms=5000)
        try:
            await client.delete(keys.JOURNAL)
            await fill(client, 1500)
            needs = 1500
            for number, (delivered, kept) in enumerate(read_of):
                group = f"g{number}"
                await client.xgroup_create(keys.JOURNAL, group, id="0")
                acknowledged = max(0, delivered - kept)
                if acknowledged:
                    await read(client, group, acknowledged)
                if delivered > acknowledged:
                    await read(client, group, delivered - acknowledged, ack=False)
                needs = min(needs, acknowledged)
            done = await store_of(client, max_events=max_events, hard=hard).trim()
            left = await numbers(client)
            assert len(left) == done.left
            assert done.left >= min(1500, max_events)
            assert done.left <= max(hard, max_events) + NODE
            if done.lost == 0 and read_of:
                assert not left or left[0] <= needs
            if done.lost:
                assert done.left >= max(hard, max_events)
        finally:
            await client.delete(keys.JOURNAL)
            await client.aclose()

    asyncio.run(run())


def test_any_client_reads_the_journal(redis_url: str) -> None:
    session = f"s-{uuid.uuid4()}"
    with PlainRedis.from_url(redis_url, decode_responses=True) as plain:
        plain.delete(keys.JOURNAL)
        plain.xadd(keys.JOURNAL, dict(note(7, session=session).events[0]))
        ((_, event),) = plain.xrange("deja:v1:journal", "-", "+")
        plain.delete(keys.JOURNAL)
    assert event == {
        "schema": "1",
        "event_id": "evt_7",
        "type": "deja.task.completed",
        "at": "7.000",
        "tenant": "t",
        "session": session,
        "agent": "",
        "task": "7",
    }
