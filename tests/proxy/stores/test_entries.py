"""A tenant's entries against a real Redis: listed in pages, found by id, removed with what leads to them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.entries import Cursor, Listed
from proxy.core.entry_lines import Line
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.embeddings import EmbeddingStore
from proxy.stores.entries import EntryStore
from proxy.stores.entry_lists import EntryLists
from proxy.stores.responses import ResponseStore
from tests.builders import ABOUT, NOW_S


@pytest.fixture
def store(client: Redis) -> EntryStore:
    return EntryStore(client)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def put(client: Redis, tenant: str, *, ttl_s: int = 600, room: str = "", **fields: Any) -> Entry:
    room = room or uuid.uuid4().hex
    made = Entry(f"ent_{uuid.uuid4().hex}", "How?", b'{"a":1}', WireMode.BOTH, NOW_S, ttl_s, **fields)
    await ResponseStore(client).put(
        made,
        redis_key=keys.entry_key("test", room, made.entry_id),
        partition="aa",
        vector=None,
        exact_key=keys.exact_key(room, "0f"),
        context_key=None,
        condemned_key=keys.condemned_key(room),
        record=ContextRecord(made.entry_id, 1.0),
        about=replace(ABOUT, owner=tenant),
    )
    return made


async def put_vectors(client: Redis, tenant: str, count: int, *, ttl_s: int = 600) -> list[str]:
    room = uuid.uuid4().hex
    at = [keys.embedding_key(room, f"text {number}") for number in range(count)]
    vector = Vector(b"\0\0\0\0", Form.DOUBLE)
    made = [StoredEmbedding(keys.embedding_id(key), vector, "m", 1, False, NOW_S, ttl_s) for key in at]
    await EmbeddingStore(client).put(at, made, about=replace(ABOUT, owner=tenant, family="embeddings"))
    return [one.entry_id for one in made]


async def everything(store: EntryStore, tenant: str, *, count: int, now_s: float = NOW_S) -> list[Listed]:
    cursor: Cursor | None = Cursor()
    found: list[Listed] = []
    while cursor is not None:
        page = await store.page(tenant, cursor, now_s=now_s, count=count)
        found += page.found
        cursor = page.following()
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 100])
async def test_pages_hold_each_entry_once_those_that_expire_last_first(
    store: EntryStore, client: Redis, tenant: str, count: int
) -> None:
    answers = [await put(client, tenant, ttl_s=100 * number) for number in (1, 2, 3)]
    vectors = await put_vectors(client, tenant, 4, ttl_s=200)
    found = [one.entry_id for one in await everything(store, tenant, count=count)]
    assert found[0] == answers[2].entry_id
    assert set(found[1:6]) == {answers[1].entry_id, *vectors}
    assert found[6:] == [answers[0].entry_id]


async def test_a_list_says_what_was_asked_and_under_what(store: EntryStore, client: Redis, tenant: str) -> None:
    made = await put(client, tenant, tags=("prompt:v3",))
    (one,) = (await store.page(tenant, Cursor(), now_s=NOW_S)).found
    assert (one.entry_id, one.question, one.tags, one.ttl_s) == (made.entry_id, "How?", ("prompt:v3",), 600)
    assert (one.model, one.family, one.fingerprint) == (ABOUT.model, "chat", "0f")


async def test_another_tenants_entries_are_neither_listed_nor_found(
    store: EntryStore, client: Redis, tenant: str
) -> None:
    made = await put(client, tenant)
    other = uuid.uuid4().hex
    assert await everything(store, other, count=10) == []
    assert await store.find(other, made.entry_id) is None
    assert await store.find(tenant, made.entry_id) is not None


async def test_what_has_expired_or_gone_before_its_time_is_not_listed(
    store: EntryStore, client: Redis, tenant: str
) -> None:
    room = uuid.uuid4().hex
    await put(client, tenant, room=room)
    newer = await put(client, tenant, room=room)  # the same request: it takes the place of the first
    await put(client, tenant, ttl_s=10)
    found = await everything(store, tenant, count=10, now_s=NOW_S + 10)
    assert [one.entry_id for one in found] == [newer.entry_id]
    assert await client.zcard(keys.entries_key(tenant)) == 2, "the replaced one stays until its time is over"


async def test_vectors_and_answers_are_found_by_id_and_read(store: EntryStore, client: Redis, tenant: str) -> None:
    made, (first, _) = await put(client, tenant), await put_vectors(client, tenant, 2)
    answer, vector = await store.find(tenant, made.entry_id), await store.find(tenant, first)
    assert answer is not None
    assert vector is not None
    read, numbers, none = await store.contents([answer.redis_key, vector.redis_key, "gone"])
    assert (read["body"], numbers["vector"], none) == (b'{"a":1}', b"\0\0\0\0", {})
    assert await store.find(tenant, f"ent_{uuid.uuid4().hex}") is None


async def test_a_removed_entry_leaves_nothing_that_leads_to_it(store: EntryStore, client: Redis, tenant: str) -> None:
    room = uuid.uuid4().hex
    made = await put(client, tenant, room=room)
    await put_vectors(client, tenant, 2)
    found = await everything(store, tenant, count=10)
    assert await store.remove(tenant, found) == 3
    assert await client.exists(*(one.redis_key for one in found), keys.exact_key(room, "0f")) == 0
    assert await client.smismember(keys.condemned_key(room), [made.entry_id]) == [1], "no context leads through it"
    assert await client.zmscore(keys.EXPIRY, [one.redis_key for one in found]) == [None] * 3
    assert await everything(store, tenant, count=10) == []
    assert await store.remove(tenant, found) == 0, "again it is none"


async def test_removing_leaves_a_newer_answer_to_the_same_request(
    store: EntryStore, client: Redis, tenant: str
) -> None:
    room = uuid.uuid4().hex
    await put(client, tenant, room=room)
    (old,) = await everything(store, tenant, count=10)
    newer = await put(client, tenant, room=room)
    assert await store.remove(tenant, [old]) == 0
    assert (await client.get(keys.exact_key(room, "0f"))).decode().endswith(newer.entry_id)


async def test_a_sweep_forgets_what_has_expired_and_tenants_without_anything(client: Redis, tenant: str) -> None:
    other = uuid.uuid4().hex
    await put(client, tenant, ttl_s=10)
    await put(client, other, ttl_s=1000)
    await EntryLists(client).sweep(now_s=NOW_S + 10)
    assert await client.exists(keys.entries_key(tenant)) == 0
    assert await client.smismember(keys.ENTRY_TENANTS, [tenant, other]) == [0, 1]


async def test_what_a_lost_redis_held_is_restored_as_it_was_for_as_long_as_it_would_have_been(
    store: EntryStore, client: Redis, tenant: str
) -> None:
    room = uuid.uuid4().hex
    made = await put(client, tenant, room=room, ttl_s=600, tags=("a",))
    await put_vectors(client, tenant, 1)
    found = await everything(store, tenant, count=10)
    lines = [
        Line(one, fields)
        for one, fields in zip(found, await store.contents([one.redis_key for one in found]), strict=True)
    ]
    assert await store.restore(tenant, lines, now_s=NOW_S) == 0, "all of it is there"
    gone = [one.redis_key for one in found]
    await client.delete(*gone, keys.exact_key(room, "0f"), keys.entries_key(tenant))
    await client.zrem(keys.EXPIRY, *gone)
    assert await store.restore(tenant, lines, now_s=NOW_S + 100) == 2
    assert await everything(store, tenant, count=10) == found
    entry, _, _ = await ResponseStore(client).look_up(
        keys.LookUpKeys(keys.exact_key(room, "0f"), None, keys.condemned_key(room), None)
    )
    assert entry == made
    assert 0 < await client.ttl(found[0].redis_key) <= 500
    assert await client.zmscore(keys.EXPIRY, gone) == [one.expires_at for one in found]


async def test_what_was_called_wrong_is_not_restored(store: EntryStore, client: Redis, tenant: str) -> None:
    await put(client, tenant)
    found = await everything(store, tenant, count=10)
    lines = [Line(found[0], (await store.contents([found[0].redis_key]))[0])]
    await store.remove(tenant, found)
    assert await store.restore(tenant, lines, now_s=NOW_S) == 0
