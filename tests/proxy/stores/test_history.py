from __future__ import annotations

import uuid

from redis.asyncio import Redis

from proxy.core import history
from proxy.core.history import MINUTE, QUARTER
from proxy.stores.history import HistoryStore


async def test_counts_of_several_batches_add_up_slot_by_slot(client: Redis) -> None:
    store, mine, theirs = HistoryStore(client), uuid.uuid4().hex, uuid.uuid4().hex
    await store.add(
        {(mine, MINUTE, 60): {"saved": 2**60, "outcome:exact": 1}, (mine, QUARTER, 0): {"outcome:exact": 1}}
    )
    await store.add({(mine, MINUTE, 60): {"saved": 1}, (theirs, MINUTE, 60): {"outcome:miss": 7}})
    assert await store.read(mine, MINUTE, [0, 60]) == [{}, {"saved": 2**60 + 1, "outcome:exact": 1}]
    assert await store.read(mine, QUARTER, [0]) == [{"outcome:exact": 1}]
    assert await store.read(theirs, MINUTE, [60]) == [{"outcome:miss": 7}]


async def test_a_slot_expires_once_it_is_no_longer_shown(client: Redis) -> None:
    store, tenant = HistoryStore(client), uuid.uuid4().hex
    await store.add({(tenant, step, 0): {"saved": 1} for step in (MINUTE, QUARTER)})
    for step in (MINUTE, QUARTER):
        left_s = await client.ttl(history.key(tenant, step, 0))
        assert step.slots * step.seconds < left_s <= (step.slots + 1) * step.seconds


async def test_many_slots_are_read_in_their_order(client: Redis) -> None:
    store, tenant = HistoryStore(client), uuid.uuid4().hex
    await store.add({(tenant, MINUTE, at): {"saved": at} for at in range(0, 18_000, 60)})
    read = await store.read(tenant, MINUTE, range(0, 18_000, 60))
    assert [slot["saved"] for slot in read] == list(range(0, 18_000, 60))


async def test_scripts_that_redis_has_forgotten_are_loaded_again(own_client: Redis) -> None:
    store = HistoryStore(own_client)
    await store.add({("t", MINUTE, 0): {"saved": 1}})
    await own_client.script_flush()
    await store.add({("t", MINUTE, 0): {"saved": 1}})
    assert await store.read("t", MINUTE, [0]) == [{"saved": 2}]
