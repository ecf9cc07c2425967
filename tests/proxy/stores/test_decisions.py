"""The log of decisions in a real Redis; each test is a tenant of its own."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord, Room, Seen
from proxy.stores.decisions import PAGE, ROOMS, DecisionStore

TTL_S = 3600


def store_of(
    client: Redis, *, most: int = 100, ttl_s: int = TTL_S, now: Callable[[], float] = time.time
) -> DecisionStore:
    return DecisionStore(client, ttl_s=ttl_s, max_per_tenant=most, now=now)


def judged(tenant: str, number: int, **fields: object) -> DecisionRecord:
    seen = (Seen("ent_1", "What is it?", 0.9, confidence=0.98, is_chosen=True),)
    made = DecisionRecord(
        f"req_{tenant}_{number}", 1000.0 + number, tenant, "", "m", "0a", "c", "semantic", "", asked="What?", seen=seen
    )
    return made._replace(**fields)  # type: ignore[arg-type]


def other(tenant: str, number: int, **fields: object) -> DecisionRecord:
    return judged(tenant, number, asked=None, seen=(), outcome="exact", **fields)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def append(store: DecisionStore, *records: DecisionRecord) -> None:
    await store.append([(record, None) for record in records])


async def ids(
    store: DecisionStore, tenant: str, namespace: str | None = None, *, limit: int = 1000, **kind: bool
) -> list[str]:
    return [one.request_id async for one in store.recent(tenant, namespace, limit=limit, **kind)]


async def test_a_decision_is_read_as_it_was_written(client: Redis, tenant: str) -> None:
    store, one, two = store_of(client), judged(tenant, 1), other(tenant, 2, served_at="deja:v1:exact:{0a}:f")
    await append(store, one, two)
    assert await store.read(tenant, one.request_id) == one
    assert await store.read(tenant, two.request_id) == two
    assert [one async for one in store.recent(tenant, limit=9)] == [one]
    assert [one async for one in store.recent(tenant, limit=9, is_judged=False)] == [two]


async def test_another_tenant_finds_nothing(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await append(store, judged(tenant, 1), judged("somebody", 2))
    assert await store.read("somebody", f"req_{tenant}_1") is None
    assert await ids(store, tenant) == [f"req_{tenant}_1"]


async def test_one_batch_holds_decisions_of_many_tenants(client: Redis, tenant: str) -> None:
    store, tenants = store_of(client), [f"{tenant}{number}" for number in range(3)]
    await append(store, *(judged(one, number) for number in range(2) for one in tenants))
    assert [await ids(store, one) for one in tenants] == [[f"req_{one}_1", f"req_{one}_0"] for one in tenants]


@pytest.mark.parametrize("make", [judged, other])
async def test_a_batch_written_twice_is_read_as_one(
    client: Redis, tenant: str, make: Callable[[str, int], DecisionRecord]
) -> None:
    store = store_of(client)
    for _ in range(2):
        await append(store, make(tenant, 1))
    assert await store.read(tenant, f"req_{tenant}_1") == make(tenant, 1)
    assert await ids(store, tenant) == ([f"req_{tenant}_1"] if make is judged else [])


async def test_the_newest_come_first_page_by_page_and_no_more_than_asked_for(client: Redis, tenant: str) -> None:
    store = store_of(client, most=10_000)
    await append(store, *(judged(tenant, number, namespace=str(number % 2)) for number in range(PAGE + 50)))
    newest = [f"req_{tenant}_{number}" for number in reversed(range(PAGE + 50))]
    assert await ids(store, tenant) == newest
    assert await ids(store, tenant, limit=PAGE + 10) == newest[: PAGE + 10]
    assert await ids(store, tenant, "1") == newest[::2]
    assert await ids(store, tenant, "1", limit=3) == newest[::2][:3]
    assert await ids(store, tenant, "elsewhere") == []


async def test_packs_of_others_are_read_newest_first_too(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await append(store, other(tenant, 1), other(tenant, 2, namespace="n"))
    await append(store, other(tenant, 3))
    assert await ids(store, tenant, is_judged=False) == [f"req_{tenant}_{number}" for number in (3, 2, 1)]
    assert await ids(store, tenant, "n", is_judged=False) == [f"req_{tenant}_2"]


async def test_what_is_too_much_goes_with_all_that_points_to_it(client: Redis, tenant: str) -> None:
    store, at = store_of(client, most=5), keys.decision_keys(tenant)
    for number in range(12):
        await append(store, judged(tenant, number), other(tenant, 100 + number))
        await store.vote(tenant, f"req_{tenant}_{number}", "right")
    assert await ids(store, tenant) == [f"req_{tenant}_{number}" for number in range(11, 6, -1)]
    assert await ids(store, tenant, is_judged=False) == [f"req_{tenant}_{number}" for number in range(111, 106, -1)]
    assert await store.read(tenant, f"req_{tenant}_0") is None
    assert (await client.hlen(at.ids), await client.hlen(at.votes)) == (10, 5)


async def test_exact_hits_do_not_push_out_what_is_worth_reading(client: Redis, tenant: str) -> None:
    store = store_of(client, most=10)
    await append(store, judged(tenant, 0))
    for start in range(1, 100, 9):
        await append(store, *(other(tenant, start + number) for number in range(9)))
    assert await ids(store, tenant) == [f"req_{tenant}_0"]
    assert len(await ids(store, tenant, is_judged=False)) <= 10


async def test_what_is_too_old_is_not_read_and_goes_with_the_next_batch(client: Redis, tenant: str) -> None:
    ahead = 0.0
    store = store_of(client, ttl_s=1, now=lambda: time.time() + ahead)
    await append(store, judged(tenant, 1), other(tenant, 2))
    ahead = 10.0
    assert await store.read(tenant, f"req_{tenant}_1") is None
    assert await ids(store, tenant) == await ids(store, tenant, is_judged=False) == []
    at = keys.decision_keys(tenant)
    for key in (at.judged, at.other, at.ids):
        await client.persist(key)  # as if other batches had kept them alive
    await asyncio.sleep(2.1)  # the script goes by Redis' own clock
    await append(store, judged(tenant, 3))
    assert (await client.xlen(at.judged), await client.xlen(at.other), await client.hlen(at.ids)) == (1, 0, 1)


async def test_everything_has_a_time_to_live(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await store.append([(judged(tenant, 1), Room("0a", {"model": "1"})), (other(tenant, 2), None)])
    await store.vote(tenant, f"req_{tenant}_1", "wrong")
    at = keys.decision_keys(tenant)
    for key in (at.judged, at.other, at.ids, at.votes, at.rooms):
        assert 0 < await client.ttl(key) <= TTL_S, key


async def test_a_vote_is_read_with_its_decision_and_the_last_word_stays(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await append(store, judged(tenant, 1), judged(tenant, 2))
    for vote in ("right", "wrong"):
        await store.vote(tenant, f"req_{tenant}_1", vote)
    read = await store.read(tenant, f"req_{tenant}_1")
    assert read is not None
    assert read.vote == "wrong"
    assert [one.vote async for one in store.recent(tenant, limit=9)] == [None, "wrong"]


async def test_rooms_are_kept_once_each_the_last_ones_asked_in(client: Redis, tenant: str) -> None:
    store = store_of(client)
    rooms = [Room(f"{number:x}", {"model": str(number), "a": "b"}) for number in range(ROOMS + 5)]
    await store.append([(judged(tenant, number), room) for number, room in enumerate(rooms)])
    await store.append([(judged(tenant, 1000), Room(rooms[-2].room, {"a": "b", "model": rooms[-2].fields["model"]}))])
    found = await store.rooms(tenant)
    assert len(found) == ROOMS
    assert [room.room for room in found[:3]] == [rooms[-2].room, rooms[-1].room, rooms[-3].room]
    assert found[0] == Room(rooms[-2].room, rooms[-2].fields, at=2000.0)


async def test_a_tenant_nobody_knows_has_nothing(client: Redis, tenant: str) -> None:
    store = store_of(client)
    assert (await store.read(tenant, "req_1"), await ids(store, tenant), await store.rooms(tenant)) == (None, [], [])


async def test_after_scripts_were_flushed_it_goes_on(own_client: Redis, tenant: str) -> None:
    store = store_of(own_client)
    await append(store, judged(tenant, 1))
    await own_client.script_flush()
    await append(store, judged(tenant, 2))
    assert len(await ids(store, tenant)) == 2
