"""How entries are moved after a change of embedder: whose turn it is, what waits, what ends it; doubles, no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from embeddings.base import Embedding
from embeddings.errors import EmbedderError
from embeddings.hashing import HashingEmbedder
from proxy.core.spaces import KnownEmbedder, Progress, Waiting
from proxy.errors import StoreUnavailableError
from proxy.services import migration as module
from proxy.services.migration import FOLLOW_S, LEFT_S, WATCH_S, Earlier, Migration

NOW, BEFORE = KnownEmbedder("now", 8), KnownEmbedder("before", 5)
MODEL = HashingEmbedder(dim=8, max_tokens=6)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST", 0.0)


class Guard:
    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


def entry(name: str, question: str | None) -> Waiting:
    return Waiting(f"key of {name}", name, question, 0.0)


class Redis:
    """Entries of two embedders, who uses what, and whose turn it is: what names, index and entries look at."""

    def __init__(self, **entries: list[Waiting]) -> None:
        self.left: dict[str | None, list[Waiting]] = {"": [], **entries}
        self.left[None] = self.left.pop("")
        self.moved: list[tuple[str | None, str, bytes | None]] = []
        self.indexed = {BEFORE.tag, NOW.tag}
        self.used: dict[tuple[str, str], float] = {}
        self.turn: str | None = None
        self.is_whole = True
        self.failure: Exception | None = None
        self.ended_at: float | None = None

    # names
    async def use(self, embedder: KnownEmbedder, *, process: str, now_s: float) -> None:
        if self.failure is not None:
            raise self.failure
        self.used[embedder.tag, process] = now_s

    async def leave(self, embedder: KnownEmbedder, *, process: str) -> None:
        self.used.pop((embedder.tag, process), None)

    async def in_use(self, *, now_s: float) -> frozenset[str]:
        return frozenset(tag for tag, _ in self.used)

    async def indexes(self) -> frozenset[str]:
        return frozenset(self.indexed)

    # index
    @property
    def documents(self) -> int:
        return sum(map(len, self.left.values()))

    async def ensure(self) -> bool:
        self.indexed.add(BEFORE.tag)
        return False

    async def is_complete(self) -> bool:
        return self.is_whole

    async def drop(self) -> None:
        self.indexed.discard(BEFORE.tag)

    # entries
    async def take_turn(self, process: str) -> bool:
        self.turn = self.turn or process
        return self.turn == process

    async def leave_turn(self, process: str) -> None:
        if self.turn == process:
            self.turn = None

    async def begin(self, *, now_s: float) -> Progress:
        return Progress("before", "now", now_s)

    async def end(self, *, now_s: float) -> None:
        self.ended_at = now_s

    async def owners(self, cursor: int) -> tuple[int, list[str]]:
        owners = [owner for owner in self.left if owner is not None]
        return (0, owners[cursor:]) if cursor else (1 if len(owners) > 1 else 0, owners[:1])

    async def waiting(self, owner: str | None, cursor: int) -> tuple[int, list[Waiting]]:
        return 0, list(self.left[owner])

    async def move(self, owner: str | None, entries: Sequence[tuple[Waiting, bytes | None]]) -> int:
        for one, vector in entries:
            self.left[owner].remove(one)
            self.moved.append((owner, one.entry_id, vector))
        return len(entries)


class Names:
    """The part of `Redis` that tells of embedders; its name for indexes is taken there."""

    def __init__(self, redis: Redis) -> None:
        self.use, self.leave, self.in_use, self.indexed = redis.use, redis.leave, redis.in_use, redis.indexes


class Rig:
    def __init__(self, redis: Redis, process: str = "p1", *, source: str = "package") -> None:
        self.batches: list[int] = []
        self.redis, self.found, self.let_go, self.counted = redis, 0, 0, 0
        self.fault: EmbedderError | None = None
        self.migration = Migration(
            embedder=replace(NOW, source=source),
            embed=self.embed,
            names=Names(redis),
            find=self.find,
            guard=Guard(),
            process=process,
            on_moved=self.count,
            now=lambda: 100.0,
        )

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.batches.append(len(texts))
        if self.fault is not None or "refused" in texts:
            raise self.fault or EmbedderError("no such text")
        return MODEL.embed(texts)

    async def find(self) -> Earlier | None:
        if BEFORE.tag not in self.redis.indexed:
            return None
        self.found += 1
        return Earlier(BEFORE, self.redis, self.redis, self.close)

    async def close(self) -> None:
        self.let_go += 1

    def count(self, moved: int) -> None:
        self.counted += moved

    async def round(self) -> float:
        return await self.migration._round()


def vector(text: str) -> bytes:
    return MODEL.embed([text])[0].vector.tobytes()


def waiting(count: int, prefix: str = "e") -> list[Waiting]:
    return [entry(f"{prefix}{number}", f"question {number}") for number in range(count)]


async def test_every_entry_is_embedded_anew_and_then_the_embedder_before_goes() -> None:
    redis = Redis(alice=waiting(20), bob=[entry("b", "")])
    redis.left[None] = [entry("named", "cached?")]
    rig = Rig(redis)
    assert await rig.round() == 0.0
    assert rig.counted == 22
    questions = {f"e{number}": f"question {number}" for number in range(20)}
    assert {(owner, name) for owner, name, _ in redis.moved} == {
        *(("alice", name) for name in questions),
        ("bob", "b"),
        (None, "named"),
    }
    assert ("bob", "b", None) in redis.moved
    assert (None, "named", vector("cached?")) in redis.moved
    assert ("alice", "e7", vector("question 7")) in redis.moved
    assert (rig.let_go, rig.migration.left) == (0, 0)
    assert await rig.round() == WATCH_S
    assert (rig.let_go, rig.migration.left, redis.ended_at, redis.turn) == (1, None, 100.0, None)
    assert BEFORE.tag not in redis.indexed
    assert await rig.round() == WATCH_S
    assert rig.found == 1


async def test_what_the_new_embedder_does_not_read_whole_is_left_to_exact_repeats() -> None:
    redis = Redis(alice=[entry("long", "one two three four five six seven")])
    await Rig(redis).round()
    assert redis.moved == [("alice", "long", None)]


async def test_what_no_key_opens_stays_and_with_it_the_embedder_before() -> None:
    redis = Redis(alice=[entry("sealed", None), *waiting(1)])
    rig = Rig(redis)
    assert await rig.round() == 0.0
    assert [name for _, name, _ in redis.moved] == ["e0"]
    assert await rig.round() == LEFT_S
    assert (rig.let_go, rig.migration.left) == (0, 1)


async def test_a_text_that_the_embedder_refuses_stays_and_holds_no_other_up() -> None:
    redis = Redis(alice=[*waiting(3), entry("stays", "refused"), *waiting(9, "after")])
    rig = Rig(redis)
    assert await rig.round() == 0.0
    assert len(redis.moved) == 12
    assert [one.entry_id for one in redis.left["alice"]] == ["stays"]
    assert await rig.round() == LEFT_S
    assert rig.let_go == 0
    rig.fault = EmbedderError("away")
    with pytest.raises(EmbedderError, match="away"):
        await rig.round()


async def test_a_remote_embedder_is_asked_for_many_at_once_and_redis_for_few() -> None:
    redis = Redis(alice=waiting(100))
    moves: list[int] = []
    move = redis.move

    async def noting(owner: str | None, entries: Sequence[tuple[Waiting, bytes | None]]) -> int:
        moves.append(len(entries))
        return await move(owner, entries)

    redis.move = noting  # type: ignore[method-assign]
    rig = Rig(redis, source="")
    await rig.round()
    assert rig.batches == [module.REMOTE_AT_ONCE, 100 - module.REMOTE_AT_ONCE]
    assert max(moves) == module.AT_ONCE
    assert len(redis.moved) == 100


async def test_nothing_moves_while_somebody_embeds_with_the_embedder_before() -> None:
    redis = Redis(alice=waiting(1))
    redis.used[BEFORE.tag, "old process"] = 0.0
    rig = Rig(redis)
    assert await rig.round() == FOLLOW_S
    assert (redis.moved, rig.migration.left) == ([], 1)
    redis.used.clear()
    assert await rig.round() == 0.0
    assert len(redis.moved) == 1


async def test_somebody_who_comes_back_to_the_embedder_before_stops_the_moving() -> None:
    redis = Redis(alice=waiting(20))
    rig = Rig(redis)
    move = redis.move

    async def move_and_see_it_come_back(owner: str | None, entries: Sequence[tuple[Waiting, bytes | None]]) -> int:
        redis.used[BEFORE.tag, "rolled back"] = 0.0
        return await move(owner, entries)

    redis.move = move_and_see_it_come_back  # type: ignore[method-assign]
    await rig.round()
    assert len(redis.moved) == module.AT_ONCE
    assert await rig.round() == FOLLOW_S
    assert redis.turn is None, "another process may be the one to go on"


async def test_one_process_moves_and_the_others_let_go_when_they_see_that_it_is_done() -> None:
    redis = Redis(alice=waiting(3))
    first, second = Rig(redis, "p1"), Rig(redis, "p2")
    redis.turn = "p1"
    assert await second.round() == FOLLOW_S
    assert second.migration.left == 3
    await first.round()
    assert await second.round() == FOLLOW_S
    await first.round()
    assert (first.let_go, second.let_go) == (1, 0)
    assert await second.round() == WATCH_S
    assert second.let_go == 1


async def test_a_process_that_lost_its_turn_stops_moving() -> None:
    redis = Redis(alice=waiting(20))
    rig = Rig(redis)
    taken = redis.take_turn
    calls = 0

    async def take_turn(process: str) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            redis.turn = "p2"
        return await taken(process)

    redis.take_turn = take_turn  # type: ignore[method-assign]
    await rig.round()
    assert len(redis.moved) == module.AT_ONCE
    assert await rig.round() == FOLLOW_S


async def test_an_index_that_is_still_being_filled_is_not_taken_for_empty() -> None:
    redis = Redis()
    redis.is_whole = False
    rig = Rig(redis)
    assert await rig.round() == LEFT_S
    assert BEFORE.tag in redis.indexed
    redis.is_whole = True
    assert await rig.round() == WATCH_S
    assert rig.let_go == 1


async def test_failures_are_tried_again() -> None:
    redis = Redis(alice=waiting(1))
    rig = Rig(redis)
    rig.fault = EmbedderError("away")
    running = asyncio.get_running_loop().create_task(rig.migration.run())
    try:
        await rig.migration.has_looked.wait()
        assert (redis.moved, running.done()) == ([], False)
    finally:
        running.cancel()
    rig.fault = None
    assert await rig.round() == 0.0
    assert len(redis.moved) == 1


async def test_a_process_says_that_it_embeds_and_that_it_ends() -> None:
    redis = Redis(alice=waiting(1))
    rig = Rig(redis)
    redis.turn = "p1"
    beating = asyncio.get_running_loop().create_task(rig.migration.beat())
    async with asyncio.timeout(10):
        while not redis.used:  # noqa: ASYNC110 - the double tells nobody
            await asyncio.sleep(0)
    beating.cancel()
    assert list(redis.used) == [(NOW.tag, "p1")]
    rig.migration._earlier = await rig.find()
    await rig.migration.leave(deadline_s=1.0)
    assert (redis.used, redis.turn) == ({}, None)


async def test_a_redis_that_is_away_does_not_end_the_beat() -> None:
    redis = Redis()
    redis.failure = StoreUnavailableError("away")
    beating = asyncio.get_running_loop().create_task(Rig(redis).migration.beat())
    await asyncio.sleep(0)
    assert not beating.done()
    beating.cancel()
