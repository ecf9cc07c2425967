"""Full collections wait for a quiet second."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from proxy.services import garbage
from proxy.services.background import Background
from proxy.services.garbage import DUE, LONGEST_S, WORK_S, Collector, collect


class Process:
    """A process whose time and work are told."""

    def __init__(self) -> None:
        self.at_s, self.busy_s, self.collected = 100.0, 5.0, 0
        self.collector = Collector(busy_s=lambda: self.busy_s, now=lambda: self.at_s, collect=self.collect)

    def collect(self) -> None:
        self.collected += 1

    def second(self, *, busy: float, looks: int = DUE) -> bool:
        self.at_s += 1.0
        self.busy_s += busy
        return self.collector.look(looks=looks)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_a_busy_process_is_left_alone_and_a_quiet_one_is_collected() -> None:
    process = Process()
    assert not process.second(busy=0.9)
    assert process.second(busy=0.01)
    assert process.collected == 1


def test_where_little_has_happened_there_is_nothing_to_collect() -> None:
    assert not Process().second(busy=0.0, looks=DUE - 1)


def test_one_that_is_never_quiet_is_collected_when_it_is_overdue() -> None:
    process = Process()
    collected = [process.second(busy=1.0) for _ in range(int(LONGEST_S) * 2)]
    assert collected.count(True) == 2


def test_memory_goes_back_after_work_and_not_after_time() -> None:
    process = Process()
    assert not process.collector.is_worth_giving_back()
    process.at_s += 3600.0
    assert not process.collector.is_worth_giving_back()
    process.busy_s += WORK_S
    assert process.collector.is_worth_giving_back()
    assert not process.collector.is_worth_giving_back()


async def test_it_goes_back_while_the_process_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    process, given = Process(), asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(garbage, "LOOK_S", 0.001)
    monkeypatch.setattr(garbage, "give_back", lambda: loop.call_soon_threadsafe(given.set))
    background = Background()
    background.spawn(process.collector.run(), name="garbage")
    process.busy_s += WORK_S
    await asyncio.wait_for(given.wait(), 10)
    await background.aclose()


def test_what_is_alive_at_the_beginning_is_not_walked_again_and_nothing_is_collected_by_itself() -> None:
    process = Process()
    process.collector.begin()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[2] > 1 << 20


def test_collecting_is_full() -> None:
    class Ring:
        pass

    ring = Ring()
    ring.self = ring  # type: ignore[attr-defined]
    gone = weakref.ref(ring)
    del ring
    collect()
    assert gone() is None
