"""Entries moved to another embedder's keys in a real Redis: nothing of them is lost, doubled, or left behind, wherever it is cut short."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys, named_caches, spaces
from proxy.core.entries import Cursor
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.core.named_caches import Content
from proxy.core.spaces import KnownEmbedder, Progress, Waiting
from proxy.core.traces import Trace
from proxy.stores import moving_entries
from proxy.stores.embedder_names import USED_S, EmbedderNames
from proxy.stores.entries import EntryStore
from proxy.stores.erasure import EntryEraser
from proxy.stores.moving_entries import MovingEntries
from proxy.stores.named_caches import NamedCacheStore
from proxy.stores.responses import ResponseStore
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal
from proxy.stores.vectors import VectorIndex
from tests.builders import ABOUT

OLD_DIM, NEW_DIM = 4, 6
NEW_VECTOR = np.full(NEW_DIM, NEW_DIM**-0.5, dtype=np.float32)
OLD_VECTOR = np.full(OLD_DIM, OLD_DIM**-0.5, dtype=np.float32)


@dataclass
class Rig:
    """Two embedders with their indexes, and a tenant, of one test alone."""

    client: Redis
    seal: Seal | NoSeal = NO_SEAL
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    room: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.old, self.new, self.tenant = f"old-{self.name}", f"new-{self.name}", f"0e{self.name}"
        self.moving = MovingEntries(self.client, before=self.old, now=self.new, seal=self.seal)
        self.before = VectorIndex(self.client, fingerprint=self.old, dim=OLD_DIM, seal=self.seal)
        self.now = VectorIndex(self.client, fingerprint=self.new, dim=NEW_DIM, seal=self.seal)
        self.responses = ResponseStore(self.client, self.seal)
        self.names = EmbedderNames(self.client)

    async def open(self) -> Rig:
        for fingerprint, dim in ((self.old, OLD_DIM), (self.new, NEW_DIM)):
            await self.names.use(KnownEmbedder(fingerprint, dim), process="p", now_s=time.time())
        await self.before.ensure()
        await self.now.ensure()
        for index in (self.before, self.now):
            while not await index.is_complete():
                pass
        return self

    async def put(self, fingerprint: str, *, ttl_s: int = 600, has_vector: bool = True) -> Entry:
        made = Entry(f"ent_{uuid.uuid4().hex}", "How?", b'{"a":1}', WireMode.BOTH, time.time(), ttl_s, tags=("t",))
        await self.responses.put(
            made if has_vector else replace(made, question=""),
            redis_key=keys.entry_key(self.old, self.room, made.entry_id),
            partition="aa",
            vector=OLD_VECTOR.tobytes() if has_vector else None,
            exact_key=keys.exact_key(self.room, fingerprint),
            context_key=keys.context_key(self.room, fingerprint),
            condemned_key=keys.condemned_key(self.room),
            record=ContextRecord(made.entry_id, 1.0),
            about=replace(ABOUT, owner=self.tenant, namespace="n"),
        )
        return made if has_vector else replace(made, question="")

    async def waiting(self, owner: str | None) -> list[Waiting]:
        cursor, found = await self.moving.waiting(owner, 0)
        while cursor:
            cursor, more = await self.moving.waiting(owner, cursor)
            found += more
        return found

    async def move_all(self, owner: str | None = None) -> int:
        owner = owner or self.tenant
        found = await self.waiting(owner)
        return await self.moving.move(owner, [(one, NEW_VECTOR.tobytes() if one.question else None) for one in found])

    async def exact(self, fingerprint: str) -> Entry | None:
        at = keys.LookUpKeys(keys.exact_key(self.room, fingerprint), None, keys.condemned_key(self.room), None)
        return (await self.responses.look_up(at))[0]

    def old_key(self, entry: Entry) -> str:
        return keys.entry_key(self.old, self.room, entry.entry_id)

    def new_key(self, entry: Entry) -> str:
        return keys.entry_key(self.new, self.room, entry.entry_id)

    async def listed(self) -> list[str]:
        page = await EntryStore(self.client, self.seal).page(self.tenant, Cursor(), now_s=time.time())
        return [one.entry_id for one in page.found]


@pytest.fixture
async def rig(client: Redis) -> Rig:
    await client.unlink(spaces.MIGRATION, spaces.TURN)
    return await Rig(client).open()


async def fields(client: Redis, key: str) -> dict[bytes, bytes]:
    found: Any = await client.hgetall(key)
    return found


async def test_an_entry_moves_with_all_that_it_is_and_all_that_leads_to_it(rig: Rig, client: Redis) -> None:
    entry = await rig.put("f", ttl_s=600)
    was, lives_ms = await fields(client, rig.old_key(entry)), await client.pttl(rig.old_key(entry))
    context = await client.get(keys.context_key(rig.room, "f"))
    score = await client.zscore(keys.EXPIRY, rig.old_key(entry))
    assert await rig.move_all() == 1
    now = await fields(client, rig.new_key(entry))
    assert now.pop(b"vector") == NEW_VECTOR.tobytes()
    assert was.pop(b"vector") == OLD_VECTOR.tobytes()
    assert now == was
    assert 0 < await client.pttl(rig.new_key(entry)) <= lives_ms
    assert 0 < await client.pttl(keys.exact_key(rig.room, "f")) <= lives_ms
    assert await rig.exact("f") == entry
    assert await client.get(keys.context_key(rig.room, "f")) == context
    assert not await client.exists(rig.old_key(entry))
    for at in (keys.EXPIRY, keys.entries_key(rig.tenant)):
        assert await client.zscore(at, rig.new_key(entry)) == score
        assert await client.zscore(at, rig.old_key(entry)) is None


async def test_it_is_in_the_new_index_at_once_and_no_more_in_the_old_one(rig: Rig) -> None:
    entry = await rig.put("f")
    assert [one.entry_id for one in await rig.before.nearest("aa", OLD_VECTOR, k=3)] == [entry.entry_id]
    await rig.move_all()
    assert await rig.before.nearest("aa", OLD_VECTOR, k=3) == []
    (found,) = await rig.now.nearest("aa", NEW_VECTOR, k=3)
    assert (found.entry_id, found.redis_key) == (entry.entry_id, rig.new_key(entry))
    assert await rig.now.nearest("bb", NEW_VECTOR, k=3) == [], "its partition is the same"
    await rig.before.is_complete()
    assert rig.before.documents == 0


async def test_what_only_exact_repeats_have_moves_without_a_vector(rig: Rig, client: Redis) -> None:
    entry = await rig.put("f", has_vector=False)
    assert await rig.move_all() == 1
    assert await rig.exact("f") == entry
    assert await client.hget(rig.new_key(entry), "vector") is None


async def test_an_entry_that_is_removed_meanwhile_does_not_come_back(rig: Rig, client: Redis) -> None:
    entry = await rig.put("f")
    (found,) = await rig.waiting(rig.tenant)
    await client.unlink(rig.old_key(entry))
    assert await rig.moving.move(rig.tenant, [(found, NEW_VECTOR.tobytes())]) == 0
    assert not await client.exists(rig.new_key(entry))
    for at in (keys.EXPIRY, keys.entries_key(rig.tenant)):
        assert await client.zscore(at, rig.new_key(entry)) is None


async def test_an_answer_that_took_its_place_keeps_the_exact_key(rig: Rig, client: Redis) -> None:
    entry = await rig.put("f")
    (found,) = await rig.waiting(rig.tenant)
    await client.set(keys.exact_key(rig.room, "f"), "another", ex=60)
    await rig.moving.move(rig.tenant, [(found, NEW_VECTOR.tobytes())])
    assert await client.get(keys.exact_key(rig.room, "f")) == b"another"
    assert await client.exists(rig.new_key(entry))


@pytest.mark.parametrize("killed_at", ["before the move", "after the move"])
async def test_a_walk_that_was_cut_short_is_taken_up_and_ends_with_each_entry_once(
    rig: Rig, client: Redis, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [await rig.put(f"f{number}") for number in range(3)]

    class Killed(BaseException):
        pass

    async def die(*_: Any, **__: Any) -> int:
        raise Killed

    if killed_at == "after the move":
        monkeypatch.setattr(rig.moving, "_take_off", die)
    else:
        monkeypatch.setattr(client, "script_load", die)
    with pytest.raises(Killed):
        await rig.move_all()
    assert sorted(await rig.listed()) == sorted(one.entry_id for one in entries), "each is listed, and once"
    monkeypatch.undo()
    await rig.move_all()
    assert await rig.waiting(rig.tenant) == []
    for at in (keys.EXPIRY, keys.entries_key(rig.tenant)):
        for entry in entries:
            assert await client.zscore(at, rig.old_key(entry)) is None
            assert await client.zscore(at, rig.new_key(entry)) is not None
    assert {(await rig.exact(f"f{number}")) for number in range(3)} == set(entries)


async def test_what_names_an_entry_by_its_old_key_still_reaches_it(rig: Rig, client: Redis) -> None:
    read, wrong, erased, dropped = [await rig.put(f"f{number}") for number in range(4)]
    page = await EntryStore(client).page(rig.tenant, Cursor(), now_s=time.time())
    await rig.move_all()
    assert await rig.responses.fetch(rig.old_key(read)) == read
    record = ContextRecord(read.entry_id, 1.0)
    assert await rig.responses.fetch_and_link(rig.old_key(read), f"deja:v1:{rig.room}", record, ttl_s=60) == read
    condemned = keys.condemned_key(rig.room)
    assert await rig.responses.condemn(
        wrong.entry_id, at=rig.old_key(wrong), condemned_key=condemned, pair=[("u1", "a"), ("u2", "b")], keep_s=60
    )
    exact = keys.exact_key(rig.room, "f2")
    trace = Trace("req", "s", erased.entry_id, rig.old_key(erased), exact, condemned)
    assert await EntryEraser(client).erase([trace]) == 1
    (listed,) = [one for one in page.found if one.entry_id == dropped.entry_id]
    ((content,), removed) = (
        await EntryStore(client).contents([listed.redis_key]),
        await EntryStore(client).remove(rig.tenant, [listed]),
    )
    assert (content["body"], removed) == (b'{"a":1}', 1)
    left = [key async for key in client.scan_iter(f"{keys.entry_prefix(rig.new)}*", count=1000)]
    assert left == [rig.new_key(read).encode()]
    assert await rig.listed() == [read.entry_id]


async def test_a_tenants_walk_meets_its_own_entries_alone(rig: Rig, client: Redis) -> None:
    other = await Rig(client, name=rig.name, room=uuid.uuid4().hex).open()
    other.tenant = f"0f{rig.name}"
    mine, others = await rig.put("f"), await other.put("f")
    assert [one.entry_id for one in await rig.waiting(rig.tenant)] == [mine.entry_id]
    await rig.move_all()
    assert await rig.listed() == [mine.entry_id]
    assert await other.listed() == [others.entry_id]
    assert await client.exists(other.old_key(others))


async def test_entries_of_named_caches_move_with_every_key_they_leave(rig: Rig, client: Redis) -> None:
    store, room, content = NamedCacheStore(client), keys.cache_room(rig.tenant, "faq"), Content("Q?", "A.", {"a": "1"})
    entry = Entry(
        f"ent_{uuid.uuid4().hex}", content.prompt, named_caches.to_body(content), WireMode.JSON, time.time(), 60
    )
    prints = named_caches.prints(room, entry.entry_id, content)
    was = keys.entry_key(rig.old, room, entry.entry_id)
    await store.put(
        entry,
        room=room,
        redis_key=was,
        tags=named_caches.tags(room, content.attributes),
        vector=OLD_VECTOR.tobytes(),
        prints=prints,
        ttl_ms=60_000,
    )
    (found,) = await rig.waiting(None)
    assert await rig.moving.move(None, [(found, NEW_VECTOR.tobytes())]) == 1
    assert all([await store.find(room, [one]) == (0, entry) for one in prints])
    tag = keys.attributes_tag(room, content.attributes)
    assert [one.entry_id for one in await rig.now.nearest(tag, NEW_VECTOR, k=3)] == [entry.entry_id]
    assert await store.fetch(was) == entry
    assert await store.drop(room, [was], tag=tag) == 1
    assert await store.find(room, prints) is None


async def test_stored_answers_are_not_moved_without_their_tenant(rig: Rig) -> None:
    await rig.put("f")
    assert await rig.waiting(None) == []


async def test_a_question_that_no_key_opens_is_said_to_be_one(client: Redis) -> None:
    sealed = await Rig(client, Seal([b"k" * 32])).open()
    entry = await sealed.put("f")
    assert [one.question for one in await sealed.waiting(sealed.tenant)] == ["How?"]
    other = MovingEntries(client, before=sealed.old, now=sealed.new, seal=Seal([b"o" * 32]))
    assert [one.question for one in (await other.waiting(sealed.tenant, 0))[1]] == [None]
    await sealed.move_all()
    assert await sealed.exact("f") == entry, "what is sealed is bound to the entry, not to where it lies"


async def test_one_process_at_a_time_has_the_turn(rig: Rig, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await rig.moving.take_turn("a")
    assert await rig.moving.take_turn("a"), "and keeps it"
    assert not await rig.moving.take_turn("b")
    await rig.moving.leave_turn("b")
    assert not await rig.moving.take_turn("b"), "nobody gives up another's"
    await rig.moving.leave_turn("a")
    assert await rig.moving.take_turn("b")
    assert 0 < await client.pttl(spaces.TURN) <= moving_entries.TURN_MS


async def test_progress_goes_on_counting_after_a_restart_and_anew_for_another_embedder(rig: Rig, client: Redis) -> None:
    assert await rig.moving.begin(now_s=1.0) == Progress(rig.old, rig.new, 1.0)
    await rig.put("f")
    await rig.move_all()
    assert await rig.moving.begin(now_s=2.0) == Progress(rig.old, rig.new, 1.0, moved=1)
    await rig.moving.end(now_s=3.0)
    assert await moving_entries.progress(client) == Progress(rig.old, rig.new, 1.0, 3.0, moved=1)
    assert (await MovingEntries(client, before=rig.new, now=rig.old).begin(now_s=4.0)).moved == 0


async def test_who_embeds_is_known_until_it_leaves_or_is_silent_for_long(rig: Rig) -> None:
    tag = keys.embedder_tag(rig.old)
    at, known = time.time(), KnownEmbedder(rig.old, OLD_DIM)
    assert tag in await rig.names.in_use(now_s=at)
    assert tag not in await rig.names.in_use(now_s=at + USED_S + 1)
    await rig.names.use(known, process="q", now_s=at)
    await rig.names.leave(known, process="p")
    assert tag in await rig.names.in_use(now_s=at), "another process of it is there"
    await rig.names.leave(known, process="q")
    assert tag not in await rig.names.in_use(now_s=at)
    assert known in await rig.names.known(), "what it was is not forgotten"
    assert {tag, keys.embedder_tag(rig.new)} <= await rig.names.indexed()


async def test_a_dropped_index_leaves_its_entries(rig: Rig, client: Redis) -> None:
    entry = await rig.put("f")
    await rig.before.drop()
    assert keys.embedder_tag(rig.old) not in await rig.names.indexed()
    assert await client.exists(rig.old_key(entry))
