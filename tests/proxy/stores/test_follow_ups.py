from __future__ import annotations

from redis.asyncio import Redis

from proxy.core.follow_ups import replayed_key, room_of
from proxy.stores.follow_ups import ReplayedResponses
from proxy.stores.sealing import KEY_BYTES, Seal


async def test_what_is_kept_is_found_until_it_is_forgotten(client: Redis) -> None:
    store, room = ReplayedResponses(client), room_of("tenant", "resp_deja1")
    assert await store.get(room, "resp_deja1") is None
    await store.put(room, "resp_deja1", b"{}", ttl_s=60)
    assert await store.get(room, "resp_deja1") == b"{}"
    assert 0 < await client.ttl(replayed_key(room)) <= 60
    assert await store.delete(room)
    assert await store.get(room, "resp_deja1") is None
    assert not await store.delete(room)


async def test_the_same_id_of_two_tenants_is_two_replays(client: Redis) -> None:
    store = ReplayedResponses(client)
    await store.put(room_of("one", "resp_deja1"), "resp_deja1", b"1", ttl_s=60)
    assert await store.get(room_of("other", "resp_deja1"), "resp_deja1") is None


async def test_where_keys_are_set_what_is_kept_is_sealed(client: Redis) -> None:
    room = room_of("tenant", "resp_deja1")
    sealed, unsealed = ReplayedResponses(client, Seal([b"k" * KEY_BYTES])), ReplayedResponses(client)
    await sealed.put(room, "resp_deja1", b'{"said": "secret"}', ttl_s=60)
    assert b"secret" not in await client.hget(replayed_key(room), "kept")
    assert await sealed.get(room, "resp_deja1") == b'{"said": "secret"}'
    assert await unsealed.get(room, "resp_deja1") is None
