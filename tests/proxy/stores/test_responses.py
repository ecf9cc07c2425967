"""Entries, exact keys and contexts in a real Redis."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from proxy.core import feedback, keys
from proxy.core.keys import LookUpKeys, Place
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.responses import ResponseStore
from tests.builders import ABOUT

NOW = 1_800_000_000.0


def room() -> str:
    return uuid.uuid4().hex


def entry(**changes: object) -> Entry:
    made = Entry(f"ent_{uuid.uuid4().hex}", "What is it?", b'{"choices":[]}', WireMode.BOTH, NOW, 60, tags=("a", "b"))
    return replace(made, **changes)  # type: ignore[arg-type]


async def put(
    store: ResponseStore,
    stored: Entry,
    where: str,
    fingerprint: str = "f",
    prefix: str | None = "p",
    lineage: tuple[str, ...] = (),
) -> str:
    redis_key = keys.entry_key("test", where, stored.entry_id)
    await store.put(
        stored,
        redis_key=redis_key,
        partition="aa",
        vector=None,
        exact_key=keys.exact_key(where, fingerprint),
        context_key=keys.context_key(where, prefix) if prefix else None,
        condemned_key=keys.condemned_key(where),
        record=ContextRecord(stored.entry_id, 1.0, lineage),
        about=ABOUT,
    )
    return redis_key


def at(where: str, fingerprint: str = "f", prefix: str | None = "p", text: str | None = None) -> LookUpKeys:
    return keys.look_up_keys(Place(where, fingerprint, prefix, "t"), text)


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
    found, record, _ = await store.look_up(at(where))
    assert found == stored
    assert record == ContextRecord(stored.entry_id, 1.0)


async def test_nothing_is_found_where_nothing_was_put(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    assert await store.look_up(at(where, text="What?")) == (None, None, frozenset())
    assert await store.look_up(at(where, prefix=None)) == (None, None, frozenset())
    assert await store.fetch(keys.entry_key("test", where, "ent_none")) is None


async def test_a_pointer_that_outlived_its_entry_finds_nothing(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    redis_key = await put(store, entry(), where)
    await client.delete(redis_key)
    found, record, _ = await store.look_up(at(where))
    assert found is None
    assert record is not None


async def test_a_new_answer_to_the_same_request_replaces_the_old_entry(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    old_key = await put(store, entry(), where)
    fresh = entry(question="newer")
    await put(store, fresh, where)
    assert await client.exists(old_key) == 0
    assert (await store.look_up(at(where, prefix=None)))[0] == fresh


async def test_a_prefix_keeps_the_meaning_it_was_first_given(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    first, second = entry(), entry(ttl_s=600)
    await put(store, first, where, fingerprint="f1")
    await put(store, second, where, fingerprint="f2")
    _, record, _ = await store.look_up(at(where, "f1"))
    assert record == ContextRecord(first.entry_id, 1.0)
    assert await client.ttl(keys.context_key(where, "p")) > 500  # refreshed: it lives as long as what uses it


async def test_linking_never_overwrites_and_never_shortens(client: Redis) -> None:
    store, where = ResponseStore(client), room()
    stored = entry()
    redis_key, context_key = await put(store, stored, where, prefix=None), keys.context_key(where, "p")
    first = await store.fetch_and_link(redis_key, context_key, ContextRecord("ent_a", 0.98), ttl_s=100)
    second = await store.fetch_and_link(redis_key, context_key, ContextRecord("ent_b", 1.0), ttl_s=10)
    assert first == second == stored
    _, record, _ = await store.look_up(at(where))
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


# --- what was called wrong ---------------------------------------------------------------------------------------------------------


async def condemn(store: ResponseStore, entry_id: str, where: str, *, key: str, texts: tuple[str, ...] = ()) -> bool:
    pair = [(keys.unequal_key(where, text), keys.text_digest(text)) for text in texts]
    return await store.condemn(
        entry_id, at=key, condemned_key=keys.condemned_key(where), pair=pair, keep_s=feedback.KEPT_S
    )


async def test_a_condemned_entry_is_gone_with_its_place_in_the_expiry_list(client: Redis) -> None:
    store, where, stored = ResponseStore(client), room(), entry()
    redis_key = await put(store, stored, where)
    assert await condemn(store, stored.entry_id, where, key=redis_key)
    assert (await store.look_up(at(where)))[0] is None
    assert await client.zscore(keys.EXPIRY, redis_key) is None
    assert not await condemn(store, stored.entry_id, where, key=redis_key), "the second time it was gone already"


async def test_an_entry_is_condemned_through_the_exact_key_that_points_at_it(client: Redis) -> None:
    store, where, stored = ResponseStore(client), room(), entry()
    redis_key = await put(store, stored, where)
    assert await condemn(store, stored.entry_id, where, key=keys.exact_key(where, "f"))
    assert not await client.exists(redis_key)


async def test_the_answer_that_took_the_condemned_ones_place_stays(client: Redis) -> None:
    store, where, old, fresh = ResponseStore(client), room(), entry(), entry()
    await put(store, old, where)
    redis_key = await put(store, fresh, where)
    assert not await condemn(store, old.entry_id, where, key=keys.exact_key(where, "f"))
    assert await client.exists(redis_key)


async def test_no_context_leads_through_a_condemned_entry_however_far_back_it_is(client: Redis) -> None:
    store, where, stored = ResponseStore(client), room(), entry()
    redis_key = await put(store, stored, where, prefix="first")
    await put(store, entry(), where, "f2", prefix="second", lineage=(stored.entry_id,))
    await put(store, entry(), where, "f3", prefix="third", lineage=("ent_between", stored.entry_id))
    await put(store, entry(), where, "f4", prefix="other", lineage=("ent_between",))
    await condemn(store, stored.entry_id, where, key=redis_key)
    found = {prefix: (await store.look_up(at(where, prefix=prefix)))[1] for prefix in ("first", "second", "third")}
    assert found == {"first": None, "second": None, "third": None}
    assert (await store.look_up(at(where, prefix="other")))[1] is not None


async def test_a_fresh_answer_gives_a_condemned_prefix_a_meaning_again(client: Redis) -> None:
    store, where, wrong, fresh = ResponseStore(client), room(), entry(), entry()
    redis_key = await put(store, wrong, where)
    await condemn(store, wrong.entry_id, where, key=redis_key)
    await put(store, fresh, where)
    assert (await store.look_up(at(where)))[1] == ContextRecord(fresh.entry_id, 1.0)


async def test_a_pair_called_wrong_is_told_to_whoever_asks_either_text_in_that_room_alone(client: Redis) -> None:
    store, where, other = ResponseStore(client), room(), room()
    asked, stored = "How do I grow tomatoes?", "How do I grow potatoes?"
    await condemn(store, "ent_gone", where, key=keys.exact_key(where, "f"), texts=(asked, stored))
    assert (await store.look_up(at(where, text=asked)))[2] == {keys.text_digest(stored)}
    assert (await store.look_up(at(where, text=" how do I  grow POTATOES?")))[2] == {keys.text_digest(asked)}
    assert (await store.look_up(at(where, text="How do I grow leeks?")))[2] == frozenset()
    assert (await store.look_up(at(other, text=asked)))[2] == frozenset()


async def test_what_was_called_wrong_is_remembered_longer_than_the_answer_would_have_been_kept(client: Redis) -> None:
    store, where, stored = ResponseStore(client), room(), entry(ttl_s=10 * feedback.KEPT_S)
    redis_key = await put(store, stored, where)
    await condemn(store, stored.entry_id, where, key=redis_key, texts=("a", "b"))
    for key in (keys.condemned_key(where), keys.unequal_key(where, "a"), keys.unequal_key(where, "b")):
        assert await client.ttl(key) > stored.ttl_s
