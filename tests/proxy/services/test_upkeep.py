"""The caretaker: what it mends, and what cannot stop it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from proxy.core.worth import Trimmed, Why
from proxy.errors import StoreError, StoreUnavailableError
from proxy.services import upkeep
from proxy.services.background import Background
from proxy.services.upkeep import Upkeep


class Index:
    """An index that may be missing, incomplete, or fail."""

    def __init__(self) -> None:
        self.is_there = False
        self.complete = True
        self.looks = 0
        self.failures: list[Exception] = []

    async def ensure(self) -> bool:
        self.looks += 1
        if self.failures:
            raise self.failures.pop(0)
        was_there, self.is_there = self.is_there, True
        return not was_there

    async def is_complete(self) -> bool:
        return self.complete


class Cap:
    """A cap with so much to be removed, round by round."""

    def __init__(self, *rounds: Trimmed) -> None:
        self.rounds = list(rounds)

    async def trim(self, *, now_s: float) -> Trimmed:
        return self.rounds.pop(0) if self.rounds else Trimmed()


class OpenGuard:
    """A guard that lets everything through."""

    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(
    index: Index | None, cap: Cap | None = None, evicted: list[Trimmed] | None = None
) -> AsyncIterator[Upkeep]:
    caretaker = Upkeep(
        cap or Cap(), OpenGuard(), on_evict=(evicted if evicted is not None else []).append, now=lambda: 0.0
    )
    if index is not None:
        caretaker.watch(index)
    background = Background()  # as the proxy runs it: one cancellation may be swallowed
    background.spawn(caretaker.run(), name="upkeep")
    try:
        yield caretaker
    finally:
        await background.aclose()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_missing_index_is_created_and_reported_ready() -> None:
    index = Index()
    async with running(index) as caretaker:
        await caretaker.has_looked.wait()
        assert index.is_there
        assert caretaker.index_state == "ready"


async def test_an_index_found_missing_is_looked_at_at_once() -> None:
    index = Index()
    async with running(index) as caretaker:
        await caretaker.has_looked.wait()
        index.is_there = False
        caretaker.index_missing()
        await until(lambda: index.is_there)


async def test_an_index_that_is_being_filled_is_loading() -> None:
    index = Index()
    index.complete = False
    async with running(index) as caretaker:
        await caretaker.has_looked.wait()
        assert caretaker.index_state == "loading"


async def test_an_index_that_is_being_filled_stays_so_whatever_searches_miss() -> None:
    index = Index()
    index.complete = False
    async with running(index) as caretaker:
        await caretaker.has_looked.wait()
        caretaker.index_missing()
        assert caretaker.index_state == "loading"


async def test_neither_redis_errors_nor_surprises_end_the_rounds(monkeypatch: Any) -> None:
    monkeypatch.setattr(upkeep, "INDEX_RETRY_S", 0.01)
    index = Index()
    index.failures = [StoreUnavailableError("away"), StoreError("refused"), ValueError("surprise")]
    async with running(index) as caretaker:
        await until(lambda: caretaker.index_state == "ready")
    assert index.looks == 4


async def test_evictions_are_told() -> None:
    evicted: list[Trimmed] = []
    async with running(Index(), Cap(Trimmed(7, Why.MEMORY)), evicted) as caretaker:
        await caretaker.has_looked.wait()
    assert evicted == [Trimmed(7, Why.MEMORY)]


async def test_while_there_is_still_too_much_the_next_round_comes_soon(monkeypatch: Any) -> None:
    monkeypatch.setattr(upkeep, "BEHIND_S", 0.01)
    evicted: list[Trimmed] = []
    behind = Trimmed(5, is_behind=True)
    async with running(Index(), Cap(behind, behind, Trimmed(2)), evicted):
        await until(lambda: len(evicted) == 3)  # within the patience of `until`, which is no longer than a round


async def test_without_an_embedder_it_waits_and_says_for_what() -> None:
    async with running(None) as caretaker:
        await caretaker.has_looked.wait()
        assert caretaker.index_state == "waiting for the embedder"
