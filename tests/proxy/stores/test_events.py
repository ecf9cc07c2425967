"""Streams of events on a real Redis: all or nothing, in order, readable by any client, and trimmed no further than may be."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.events import Retention
from proxy.errors import RequestError, StoreError
from proxy.stores.event_groups import EventGroupStore
from proxy.stores.events import EventStore

ROOMY = Retention(max_events=10_000, max_age_s=3600, max_unread_events=20_000)


def store_of(client: Redis, *, max_streams: int = 100, **kept: int) -> EventStore:
    wanted = {"max_events": 10_000, "max_age_s": 3600, "max_unread_events": 20_000} | kept
    return EventStore(client, retention=Retention(**wanted), max_streams=max_streams)


def groups_of(client: Redis) -> EventGroupStore:
    return EventGroupStore(client, max_streams=100)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def numbered(first: int, count: int) -> list[dict[str, str]]:
    return [{"type": "n", "data": str(n)} for n in range(first, first + count)]


async def append_one_by_one(client: Redis, tenant: str, count: int, *, age_s: float = 0) -> list[str]:
    """Entries of their own milliseconds, `age_s` old."""
    began_ms = int((time.time() - age_s) * 1000)
    key = keys.events(tenant, "s")
    await client.sadd(keys.event_streams(tenant), "s")
    return [(await client.xadd(key, {"type": "n", "data": n}, id=f"{began_ms + n}-0")).decode() for n in range(count)]


async def everything(store: EventStore, tenant: str) -> list[str]:
    page = await store.page(tenant, "s", after=None, before=None, count=100_000, is_ascending=True)
    return [entry.fields["data"] for entry in page]


# ── appending and reading ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_is_appended_in_order(client: Redis, tenant: str) -> None:
    store = store_of(client)
    event_ids, _ = await store.append(tenant, "s", numbered(0, 1000))
    assert len(set(event_ids)) == 1000
    assert await everything(store, tenant) == [str(n) for n in range(1000)]


async def test_any_text_survives_the_way_into_redis(client: Redis, tenant: str) -> None:
    odd = 'quote " backslash \\ nul \x00 line\n \u2028 é 😀 [{"x": 1}] 1e99'
    store = store_of(client)
    await store.append(tenant, "s", [{"type": "t", "data": odd, "1": ""}])
    ((_, stored),) = await client.xrange(keys.events(tenant, "s"))
    assert {name.decode(): value.decode() for name, value in stored.items()} == {"type": "t", "data": odd, "1": ""}


async def test_batches_of_many_writers_are_not_torn(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await asyncio.gather(*(store.append(tenant, "s", [{"type": str(n), "data": "x"}] * 20) for n in range(50)))
    page = await store.page(tenant, "s", after=None, before=None, count=2000, is_ascending=True)
    kinds = [entry.fields["type"] for entry in page]
    assert len(kinds) == 1000
    assert all(len(set(kinds[at : at + 20])) == 1 for at in range(0, 1000, 20))


async def test_a_page_lies_between_its_bounds_in_either_order(client: Redis, tenant: str) -> None:
    store = store_of(client)
    event_ids, _ = await store.append(tenant, "s", numbered(0, 10))

    async def read(is_ascending: bool, count: int) -> list[str]:
        page = await store.page(
            tenant, "s", after=event_ids[2], before=event_ids[7], count=count, is_ascending=is_ascending
        )
        return [entry.fields["data"] for entry in page]

    assert await read(True, 100) == ["3", "4", "5", "6"]
    assert await read(True, 2) == ["3", "4"]
    assert await read(False, 2) == ["6", "5"]


async def test_a_stream_that_is_not_there_is_empty(client: Redis, tenant: str) -> None:
    assert await everything(store_of(client), tenant) == []
    with pytest.raises(RequestError) as caught:
        await store_of(client).stream(tenant, "s")
    assert caught.value.status == 404


async def test_a_tenant_has_so_many_streams_and_no_more(client: Redis, tenant: str) -> None:
    store = store_of(client, max_streams=2)
    for stream in ("a", "b", "a"):
        await store.append(tenant, stream, numbered(0, 1))
    for attempt in (store.append(tenant, "c", numbered(0, 1)), store.configure(tenant, "c", {"max_events": 1})):
        with pytest.raises(RequestError) as caught:
            await attempt
        assert caught.value.code == "too_many_streams"
    assert await store.streams(tenant) == ["a", "b"]
    assert not await client.exists(keys.events(tenant, "c"))


async def test_scripts_are_loaded_anew_where_redis_forgot_them(own_client: Redis) -> None:
    store, groups = store_of(own_client), groups_of(own_client)
    await store.append("t", "s", numbered(0, 1))
    await groups.create("t", "s", "g", start="0-0")
    await own_client.script_flush()
    await store.append("t", "s", numbered(1, 1))
    await own_client.script_flush()
    read = await groups.read("t", "s", "g", "c", count=10, is_recovering=False, min_idle_ms=60_000)
    assert len(read.events) == 2
    await own_client.script_flush()
    trimmed, _ = await store.trim("t", "s")
    assert trimmed.left == 2


async def test_a_full_redis_takes_a_batch_whole_or_not_at_all(own_client: Redis) -> None:
    store = store_of(own_client)
    await store.append("t", "s", numbered(0, 10))
    await own_client.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match="out of memory"):
        await store.append("t", "s", numbered(10, 10))
    await own_client.config_set("maxmemory", 0)
    assert await own_client.xlen(keys.events("t", "s")) == 10


async def test_a_plain_client_reads_an_event_with_one_json_loads(client: Redis, tenant: str) -> None:
    await store_of(client).append(tenant, "s", [{"type": "t", "data": '{"n":[1,null]}'}])
    ((_, event),) = await client.xrange(f"deja:v1:events:{{{tenant}}}:s")
    assert orjson.loads(event[b"data"]) == {"n": [1, None]}
    assert await client.smembers(f"deja:v1:event-streams:{{{tenant}}}") == {b"s"}
    assert await client.sismember("deja:v1:event-tenants", tenant)


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_append_tells_when_there_is_something_to_trim(client: Redis, tenant: str) -> None:
    store = store_of(client, max_events=50)
    assert [(await store.append(tenant, "s", numbered(n, 50)))[1] for n in range(0, 200, 50)] == [
        False,
        False,
        False,
        True,
    ]
    await append_one_by_one(client, tenant + "x", 1, age_s=7200)
    assert (await store.append(tenant + "x", "s", numbered(0, 1)))[1]


async def test_a_stream_is_kept_about_as_long_as_it_may_be(client: Redis, tenant: str) -> None:
    store = store_of(client, max_events=500)
    await store.append(tenant, "s", numbered(0, 1000))
    await store.append(tenant, "s", numbered(1000, 1000))
    trimmed, is_more = await store.trim(tenant, "s")
    kept = await everything(store, tenant)
    assert 500 <= len(kept) < 600
    assert kept[-1] == "1999"
    assert trimmed.removed == 2000 - len(kept) == 2000 - trimmed.left
    assert is_more
    assert not (await store.trim(tenant, "s"))[1]


async def test_what_is_too_old_goes(client: Redis, tenant: str) -> None:
    store = store_of(client, max_age_s=3600)
    await append_one_by_one(client, tenant, 300, age_s=7200)
    await store.append(tenant, "s", numbered(300, 10))
    await store.trim(tenant, "s")
    assert len(await everything(store, tenant)) < 110


async def test_a_streams_own_policy_goes_before_the_default(client: Redis, tenant: str) -> None:
    store = store_of(client, max_events=5000)
    await store.configure(tenant, "s", {"max_events": 100, "max_age_s": 60})
    await store.append(tenant, "s", numbered(0, 1000))
    assert (await store.stream(tenant, "s")).retention == Retention(100, 60, 20_000)
    await store.trim(tenant, "s")
    assert len(await everything(store, tenant)) < 200
    await store.configure(tenant, "s", {"max_events": None})
    assert (await store.stream(tenant, "s")).retention == Retention(5000, 60, 20_000)


async def test_no_trim_passes_what_a_group_has_not_been_given(client: Redis, tenant: str) -> None:
    store, groups = store_of(client, max_events=100), groups_of(client)
    await store.append(tenant, "s", numbered(0, 250))
    for group, count in (("quick", 240), ("slow", 30)):
        await groups.create(tenant, "s", group, start="0-0")
        read = await groups.read(tenant, "s", group, "c", count=count, is_recovering=False, min_idle_ms=60_000)
        await groups.acknowledge(tenant, "s", group, [event.event_id for event in read.events])
    await store.append(tenant, "s", numbered(250, 750))
    await store.trim(tenant, "s")
    assert (await everything(store, tenant))[-970:] == [str(n) for n in range(30, 1000)]
    trimmed = await store.trim_now(tenant, "s", max_events=10, max_age_s=None, before=None)
    assert (trimmed.left, trimmed.held_by) == (970, "slow")


async def test_no_trim_passes_what_a_group_was_given_and_has_not_acknowledged(client: Redis, tenant: str) -> None:
    store, groups = store_of(client), groups_of(client)
    await store.append(tenant, "s", numbered(0, 100))
    await groups.create(tenant, "s", "g", start="0-0")
    read = await groups.read(tenant, "s", "g", "c", count=100, is_recovering=False, min_idle_ms=60_000)
    event_ids = [event.event_id for event in read.events]
    await groups.acknowledge(tenant, "s", "g", [*event_ids[:7], *event_ids[8:]])
    trimmed = await store.trim_now(tenant, "s", max_events=0, max_age_s=None, before=None)
    assert (trimmed.removed, trimmed.left, trimmed.held_by) == (7, 93, "g")
    await groups.acknowledge(tenant, "s", "g", [event_ids[7]])
    trimmed = await store.trim_now(tenant, "s", max_events=0, max_age_s=None, before=None)
    assert (trimmed.removed, trimmed.left, trimmed.held_by) == (93, 0, None)


@pytest.mark.parametrize(("max_events", "left"), [(0, 0), (1, 1), (137, 137), (1000, 1000), (5000, 1000)])
@pytest.mark.parametrize("has_group", [False, True], ids=["alone", "with a group that has read all"])
async def test_an_explicit_trim_is_exact(
    client: Redis, tenant: str, max_events: int, left: int, has_group: bool
) -> None:
    store, groups = store_of(client), groups_of(client)
    event_ids, _ = await store.append(tenant, "s", numbered(0, 1000))
    if has_group:
        await groups.create(tenant, "s", "g", start=event_ids[-1])
    trimmed = await store.trim_now(tenant, "s", max_events=max_events, max_age_s=None, before=None)
    assert (trimmed.left, trimmed.removed, trimmed.held_by) == (left, 1000 - left, None)
    assert await everything(store, tenant) == [str(n) for n in range(1000 - left, 1000)]


async def test_an_explicit_trim_goes_up_to_an_id_or_an_age(client: Redis, tenant: str) -> None:
    store = store_of(client)
    event_ids = await append_one_by_one(client, tenant, 50, age_s=100)
    trimmed = await store.trim_now(tenant, "s", max_events=None, max_age_s=None, before=event_ids[20])
    assert (trimmed.removed, (await everything(store, tenant))[0]) == (20, "20")
    await store.append(tenant, "s", numbered(50, 5))
    trimmed = await store.trim_now(tenant, "s", max_events=None, max_age_s=50, before=None)
    assert await everything(store, tenant) == [str(n) for n in range(50, 55)]


async def test_past_the_hard_cap_the_oldest_goes_and_each_group_is_told_how_many(client: Redis, tenant: str) -> None:
    store, groups = store_of(client, max_events=100, max_unread_events=300), groups_of(client)
    await store.append(tenant, "s", numbered(0, 500))
    for group, count in (("idle", 0), ("slow", 50), ("done", 500)):
        await groups.create(tenant, "s", group, start="0-0")
        if count:
            read = await groups.read(tenant, "s", group, "c", count=count, is_recovering=False, min_idle_ms=60_000)
            await groups.acknowledge(tenant, "s", group, [event.event_id for event in read.events])
    trimmed, _ = await store.trim(tenant, "s")
    assert (trimmed.removed, trimmed.left) == (200, 300)
    about = {group.name: (group.missed_total, group.lag) for group in await groups.groups(tenant, "s")}
    assert about == {"idle": (200, 300), "slow": (150, 300), "done": (0, 0)}
    assert trimmed.missed == 350
    read = await groups.read(tenant, "s", "slow", "c", count=1, is_recovering=False, min_idle_ms=60_000)
    assert (read.events[0].fields["data"], read.missed_total) == ("200", 150)


async def test_what_was_given_and_went_past_the_hard_cap_is_told_at_the_next_read(client: Redis, tenant: str) -> None:
    store, groups = store_of(client, max_events=10, max_unread_events=20), groups_of(client)
    await store.append(tenant, "s", numbered(0, 30))
    await groups.create(tenant, "s", "g", start="0-0")
    await groups.read(tenant, "s", "g", "dead", count=15, is_recovering=False, min_idle_ms=60_000)
    trimmed, _ = await store.trim(tenant, "s")
    assert (trimmed.removed, trimmed.missed) == (10, 0)
    read = await groups.read(tenant, "s", "g", "heir", count=100, is_recovering=False, min_idle_ms=0)
    assert [event.fields["data"] for event in read.events] == [str(n) for n in range(10, 30)]
    assert read.missed_total == 10
    assert [event.deliveries for event in read.events] == [2] * 5 + [1] * 15


async def test_a_stream_that_holds_nothing_is_forgotten_unless_somebody_needs_it(client: Redis, tenant: str) -> None:
    store, groups = store_of(client), groups_of(client)
    for stream in ("bare", "shared", "configured"):
        await store.append(tenant, stream, numbered(0, 1))
    await groups.create(tenant, "shared", "g", start="$")
    await store.configure(tenant, "configured", {"max_events": 5})
    for stream in ("bare", "shared", "configured"):
        await store.trim_now(tenant, stream, max_events=0, max_age_s=None, before=None)
        await store.trim(tenant, stream)
    assert await store.streams(tenant) == ["configured", "shared"]
    assert not await client.exists(keys.events(tenant, "bare"))


async def test_a_deleted_stream_leaves_nothing(client: Redis, tenant: str) -> None:
    store, groups = store_of(client), groups_of(client)
    await store.append(tenant, "s", numbered(0, 1))
    await store.configure(tenant, "s", {"max_events": 5})
    await groups.create(tenant, "s", "g", start="$")
    assert await store.delete(tenant, "s")
    assert not await store.delete(tenant, "s")
    found: Any = [key async for key in client.scan_iter(f"*{tenant}*")]
    assert found == []


async def test_a_tenant_without_streams_is_taken_off_the_list(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await store.append(tenant, "s", numbered(0, 1))
    await store.forget_tenant(tenant)
    assert tenant in await store.tenants(), "it has a stream"
    await store.delete(tenant, "s")
    await store.forget_tenant(tenant)
    assert tenant not in await store.tenants()
