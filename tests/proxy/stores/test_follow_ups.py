from __future__ import annotations

from redis.asyncio import Redis

from proxy.core.follow_ups import replayed_key, room_of
from proxy.stores.follow_ups import ReplayedResponses


async def test_what_is_kept_is_found_until_it_is_forgotten(client: Redis) -> None:
    store, room = ReplayedResponses(client), room_of("tenant", "resp_deja1")
    assert await store.get(room) is None
    await store.put(room, "resp_deja1", b"{}", ttl_s=60)
    assert await store.get(room) == b"{}"
    assert 0 < await client.ttl(replayed_key(room)) <= 60
    assert await store.delete(room)
    assert await store.get(room) is None
    assert not await store.delete(room)


async def test_the_same_id_of_two_tenants_is_two_replays(client: Redis) -> None:
    store = ReplayedResponses(client)
    await store.put(room_of("one", "resp_deja1"), "resp_deja1", b"1", ttl_s=60)
    assert await store.get(room_of("other", "resp_deja1")) is None
