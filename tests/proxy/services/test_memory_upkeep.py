"""The caretaker of memories: notes of what was found, bounded and never in the way; doubles, no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.errors import EmbeddingError, StoreUnavailableError
from proxy.services import memory_upkeep
from proxy.services.memory_upkeep import MemoryUpkeep
from tests.proxy.core.memory.builders import NOW, memory


class Guard:
    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


class Store:
    """Remembers notes; fails as often as it is told to."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, int]] = []

    async def touch(self, tenant: str, memory_id: str, *, at: float, times: int) -> None:
        self.noted.append((tenant, memory_id, times))


class Index:
    """There after some attempts."""

    fingerprint = "test"
    has_vectors = False

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    async def ensure(self) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        return False

    async def is_complete(self) -> bool:
        return True


class Embedder:
    fingerprint = "test"

    async def embed(self, text: str, *, whose: str = "") -> Any:
        raise EmbeddingError("none")


def made(index: Index | None = None, *, now: float = NOW) -> tuple[MemoryUpkeep, Store]:
    store = Store()
    return MemoryUpkeep(store, Guard(), Embedder(), index or Index(), now=lambda: now), store  # type: ignore[arg-type]


async def run_for(upkeep: MemoryUpkeep, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await upkeep.run()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_upkeep, "NOTE_EVERY_S", 0.001)
    monkeypatch.setattr(memory_upkeep, "ROUND_S", 0.01)
    monkeypatch.setattr(memory_upkeep, "INDEX_RETRY_S", 0.005)


async def test_searches_that_found_a_memory_are_one_note() -> None:
    upkeep, store = made(now=NOW + memory_upkeep.TOUCH_AFTER_S)
    for _ in range(3):
        upkeep.found("t", [memory("a"), memory("b")])
    await run_for(upkeep, 0.2)
    assert sorted(store.noted) == [("t", "a", 3), ("t", "b", 3)]


async def test_what_was_noted_a_moment_ago_waits() -> None:
    upkeep, store = made(now=NOW + memory_upkeep.TOUCH_AFTER_S - 1)
    upkeep.found("t", [memory("a")])
    await run_for(upkeep, 0.1)
    assert store.noted == []


async def test_notes_are_bounded_even_while_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_upkeep, "MAX_WAITING", 5)
    upkeep, store = made(now=NOW + 1000)
    upkeep.found("t", [memory(f"m{number}") for number in range(5)])

    async def crowd() -> None:
        for number in range(20):
            await asyncio.sleep(0.002)
            upkeep.found("t", [memory(f"n{number}")])

    await asyncio.gather(crowd(), run_for(upkeep, 0.3))
    assert ("t", "n19", 1) in store.noted
    assert len(store.noted) == len(set(store.noted))


async def test_a_redis_that_is_away_is_asked_again() -> None:
    upkeep, _ = made(Index(failures=3))
    await run_for(upkeep, 0.2)
    assert upkeep.is_complete
