from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from proxy.core.history import ALL, MINUTE, QUARTER, Step
from proxy.errors import StoreUnavailableError
from proxy.services import history as service
from proxy.services.history import Cell, History

NOON_S = 1_795_435_200.0


class MemoryStore:
    """`stores.history` without Redis."""

    def __init__(self) -> None:
        self.slots: dict[Cell, Counter[str]] = {}
        self.adds = 0
        self.is_away = False

    async def add(self, cells: Mapping[Cell, Mapping[str, int]]) -> None:
        self.adds += 1
        if self.is_away:
            raise StoreUnavailableError("Redis is away")
        for cell, counts in cells.items():
            self.slots.setdefault(cell, Counter()).update(counts)

    async def read(self, tenant: str, step: Step, starts: Sequence[int]) -> list[dict[str, int]]:
        return [dict(self.slots.get((tenant, step, start), {})) for start in starts]


class Guard:
    def within(self, _: float) -> Any:
        return nullcontext()


class Rig:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now_s = NOON_S
        self.history = History(self.store, Guard(), now=lambda: self.now_s)

    async def outcomes(self, tenant: str = "t", step: Step = MINUTE, count: int = 1) -> list[dict[str, int]]:
        slots = await self.history.read(tenant, step, count)
        return [{line: n for line, n in counts.items() if "_ms:" not in line} for _, counts in slots]


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_all_that_is_noted_is_in_the_minute_and_in_the_quarter(rig: Rig) -> None:
    rig.history.answered("t", "exact", 0.001)
    rig.history.answered("t", "exact", 0.002)
    rig.history.booked("t", {"saved_exact": 5, "spent": 3, "exact": 1})
    rig.history.audited("t", is_wrong=True)
    rig.history.voted("t", "right")
    expected = {"outcome:exact": 2, "saved": 5, "spent": 3, "wrong": 1, "vote_right": 1}
    assert await rig.outcomes() == [expected]
    assert await rig.outcomes(step=QUARTER) == [expected]


async def test_slots_are_told_oldest_first_with_empty_ones_between(rig: Rig) -> None:
    rig.history.answered("t", "miss", 1.0)
    await rig.history.flush()
    rig.now_s += 120
    rig.history.answered("t", "exact", 0.001)
    assert await rig.outcomes(count=4) == [{}, {"outcome:miss": 1}, {}, {"outcome:exact": 1}]
    assert (await rig.history.read("t", MINUTE, 4))[-1][0] == NOON_S + 120


async def test_one_tenant_never_sees_what_another_did(rig: Rig) -> None:
    rig.history.answered("t", "exact", 0.001)
    assert await rig.outcomes("other") == [{}]


async def test_all_tenants_together_are_counted_beside_each(rig: Rig) -> None:
    rig.history.answered("t", "exact", 0.001)
    rig.history.answered("u", "miss", 1.0)
    rig.history.audited("u", is_wrong=False)
    assert await rig.outcomes(ALL) == [{"outcome:exact": 1, "outcome:miss": 1, "right": 1}]


async def test_while_redis_is_away_counts_wait_and_keep_their_minute(rig: Rig) -> None:
    rig.store.is_away = True
    rig.history.answered("t", "miss", 1.0)
    await rig.history.flush()
    rig.now_s += 60
    rig.history.answered("t", "exact", 0.001)
    await rig.history.flush()
    rig.store.is_away = False
    assert await rig.outcomes(count=2) == [{"outcome:miss": 1}, {"outcome:exact": 1}]
    assert rig.history.dropped == 0


async def test_what_waits_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_CELLS", 3)
    for tenant in ("a", "b", "c"):
        rig.history.answered(tenant, "miss", 1.0)
    await rig.history.flush()
    assert (len(rig.store.slots), rig.history.dropped) == (3, 5), (
        "three tenants and all of them together, by the minute and the quarter"
    )


async def test_where_nothing_happened_nothing_is_written(rig: Rig) -> None:
    await rig.history.flush()
    rig.history.booked("t", {"calls": 1})
    await rig.history.drain(deadline_s=1.0)
    assert rig.store.adds == 0
