from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from proxy.core.coordination.versions import Conditions, VersionConflictError, Versions
from proxy.core.sessions import About, Appended, Message, Session
from proxy.errors import RequestError
from proxy.services.keyed_locks import KeyedLocks
from proxy.services.sessions import Bounds, Sessions
from tests.keeping import KeptAtOnce


class Guard:
    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


class Store:
    """Data of one session, in memory; `strangers` write first so many times."""

    def __init__(self) -> None:
        self.version, self.data = 0, b""
        self.strangers = 0
        self.writes = 0

    async def write_data(
        self, tenant: str, session: str, data: bytes, *, version: int
    ) -> int | tuple[int, bytes | None]:
        self.writes += 1
        await asyncio.sleep(0)
        if self.strangers:
            self.strangers -= 1
            self.version += 1
            self.data = orjson.dumps({**orjson.loads(self.data or b"{}"), f"stranger{self.version}": 1})
        if version != self.version:
            return self.version, self.data
        self.version, self.data = version + 1, data
        return self.version

    async def read(
        self, tenant: str, session: str, *, turns: int, events: int = 0, after: str | None = None
    ) -> Session | None:
        await asyncio.sleep(0)
        if not self.version:
            return None
        about = About(session, 0.0, 0.0, 1, None, 0, 0, 0, None, self.version, None)
        return Session(about, self.data, (), ())

    async def append(self, tenant: str, session: str, messages: Sequence[Message], **fields: Any) -> Appended | None:
        raise NotImplementedError

    async def set(self, tenant: str, session: str, fields: Mapping[str, str]) -> bool:
        raise NotImplementedError

    async def page(
        self, tenant: str, *, user: str | None, agent: str | None, limit: int, after: tuple[str, str]
    ) -> tuple[list[About], tuple[str, str] | None]:
        raise NotImplementedError


ANY = Conditions()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def sessions(store: Store) -> Sessions:
    bounds = Bounds(max_turns=10, max_message_bytes=1000, max_data_bytes=200, body_bytes=1000)
    return Sessions(store, Guard(), KeptAtOnce(), bounds=bounds, deadline_s=1.0)


async def test_a_merge_that_meets_another_writer_is_made_again_on_what_that_one_wrote(
    store: Store, sessions: Sessions
) -> None:
    store.strangers = 3
    version, data = await sessions.merge_data("t", "s", {"mine": 1}, ANY)
    assert version == 4
    assert orjson.loads(data).keys() == {"stranger1", "stranger2", "stranger3", "mine"}


async def test_writers_of_one_process_queue_up_and_try_once_each(store: Store, sessions: Sessions) -> None:
    await asyncio.gather(*(sessions.merge_data("t", "s", {f"{at}": 1}, ANY) for at in range(20)))
    assert (store.version, store.writes, len(orjson.loads(store.data))) == (20, 20, 20)


async def test_a_version_that_another_writer_overtook_is_told_and_nothing_is_written(
    store: Store, sessions: Sessions
) -> None:
    await sessions.replace_data("t", "s", {"a": 1}, ANY)
    store.strangers = 1
    with pytest.raises(VersionConflictError) as caught:
        await sessions.replace_data("t", "s", {"a": 2}, Conditions(match=Versions(numbers=frozenset({1}))))
    assert caught.value.version == 2
    assert orjson.loads(store.data)["a"] == 1


async def test_whoever_never_gets_a_turn_is_told_so(store: Store, sessions: Sessions) -> None:
    store.strangers = 10_000
    bounds = Bounds(max_turns=1, max_message_bytes=1, max_data_bytes=1 << 20, body_bytes=1)
    with pytest.raises(RequestError) as caught:
        await Sessions(store, Guard(), KeptAtOnce(), bounds=bounds, deadline_s=1.0).merge_data("t", "s", {"a": 1}, ANY)
    assert caught.value.code == "write_contention"


async def test_data_that_would_grow_too_large_by_a_merge_stay_as_they_are(store: Store, sessions: Sessions) -> None:
    await sessions.merge_data("t", "s", {"a": "x" * 150}, ANY)
    with pytest.raises(RequestError) as caught:
        await sessions.merge_data("t", "s", {"b": "x" * 150}, ANY)
    assert caught.value.code == "data_too_large"
    assert store.version == 1


async def test_a_lock_is_held_by_one_at_a_time_and_forgotten_after_the_last() -> None:
    locks, inside = KeyedLocks(), 0

    async def enter(name: str) -> None:
        nonlocal inside
        async with locks.holding(name):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter("a") for _ in range(5)))
    assert locks._locks == {}


async def test_a_waiter_that_gives_up_leaves_the_lock_to_the_next() -> None:
    locks = KeyedLocks()
    async with locks.holding("a"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_hold(locks), 0.01)
    async with asyncio.timeout(1):
        async with locks.holding("a"):
            pass
    assert locks._locks == {}


async def _hold(locks: KeyedLocks) -> None:
    async with locks.holding("a"):
        raise AssertionError("two held it")
