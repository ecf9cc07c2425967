"""Entries of named caches in a real Redis: found by every key they leave, and gone with all of them."""

from __future__ import annotations

import asyncio
import time
import uuid

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys, named_caches
from proxy.core.models import Entry, WireMode
from proxy.core.named_caches import Content
from proxy.stores import named_caches as module
from proxy.stores.named_caches import NamedCacheStore
from proxy.stores.vectors import VectorIndex

CONTENT = Content("What is it?", "A thing.", {"a": "1", "b": "2"})


def new_room() -> str:
    return keys.cache_room(uuid.uuid4().hex, "faq")


def entry(content: Content = CONTENT, ttl_s: int = 60) -> Entry:
    body = named_caches.to_body(content)
    return Entry(f"ent_{uuid.uuid4().hex}", content.prompt, body, WireMode.JSON, time.time(), ttl_s)


async def put(
    client: Redis,
    room: str,
    content: Content = CONTENT,
    *,
    ttl_ms: int = 60_000,
    vector: bytes | None = None,
    embedder: str = "test",
) -> Entry:
    stored = entry(content)
    await NamedCacheStore(client).put(
        stored,
        room=room,
        redis_key=keys.entry_key(embedder, room, stored.entry_id),
        tags=named_caches.tags(room, content.attributes),
        vector=vector,
        prints=named_caches.prints(room, stored.entry_id, content),
        ttl_ms=ttl_ms,
    )
    return stored


async def left(client: Redis, room: str) -> list[bytes]:
    """Every key of a room."""
    return [key async for key in client.scan_iter(f"*{{{room}}}*", count=1000)]


async def every_entry(store: NamedCacheStore, room: str) -> list[str]:
    cursor, found = await store.scan(room, 0)
    while cursor:
        cursor, more = await store.scan(room, cursor)
        found += more
    return found


