"""Consumer groups on a real Redis: each event to one consumer until it is acknowledged, and nothing left behind by a dead one."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.events import GroupRead
from proxy.errors import RequestError
from proxy.stores.event_groups import MAX_GROUPS, EventGroupStore
from tests.proxy.stores.test_events import groups_of, numbered, store_of

LONG_MS = 60_000


@pytest.fixture
async def tenant(client: Redis) -> str:
    """A tenant with a stream of ten events and a group that has read none of them."""
    name = uuid.uuid4().hex
    await store_of(client).append(name, "s", numbered(0, 10))
    await groups_of(client).create(name, "s", "g", start="0-0")
    return name


async def read(
    groups: EventGroupStore,
    tenant: str,
    consumer: str,
    *,
    count: int = 100,
    recover: bool = False,
    idle_ms: int = LONG_MS,
    group: str = "g",
) -> GroupRead:
    return await groups.read(tenant, "s", group, consumer, count=count, is_recovering=recover, min_idle_ms=idle_ms)


def data(found: GroupRead) -> list[int]:
    return [int(event.fields["data"]) for event in found.events]


async def test_each_event_goes_to_one_consumer(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    found = await asyncio.gather(*(read(groups, tenant, f"c{n}", count=3) for n in range(5)))
    assert sorted(n for each in found for n in data(each)) == list(range(10))


async def test_a_consumer_that_restarts_gets_its_own_first_and_as_often_as_it_asks(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    await read(groups, tenant, "a", count=3)
    await read(groups, tenant, "b", count=2)
    again = await read(groups, tenant, "a", count=5, recover=True)
    assert data(again) == [0, 1, 2, 5, 6]
    assert [event.deliveries for event in again.events] == [2, 2, 2, 1, 1]
    assert data(await read(groups, tenant, "a", count=2)) == [7, 8], "without recovering, only what is new"


async def test_what_another_left_is_given_anew_once_it_is_idle(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    await read(groups, tenant, "dead", count=10)
    assert data(await read(groups, tenant, "heir")) == []
    await asyncio.sleep(0.06)
    taken = await read(groups, tenant, "heir", count=4, idle_ms=50)
    assert (data(taken), {event.deliveries for event in taken.events}) == ([0, 1, 2, 3], {2})
    assert data(await read(groups, tenant, "third", idle_ms=50)) == [4, 5, 6, 7, 8, 9], "not what the heir has just got"


async def test_what_is_idle_is_found_behind_much_that_is_not(client: Redis) -> None:
    tenant, groups = uuid.uuid4().hex, groups_of(client)
    await store_of(client).append(tenant, "s", numbered(0, 1000))
    await groups.create(tenant, "s", "g", start="0-0")
    await read(groups, tenant, "busy", count=1000)
    await asyncio.sleep(0.3)
    busy = [event_id for event_id, _ in await client.xrange(keys.events(tenant, "s"), count=995)]
    await client.xclaim(keys.events(tenant, "s"), "g", "busy", 0, busy, justid=True, idle=0)
    found: list[int] = []
    for _ in range(20):
        found += data(await read(groups, tenant, "heir", count=1, idle_ms=250))
        if len(found) == 5:
            break
    assert sorted(found) == [995, 996, 997, 998, 999]


async def test_what_is_acknowledged_is_not_given_again(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    event_ids = [event.event_id for event in (await read(groups, tenant, "a")).events]
    assert await groups.acknowledge(tenant, "s", "g", event_ids[:6]) == 6
    assert await groups.acknowledge(tenant, "s", "g", event_ids[:6]) == 0
    assert data(await read(groups, tenant, "a", recover=True)) == [6, 7, 8, 9]


async def test_a_group_begins_where_it_was_told_to(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    fourth = (await client.xrange(keys.events(tenant, "s")))[3][0].decode()
    for group, start, expected in (("now", "$", []), ("middle", fourth, [4, 5, 6, 7, 8, 9])):
        assert await groups.create(tenant, "s", group, start=start)
        assert data(await read(groups, tenant, "c", group=group)) == expected


async def test_making_a_group_again_leaves_it_where_it_is(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    await read(groups, tenant, "a", count=4)
    assert not await groups.create(tenant, "s", "g", start="0-0")
    assert data(await read(groups, tenant, "a")) == [4, 5, 6, 7, 8, 9]


async def test_a_group_may_come_before_its_stream(client: Redis) -> None:
    tenant, groups, store = uuid.uuid4().hex, groups_of(client), store_of(client)
    assert await groups.create(tenant, "s", "g", start="$")
    assert await store.streams(tenant) == ["s"]
    await store.append(tenant, "s", numbered(0, 2))
    assert data(await read(groups, tenant, "c")) == [0, 1]


async def test_a_stream_has_so_many_groups_and_no_more(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    for n in range(MAX_GROUPS - 1):
        await groups.create(tenant, "s", f"g{n}", start="$")
    with pytest.raises(RequestError) as caught:
        await groups.create(tenant, "s", "one-more", start="$")
    assert caught.value.code == "too_many_groups"
    assert not await groups.create(tenant, "s", "g1", start="$"), "one that is there is no new one"


async def test_a_group_that_is_not_there_is_told_by_every_way_to_it(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    for stream in ("s", "no-stream"):
        for attempt in (
            groups.read(tenant, stream, "nobody", "c", count=1, is_recovering=True, min_idle_ms=0),
            groups.acknowledge(tenant, stream, "nobody", ["1-1"]),
        ):
            with pytest.raises(RequestError) as caught:
                await attempt
            assert (caught.value.status, caught.value.code) == (404, "group_not_found")
        assert not await groups.delete(tenant, stream, "nobody")
    assert not await client.exists(keys.events(tenant, "no-stream"))


async def test_a_group_tells_what_it_has_still_to_do(client: Redis, tenant: str) -> None:
    groups = groups_of(client)
    given = (await read(groups, tenant, "a", count=4)).events
    await read(groups, tenant, "b", count=1)
    await groups.acknowledge(tenant, "s", "g", [given[0].event_id])
    (about,) = await groups.groups(tenant, "s")
    assert (about.name, about.lag, about.pending, about.missed_total) == ("g", 5, 4, 0)
    assert {consumer.name: consumer.pending for consumer in about.consumers} == {"a": 3, "b": 1}
    assert all(consumer.idle_s < 30 for consumer in about.consumers)


async def test_a_deleted_group_lets_go_of_what_it_held(client: Redis, tenant: str) -> None:
    groups, store = groups_of(client), store_of(client)
    await read(groups, tenant, "a")
    assert await groups.delete(tenant, "s", "g")
    assert await groups.groups(tenant, "s") == []
    trimmed = await store.trim_now(tenant, "s", max_events=0, max_age_s=None, before=None)
    assert (trimmed.removed, trimmed.held_by) == (10, None)


async def test_plain_clients_and_deja_share_a_group(client: Redis, tenant: str) -> None:
    groups, key = groups_of(client), keys.events(tenant, "s")
    plain = await client.xreadgroup("g", "plain", {key: ">"}, count=2)
    assert [fields[b"data"] for _, fields in plain[0][1]] == [b"0", b"1"]
    mine = await read(groups, tenant, "mine", count=2)
    assert data(mine) == [2, 3]
    assert await client.xack(key, "g", *[event.event_id for event in mine.events]) == 2
    assert await groups.acknowledge(tenant, "s", "g", [plain[0][1][0][0].decode()]) == 1
