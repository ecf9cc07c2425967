"""Entries, exact keys and contexts in a real Redis."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.responses import ResponseStore

NOW = 1_800_000_000.0


def room() -> str:
    return uuid.uuid4().hex


def entry(**changes: object) -> Entry:
    made = Entry(f"ent_{uuid.uuid4().hex}", "What is it?", b'{"choices":[]}', WireMode.BOTH, NOW, 60, tags=("a", "b"))
    return replace(made, **changes)  # type: ignore[arg-type]


async def put(store: ResponseStore, stored: Entry, where: str, fingerprint: str = "f", prefix: str | None = "p") -> str:
    redis_key = keys.entry_key("test", where, stored.entry_id)
    await store.put(
        stored,
        redis_key=redis_key,
        partition="aa",
        vector=None,
        exact_key=keys.exact_key(where, fingerprint),
        context_key=keys.context_key(where, prefix) if prefix else None,
        record=ContextRecord(stored.entry_id, 1.0),
    )
    return redis_key


@pytest.mark.parametrize(
    "stored",
    [
        entry(),
        entry(wire=WireMode.STREAM, answer_hash="ab", has_tool_calls=True, usage_estimated=True, tags=()),
        entry(question="", body='{"ü": "\\u0000"}'.encode()),
    ],
    ids=["plain", "flags", "bytes"],
)
async def test_an_entry_is_read_as_it_was_put(client: Redis, stored: Entry) -> None:
    store, where = ResponseStore(client), room()
    redis_key = await put(store, stored, where)
    assert await store.fetch(redis_key) == stored
    found, record = await store.look_up(keys.exact_key(where, "f"), keys.context_key(where, "p"))
    assert found == stored
    assert record == ContextRecord(stored.entry_id, 1.0)


async def test_nothing_is_found_where_nothing_was_put(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    assert await store.look_up(keys.exact_key(where, "f"), keys.context_key(where, "p")) == (None, None)
    assert await store.look_up(keys.exact_key(where, "f"), None) == (None, None)
    assert await store.fetch(keys.entry_key("test", where, "ent_none")) is None


async def test_a_pointer_that_outlived_its_entry_finds_nothing(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    redis_key = await put(store, entry(), where)
    await client.delete(redis_key)
    found, record = await store.look_up(keys.exact_key(where, "f"), keys.context_key(where, "p"))
    assert found is None
    assert record is not None


async def test_a_new_answer_to_the_same_request_replaces_the_old_entry(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    old_key = await put(store, entry(), where)
    fresh = entry(question="newer")
    await put(store, fresh, where)
    assert await client.exists(old_key) == 0
    assert (await store.look_up(keys.exact_key(where, "f"), None))[0] == fresh


async def test_a_prefix_keeps_the_meaning_it_was_first_given(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    first, second = entry(), entry(ttl_s=600)
    await put(store, first, where, fingerprint="f1")
    await put(store, second, where, fingerprint="f2")
    _, record = await store.look_up(keys.exact_key(where, "f1"), keys.context_key(where, "p"))
    assert record == ContextRecord(first.entry_id, 1.0)
    assert await client.ttl(keys.context_key(where, "p")) > 500  # refreshed: it lives as long as what uses it


async def test_linking_never_overwrites_and_never_shortens(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    stored = entry()
    redis_key, context_key = await put(store, stored, where, prefix=None), keys.context_key(where, "p")
    first = await store.fetch_and_link(redis_key, context_key, ContextRecord("ent_a", 0.98), ttl_s=100)
    second = await store.fetch_and_link(redis_key, context_key, ContextRecord("ent_b", 1.0), ttl_s=10)
    assert first == second == stored
    _, record = await store.look_up(keys.exact_key(where, "f"), context_key)
    assert record == ContextRecord("ent_a", 0.98)
    assert await client.ttl(context_key) > 50


async def test_everything_an_entry_leaves_has_a_time_to_live(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    redis_key = await put(store, entry(), where)
    for key in (redis_key, keys.exact_key(where, "f"), keys.context_key(where, "p")):
        assert 0 < await client.ttl(key) <= 60


async def test_an_entry_without_a_context_writes_none(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    await put(store, entry(), where, prefix=None)
    assert not [key async for key in client.scan_iter(f"deja:v1:context:{{{where}}}:*")]