async def test_an_entry_is_found_by_each_of_its_fingerprints(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    stored = await put(client, room)
    for fingerprint in named_caches.prints(room, stored.entry_id, CONTENT):
        assert await store.find(room, [fingerprint]) == (0, stored)
        assert await store.find(room, ["none", fingerprint]) == (1, stored)
        assert await store.locate(room, fingerprint) == keys.entry_key("test", room, stored.entry_id)
    assert await store.fetch(keys.entry_key("test", room, stored.entry_id)) == stored


async def test_nothing_is_found_where_nothing_was_put(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    assert await store.find(room, ["none"]) is None
    assert await store.locate(room, "none") is None
    assert await store.fetch(keys.entry_key("test", room, "ent_none")) is None
    assert await store.drop(room, [], tag="") == 0
    assert await every_entry(store, room) == []


async def test_the_first_fingerprint_that_leads_somewhere_counts(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    first, second = await put(client, room, Content("one", "1")), await put(client, room, Content("two", "2"))
    one, two = (named_caches.repeat_print(room, text, {}) for text in ("one", "two"))
    assert await store.find(room, [two, one]) == (0, second)
    await client.delete(keys.entry_key("test", room, second.entry_id))
    assert await store.find(room, [two, one]) == (1, first), "a pointer that outlived its entry leads nowhere"


async def test_an_entry_replaces_the_one_of_the_same_text_and_attributes_with_all_its_keys(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    old, other = await put(client, room), await put(client, room, Content(CONTENT.prompt, "Another.", {"a": "1"}))
    new = await put(client, room)
    assert await store.locate(room, named_caches.id_print(room, old.entry_id)) is None
    assert await store.fetch(keys.entry_key("test", room, old.entry_id)) is None
    for subset in named_caches.subsets(CONTENT.attributes):
        assert await store.find(room, [named_caches.repeat_print(room, CONTENT.prompt, subset)]) == (0, new)
    assert await store.fetch(keys.entry_key("test", room, other.entry_id)) == other


async def test_a_dropped_entry_leaves_nothing(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    stored = await put(client, room)
    assert len(await left(client, room)) == 10
    redis_key = keys.entry_key("test", room, stored.entry_id)
    assert await store.drop(room, [redis_key], tag=keys.attributes_tag(room, {})) == 1
    assert await left(client, room) == []
    assert await store.drop(room, [redis_key], tag=keys.attributes_tag(room, {})) == 0


async def test_dropping_leaves_the_keys_that_lead_to_others(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    old = await put(client, room, Content("same", "1", {"user": "a"}))
    new = await put(client, room, Content("same", "2", {"user": "b"}))
    await store.drop(room, [keys.entry_key("test", room, old.entry_id)], tag=keys.attributes_tag(room, {}))
    assert await store.find(room, [named_caches.repeat_print(room, "same", {})]) == (0, new)
    assert await store.find(room, [named_caches.repeat_print(room, "same", {"user": "a"})]) is None


async def test_only_what_bears_the_tag_is_dropped(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    made = [await put(client, room, Content(f"q {number}", "r", {"n": str(number % 2)})) for number in range(6)]
    every = [keys.entry_key("test", room, one.entry_id) for one in made]
    assert await store.drop(room, every, tag=keys.attributes_tag(room, {"n": "2"})) == 0
    assert await store.drop(room, every, tag=keys.attributes_tag(new_room(), {})) == 0
    assert await store.drop(room, every, tag=keys.attributes_tag(room, {"n": "1"})) == 3
    assert [await store.fetch(key) is not None for key in every] == [True, False] * 3


async def test_everything_an_entry_leaves_lives_as_long_as_was_asked_to_the_millisecond(client: Redis) -> None:
    room = new_room()
    await put(client, room, ttl_ms=1_500)
    for key in await left(client, room):
        assert 1_000 < await client.pttl(key) <= 1_500


async def test_an_entry_whose_time_is_over_is_not_found(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    await put(client, room, ttl_ms=20)
    await asyncio.sleep(0.05)
    assert await store.find(room, [named_caches.repeat_print(room, CONTENT.prompt, {})]) is None
    assert await left(client, room) == []


async def test_a_walk_meets_every_entry_of_the_room_and_no_other(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCAN_COUNT", 20)
    store, room, other = NamedCacheStore(client), new_room(), new_room()
    for number in range(150):  # more than Redis keeps in one list, so that it takes steps
        await put(client, other, Content(f"other {number}", "r"))
    mine = set()
    for number in range(200):
        embedder = ("test", "none", "another")[number % 3]
        stored = await put(client, room, Content(f"mine {number}", "r"), embedder=embedder)
        mine.add(keys.entry_key(embedder, room, stored.entry_id))
    cursor, first = await store.scan(room, 0)
    assert cursor
    assert len(first) < 150
    found = await every_entry(store, room)
    assert set(found) == mine
    for start in range(0, len(found), 30):
        await store.drop(room, found[start : start + 30], tag=keys.attributes_tag(room, {}))
    assert await left(client, room) == []
    assert len(await left(client, other)) == 150 * 4


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [({}, True), ({"a": "1"}, True), ({"a": "1", "b": "2"}, True), ({"a": "2"}, False), ({"c": "1"}, False)],
    ids=["none", "part", "all", "other-value", "other-name"],
)
async def test_the_index_offers_an_entry_to_searches_by_any_part_of_its_attributes(
    client: Redis, asked: dict[str, str], is_found: bool
) -> None:
    fingerprint, room = uuid.uuid4().hex, new_room()
    index = VectorIndex(client, fingerprint=fingerprint, dim=4)
    await index.ensure()
    vector = np.array([1, 0, 0, 0], dtype=np.float32)
    for where in (new_room(), room):
        stored = await put(client, where, vector=vector.tobytes(), embedder=fingerprint)
    offered = await index.nearest(keys.attributes_tag(room, asked), vector, k=5)
    assert [candidate.entry_id for candidate in offered] == ([stored.entry_id] if is_found else [])


async def test_a_dropped_entry_is_no_candidate(client: Redis) -> None:
    fingerprint, room = uuid.uuid4().hex, new_room()
    index = VectorIndex(client, fingerprint=fingerprint, dim=4)
    await index.ensure()
    vector = np.array([1, 0, 0, 0], dtype=np.float32)
    stored = await put(client, room, vector=vector.tobytes(), embedder=fingerprint)
    tag = keys.attributes_tag(room, {})
    await NamedCacheStore(client).drop(room, [keys.entry_key(fingerprint, room, stored.entry_id)], tag=tag)
    assert await index.nearest(tag, vector, k=5) == []


async def test_scripts_that_redis_forgot_are_loaded_again(own_client: Redis) -> None:
    store, room = NamedCacheStore(own_client), new_room()
    await put(own_client, room)
    await own_client.script_flush()
    stored = await put(own_client, room)
    assert await store.find(room, [named_caches.id_print(room, stored.entry_id)]) == (0, stored)
    assert len(await left(own_client, room)) == 10


async def test_every_entry_is_named_for_the_byte_cap(own_client: Redis) -> None:
    room = new_room()
    stored = await put(own_client, room)
    assert await own_client.zscore(keys.EXPIRY, keys.entry_key("test", room, stored.entry_id)) == pytest.approx(
        stored.created_at + 60
    )


async def test_flushes_are_counted(client: Redis) -> None:
    store, flushes_key = NamedCacheStore(client), keys.flushes_key(uuid.uuid4().hex, "faq")
    assert await store.flushes(flushes_key) == 0
    assert [await store.flush(flushes_key) for _ in range(3)] == [0, 1, 2]
    assert await store.flushes(flushes_key) == 3
    assert await client.ttl(flushes_key) == -1, "were it evicted, what was flushed might be found again"


async def test_many_writers_of_one_text_leave_one_entry_and_the_keys_that_lead_to_it(client: Redis) -> None:
    store, room = NamedCacheStore(client), new_room()
    written = await asyncio.gather(*(put(client, room) for _ in range(50)))
    found = [await store.find(room, [fingerprint]) for fingerprint in named_caches.prints(room, "", CONTENT)[:-1]]
    (winner,) = {hit[1].entry_id for hit in found if hit is not None}
    assert None not in found
    assert winner in {one.entry_id for one in written}
    assert len(await left(client, room)) == 10
