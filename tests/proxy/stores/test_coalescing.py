"""Calls that wait at the same time become one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from proxy.errors import StoreError, StoreUnavailableError
from proxy.stores.coalescing import BATCH, IN_FLIGHT, Coalescer


class Slow:
    """Doubles numbers, once it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self, wanted: Sequence[int]) -> list[int]:
        self.batches.append(list(wanted))
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [2 * number for number in wanted]


async def asked(coalescer: Coalescer[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.get_running_loop().create_task(coalescer.get(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_each_gets_its_own_and_those_that_waited_went_together() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    tasks = await asked(coalescer, range(10))
    assert slow.batches == [[number] for number in range(IN_FLIGHT)]
    slow.may_answer.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(10)]
    assert slow.batches[IN_FLIGHT:] == [list(range(IN_FLIGHT, 10))]


async def test_a_batch_is_bounded() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    tasks = await asked(coalescer, range(IN_FLIGHT + BATCH + 5))
    slow.may_answer.set()
    await asyncio.gather(*tasks)
    assert max(map(len, slow.batches)) == BATCH


async def test_an_error_reaches_all_each_with_its_own() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    tasks = await asked(coalescer, range(6))
    slow.error = StoreUnavailableError("away")
    slow.may_answer.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    assert len({id(error) for error in errors[IN_FLIGHT:]}) == 6 - IN_FLIGHT
    slow.error = None
    assert await coalescer.get(21) == 42


async def test_whoever_leaves_takes_nobody_along() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    tasks = await asked(coalescer, range(6))
    tasks[0].cancel()
    tasks[4].cancel()
    await asyncio.sleep(0)
    slow.may_answer.set()
    left = [tasks[index] for index in (1, 2, 3, 5)]
    assert await asyncio.gather(*left) == [2, 4, 6, 10]
    assert not any(4 in batch for batch in slow.batches)


async def test_a_silent_store_holds_no_place_once_nobody_waits() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    for _ in range(3):
        tasks = await asked(coalescer, range(8))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
    slow.may_answer.set()
    assert await asyncio.wait_for(coalescer.get(4), 1.0) == 8


async def test_a_fault_of_ours_reaches_whoever_waits() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    tasks = await asked(coalescer, range(4))
    slow.error = KeyError("a fault")
    slow.may_answer.set()
    for task in tasks:
        with pytest.raises(KeyError):
            await task


async def test_errors_of_the_store_keep_their_cause() -> None:
    slow = Slow()
    coalescer = Coalescer(slow.fetch)
    slow.error = StoreError("refused")
    slow.error.__cause__ = OSError("why")
    tasks = await asked(coalescer, range(4))
    slow.may_answer.set()
    for task in tasks:
        with pytest.raises(StoreError) as raised:
            await task
        assert isinstance(raised.value.__cause__, OSError)
