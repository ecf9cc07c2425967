"""What becomes due is seen to in every queue, whatever happens in one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from proxy.core.coordination.keys import QueueKeys
from proxy.errors import StoreUnavailableError
from proxy.services.background import Background
from proxy.services.task_upkeep import QUEUES_AT_ONCE, TaskUpkeep
from proxy.stores.breaker import Guard


class Store:
    """Queues with so many things due; the first sweep of all may fail."""

    def __init__(self, due: dict[str, int | None], error: Exception | None = None) -> None:
        self.due = due
        self.error = error
        self.batches: list[int] = []
        self.pruned: list[str] = []
        self.ended = 3

    async def tenants(self) -> list[str]:
        return ["a"]

    async def queues(self, tenant: str) -> list[str]:
        return list(self.due)

    async def sweep(self, queues: Sequence[QueueKeys]) -> list[int | None]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.batches.append(len(queues))
        counts: list[int | None] = []
        for queue in queues:
            left = self.due[queue.queue]
            counts.append(None if left is None else min(left, 100))
            self.due[queue.queue] = None if left is None else max(0, left - 100)
        return counts

    async def prune(self, queue: QueueKeys, *, keep: int) -> int:
        assert keep == 7
        self.pruned.append(queue.queue)
        self.ended = max(0, self.ended - 1)
        return self.ended


async def run(store: Store, *, until: int, prune_s: float = 60.0) -> int:
    """Let it work until so much was seen to; returns how much that was."""
    seen: list[int] = []

    async def ping() -> None:
        return None

    background, guard = Background(), Guard(ping)
    upkeep = TaskUpkeep(store, store, guard, max_ended=7, on_due=seen.append, round_s=0.001, prune_s=prune_s)
    background.spawn(upkeep.run(), name="upkeep")
    async with asyncio.timeout(5):
        while sum(seen) < until or (prune_s < 1 and not store.pruned):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    await background.aclose()
    await guard.aclose()
    return sum(seen)


async def test_a_queue_with_much_due_is_swept_until_nothing_is_left() -> None:
    store = Store({"q": 250, "idle": 0})
    assert await run(store, until=250) == 250
    assert store.batches[:4] == [2, 1, 1, 1]  # what was idle is not asked again in the same round


async def test_many_queues_are_swept_in_few_round_trips() -> None:
    store = Store({f"q{number}": 1 for number in range(QUEUES_AT_ONCE + 1)})
    await run(store, until=QUEUES_AT_ONCE + 1)
    assert store.batches[0] == QUEUES_AT_ONCE


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ValueError("unforeseen")], ids=["away", "unforeseen"])
async def test_the_next_round_comes_whatever_happened(error: Exception) -> None:
    assert await run(Store({"q": 3}, error), until=3) == 3


async def test_a_queue_that_cannot_be_swept_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    assert await run(Store({"broken": None, "q": 3}), until=3) == 3
    assert "1 queues could not be swept" in caplog.text


async def test_what_ended_is_removed_batch_by_batch() -> None:
    store = Store({"q": 0})
    await run(store, until=0, prune_s=0.005)
    assert store.pruned[:3] == ["q", "q", "q"]
