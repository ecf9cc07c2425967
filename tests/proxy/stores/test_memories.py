"""Memories on a real Redis: each write whole or not at all, and readable by any client."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from proxy.core.memory import keys
from proxy.core.memory.keys import Kind
from proxy.core.memory.records import MemoryType
from proxy.core.memory.storage import Kept, Vector
from tests.proxy.core.memory.builders import DAY, NOW, memory
from tests.proxy.stores.memory_doubles import Shelf, axis

WHOLE = memory(
    "m:1 {odd}", "User met Maria in Graz", memory_type=MemoryType.EPISODIC, user="anna", session="s1", namespace="work/a",
    topics=("Travel", "a,b"), entities=("Maria",), created_at=NOW - 0.1234567, event_at=NOW - DAY, extracted_from=("msg 1",),
    is_pinned=True, times_found=3,
)  # fmt: skip


@pytest.fixture
async def shelf(client: Redis) -> AsyncIterator[Shelf]:
    opened = await Shelf(client).open()
    yield opened
    await client.execute_command("FT.DROPINDEX", opened.index.name)  # type: ignore[no-untyped-call]


async def kept(shelf: Shelf, memory_id: str) -> Kept:
    (found,) = await shelf.store.read(shelf.tenant, [memory_id])
    assert found is not None
    return found


async def names(shelf: Shelf, kind: Kind) -> dict[str, int]:
    found = await shelf.client.hgetall(keys.names(shelf.tenant, kind))  # type: ignore[misc]
    return {name.decode(): int(count) for name, count in found.items()}


async def test_what_is_stored_is_read_back_whole(shelf: Shelf) -> None:
    await shelf.put(WHOLE, axis(0))
    found = await kept(shelf, WHOLE.memory_id)
    assert found.memory == WHOLE
    assert (found.revision, found.embedder) == (1, shelf.fingerprint)
    assert await shelf.store.read(shelf.tenant, ["none", WHOLE.memory_id]) == [None, found]
    assert await shelf.store.read("another", [WHOLE.memory_id]) == [None]
    assert await shelf.store.vectors(shelf.tenant, [WHOLE.memory_id, "none"], shelf.fingerprint) == [axis(0), None]


async def test_any_client_reads_a_memory(shelf: Shelf) -> None:
    await shelf.put(WHOLE, axis(0))
    fields = await shelf.client.hgetall(f"deja:v1:memory:{{{shelf.tenant}}}:m:1 {{odd}}")  # type: ignore[misc]
    told = {name.decode(): value.decode() for name, value in fields.items() if not name.startswith(b"vector_")}
    assert told["text"] == WHOLE.text
    assert (told["user"], told["type"], told["pinned"]) == ("anna", "episodic", "1")
    assert json.loads(told["topics"]) == ["Travel", "a,b"]
    assert float(told["event_at"]) == WHOLE.event_at


async def test_nothing_of_a_memory_expires(shelf: Shelf) -> None:
    await shelf.put(WHOLE, axis(0))
    async for key in shelf.client.scan_iter(f"*{{{shelf.tenant}}}*"):
        assert await shelf.client.ttl(key) == -1


async def test_a_write_that_comes_too_late_changes_nothing(shelf: Shelf) -> None:
    await shelf.put(memory("m", "one"))
    again = await shelf.store.put(shelf.tenant, memory("m", "two"), expected=0, vector=None, now=NOW)
    assert not again.is_written
    first = await shelf.store.put(shelf.tenant, memory("m", "three"), expected=1, vector=None, now=NOW)
    second = await shelf.store.put(shelf.tenant, memory("m", "four"), expected=1, vector=None, now=NOW)
    assert (first.is_written, second.is_written) == (True, False)
    assert (await kept(shelf, "m")).memory.text == "three"


async def test_of_many_writers_of_one_text_one_succeeds(shelf: Shelf) -> None:
    puts = await asyncio.gather(
        *(
            shelf.store.put(shelf.tenant, memory(f"m{number}"), expected=0, vector=None, is_exclusive=True, now=NOW)
            for number in range(30)
        )
    )
    assert [put.is_written for put in puts].count(True) == 1
    (winner,) = [f"m{number}" for number, put in enumerate(puts) if put.is_written]
    assert {put.same for put in puts if not put.is_written} == {winner}
    assert await shelf.store.says(shelf.tenant, keys.text_digest(memory())) == winner


async def test_times_that_are_no_longer_known_are_removed(shelf: Shelf) -> None:
    await shelf.put(memory("m", event_at=NOW, invalid_at=NOW))
    await shelf.store.put(shelf.tenant, memory("m"), expected=1, vector=None, now=NOW)
    found = (await kept(shelf, "m")).memory
    assert (found.event_at, found.invalid_at) == (None, None)


async def test_a_replaced_fact_ends_in_the_same_step(shelf: Shelf) -> None:
    old, new = memory("old", "User lives in Paris"), memory("new", "User lives in Rome", replaces="old")
    await shelf.put(old, axis(0))
    put = await shelf.store.put(shelf.tenant, new, expected=0, vector=None, replaced=("old", NOW + 5), now=NOW + 6)
    assert put.is_written
    ended = (await kept(shelf, "old")).memory
    assert (ended.invalid_at, ended.replaced_by, ended.updated_at) == (NOW + 5, "new", NOW + 6)
    assert await shelf.store.says(shelf.tenant, keys.text_digest(old)) is None  # told again, it is a new fact


async def test_nothing_is_written_where_the_fact_to_replace_is_not_there(shelf: Shelf) -> None:
    put = await shelf.store.put(shelf.tenant, memory("new"), expected=0, vector=None, replaced=("none", NOW), now=NOW)
    assert put.is_gone
    assert await shelf.store.read(shelf.tenant, ["new"]) == [None]


async def test_removing_removes_all_that_points_there(shelf: Shelf) -> None:
    await shelf.put(memory("a", "one", user="anna", namespace="n"))
    await shelf.put(memory("b", "two", user="anna"))
    assert await names(shelf, Kind.USER) == {"anna": 2}
    assert await shelf.store.drop(shelf.tenant, {"a": None, "none": None, "b": 7}) == 1
    assert await names(shelf, Kind.USER) == {"anna": 1}
    assert await names(shelf, Kind.NAMESPACE) == {}
    assert await shelf.store.drop(shelf.tenant, {"b": 1}) == 1
    assert [key async for key in shelf.client.scan_iter(f"*{{{shelf.tenant}}}*")] == []


async def test_names_are_counted_as_memories_change_hands(shelf: Shelf) -> None:
    await shelf.put(memory("a", user="anna", session="s"))
    await shelf.store.put(shelf.tenant, memory("a", user="ben"), expected=1, vector=None, now=NOW)
    assert await names(shelf, Kind.USER) == {"ben": 1}
    assert await names(shelf, Kind.SESSION) == {}


@pytest.mark.parametrize("prefix", ["us", "us*", "us?", "us[", "us\\", "us]", "us-", "us^"])
async def test_names_are_found_by_their_beginning_to_the_letter(shelf: Shelf, prefix: str) -> None:
    for number, name in enumerate([prefix, prefix + "x", "usx", "u", "other"]):
        await shelf.put(memory(f"{prefix}{number}", f"text {number}", user=name))
    assert set(await shelf.store.names_with(shelf.tenant, Kind.USER, prefix)) == {
        name for name in (prefix, prefix + "x", "usx") if name.startswith(prefix)
    }
    assert len(await shelf.store.ids_with(shelf.tenant, prefix)) == 5


async def test_a_walk_meets_every_memory_once(shelf: Shelf) -> None:
    ids = {f"m{number}" for number in range(25)}
    for memory_id in ids:
        await shelf.put(memory(memory_id, memory_id))
    met, after = Counter[str](), None
    while page := await shelf.store.ids_after(shelf.tenant, after, 7):
        met.update(page)
        after = page[-1]
    assert met == Counter(ids)
    assert await shelf.store.count(shelf.tenant) == 25


async def test_being_found_is_counted_and_brings_nothing_back(shelf: Shelf) -> None:
    await shelf.put(memory("m"))
    await shelf.store.touch(shelf.tenant, "m", at=NOW + 9.5, times=2)
    await shelf.store.touch(shelf.tenant, "m", at=NOW, times=1)
    found = (await kept(shelf, "m")).memory
    assert (found.accessed_at, found.times_found) == (NOW + 9.5, 3)
    await shelf.store.touch(shelf.tenant, "gone", at=NOW, times=1)
    assert not await shelf.client.exists(keys.memory(shelf.tenant, "gone"))


async def test_a_vector_is_given_to_the_text_it_was_made_for(shelf: Shelf) -> None:
    await shelf.put(memory("m", "one"))
    before = await kept(shelf, "m")
    assert await shelf.store.set_vector(shelf.tenant, before, Vector("embedder-1", axis(0)))
    assert await shelf.store.set_vector(shelf.tenant, before, Vector("embedder-2", axis(1)))
    assert await shelf.store.vectors(shelf.tenant, ["m"], "embedder-1") == [None]
    assert await shelf.store.vectors(shelf.tenant, ["m"], "embedder-2") == [axis(1)]
    await shelf.store.put(shelf.tenant, memory("m", "two"), expected=1, vector=None, now=NOW)
    assert not await shelf.store.set_vector(shelf.tenant, before, Vector("embedder-2", axis(2)))


async def test_a_changed_text_loses_the_vector_of_what_it_was(shelf: Shelf) -> None:
    await shelf.put(memory("m", "one"), axis(0))
    await shelf.store.put(shelf.tenant, memory("m", "one", user="ben"), expected=1, vector=None, now=NOW)
    assert await shelf.store.vectors(shelf.tenant, ["m"], shelf.fingerprint) == [axis(0)]
    await shelf.store.put(shelf.tenant, memory("m", "two"), expected=2, vector=None, now=NOW)
    assert await shelf.store.vectors(shelf.tenant, ["m"], shelf.fingerprint) == [None]
    assert (shelf.tenant, "m") in await shelf.index.without_vector(10_000)


async def test_a_memory_of_the_past_claims_no_text(shelf: Shelf) -> None:
    past = memory("past", invalid_at=NOW)
    await shelf.put(past)
    assert await shelf.store.says(shelf.tenant, keys.text_digest(past)) is None
    put = await shelf.store.put(shelf.tenant, memory("now"), expected=0, vector=None, is_exclusive=True, now=NOW)
    assert put.is_written
