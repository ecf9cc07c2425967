from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from proxy.core import ledger as lines
from proxy.core.ledger import ALL, OTHER, Cell, Counts, Purpose, Saving
from proxy.core.prices import PriceList, Tariff
from proxy.core.usage import Usage
from proxy.errors import StoreError, StoreUnavailableError
from proxy.services import ledger as service
from proxy.services.ledger import Account, Ledger, shared

TABLE = {"gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}}
USAGE = Usage(1000, 100)
EACH = Decimal("0.0035")
TODAY = date(2026, 11, 23)
NOON_S = 1_795_435_200.0


@dataclass(frozen=True)
class Told:
    day: int
    month: int


class MemoryStore:
    """`stores.ledger` without Redis: what it promises, and ways to fail."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Counter[str]] = {}
        self.batches: set[tuple[str, str, str]] = set()
        self.fails_before: list[StoreError] = []
        self.fails_after: list[StoreError] = []
        self.adds = 0

    async def add(
        self, batch_id: str, counts: Mapping[tuple[str, str], Mapping[Cell, Counts]], *, now_s: float
    ) -> Sequence[Told]:
        self.adds += 1
        if self.fails_before:
            raise self.fails_before.pop()
        for (tenant, day), cells in counts.items():
            if (batch_id, tenant, day) in self.batches:
                continue
            self.batches.add((batch_id, tenant, day))
            for cell, lines_of_cell in cells.items():
                self.cells.setdefault(cell, Counter()).update(lines_of_cell)
        if self.fails_after:
            raise self.fails_after.pop()
        return [self._spent(tenant, day) for tenant, day in counts]

    async def read(self, tenant: str, days: Iterable[str]) -> dict[Cell, Counts]:
        wanted = set(days)
        return {cell: dict(found) for cell, found in self.cells.items() if cell.tenant == tenant and cell.day in wanted}

    async def tenants(self, *, since_s: float, count: int) -> list[str]:
        return sorted({cell.tenant for cell in self.cells})[:count]

    async def spent(self, tenants: Sequence[str], *, day: str, month: str) -> Sequence[Told]:
        return [self._spent(tenant, day) for tenant in tenants]

    def _spent(self, tenant: str, day: str) -> Told:
        own = [(cell.day, lines.spent_of(found)) for cell, found in self.cells.items() if cell.tenant == tenant]
        return Told(sum(n for at, n in own if at == day), sum(n for at, n in own if at[:7] == day[:7]))


class OpenGuard:
    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now_s = NOON_S
        self.costs: Counter[str] = Counter()
        self.ledger = self.process()

    def process(self) -> Ledger:
        return Ledger(
            self.store,
            OpenGuard(),
            PriceList(TABLE),
            on_cost=lambda what, usd: self.costs.update({what: usd}),
            now=lambda: self.now_s,
        )

    async def told(self, tenant: str = "t", by: Sequence[str] = ()) -> dict[tuple[str, ...], dict[str, object]]:
        cells = await self.ledger.read(tenant, TODAY, TODAY)
        return {tuple(group.values()): lines.as_json(counts) for group, counts in lines.grouped(cells, by)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def account(tenant: str = "t", namespace: str = "", model: str = "gpt-4o") -> Account:
    return Account(tenant, namespace, Tariff(model))


async def test_calls_and_savings_are_told_apart(bench: Bench) -> None:
    bench.ledger.called(account(), USAGE)
    for kind in Saving:
        bench.ledger.saved(account(), kind, USAGE.to_wire(), is_estimated=False)
    told = (await bench.told())[()]
    assert told["spent_usd"] == "0.0035"
    assert told["saved_usd"] == {"exact": "0.0035", "semantic": "0.0035", "collapsed": "0.0035", "total": "0.0105"}
    assert told["requests"] == {"calls": 1, "failed_calls": 0, "exact": 1, "semantic": 1, "collapsed": 1}


async def test_what_has_no_price_or_no_usage_is_unpriced(bench: Bench) -> None:
    bench.ledger.called(account(model="mystery"), USAGE)
    bench.ledger.called(account(), None)
    bench.ledger.failed(account())
    bench.ledger.failed(account(), is_begun=True)
    bench.ledger.saved(account(), Saving.EXACT, b"", is_estimated=False)
    told = (await bench.told())[()]
    assert told["spent_usd"] == "0"
    assert told["unpriced"] == {"calls": 3, "savings": 1, "own": 0}
    assert told["requests"] == {"calls": 3, "failed_calls": 1, "exact": 1, "semantic": 0, "collapsed": 0}


async def test_a_hit_is_priced_in_the_tier_that_its_request_names(bench: Bench) -> None:
    bench.ledger = Ledger(
        bench.store,
        OpenGuard(),
        PriceList({"gpt-4o": {**TABLE["gpt-4o"], "input_cost_per_token_flex": 1e-06, "output_cost_per_token_flex": 0}}),
        on_cost=lambda what, usd: None,
        now=lambda: NOON_S,
    )
    bench.ledger.saved(account(), Saving.EXACT, USAGE.to_wire(), is_estimated=False, tier="flex")
    assert (await bench.told())[()]["saved_usd"]["total"] == "0.001"  # type: ignore[index]


async def test_deja_pays_for_its_own_calls_in_a_line_of_their_own(bench: Bench) -> None:
    bench.ledger.paid(account(), Purpose.AUDIT, USAGE)
    bench.ledger.paid(shared(Tariff("gpt-4o")), Purpose.EMBEDDING, Usage(1000))
    told = (await bench.told())[()]
    assert told["own_usd"] == {"embedding": "0", "audit": "0.0035", "memory": "0", "total": "0.0035"}
    assert told["spent_usd"] == "0"
    assert told["net_saved_usd"] == "-0.0035"
    overall = (await bench.told(ALL))[()]
    assert overall["own_usd"]["embedding"] == "0.0025", "it belongs to no tenant, and is in the sum over all"  # type: ignore[index]


async def test_tenants_and_namespaces_are_kept_apart_and_added_up_for_the_operator(bench: Bench) -> None:
    bench.ledger.called(account("t", "support"), USAGE)
    bench.ledger.called(account("t", "search"), USAGE)
    bench.ledger.called(account("u"), USAGE)
    assert {key: each["spent_usd"] for key, each in (await bench.told("t", ["namespace"])).items()} == {
        ("search",): "0.0035",
        ("support",): "0.0035",
    }
    assert (await bench.told(ALL))[()]["spent_usd"] == "0.0105"
    by_tenant = await bench.ledger.read_tenants(TODAY, TODAY)
    assert {cell.tenant for cell in by_tenant} == {"t", "u"}


@pytest.mark.parametrize("when", ["fails_before", "fails_after"])
async def test_a_retry_never_counts_twice_and_loses_nothing(bench: Bench, when: str) -> None:
    bench.ledger.called(account(), USAGE)
    getattr(bench.store, when).extend([StoreUnavailableError("away")] * 3)
    for _ in range(3):
        assert not await bench.ledger.flush()
        bench.ledger.called(account(), USAGE)
        assert bench.ledger.spent_usd("t", "day") >= EACH
    assert await bench.ledger.flush()
    assert (await bench.told())[()]["spent_usd"] == "0.014", "four calls"
    assert bench.ledger.spent_usd("t", "month") == 4 * EACH


async def test_a_batch_that_redis_refuses_does_not_hold_up_what_follows(bench: Bench) -> None:
    bench.ledger.called(account(), USAGE)
    bench.store.fails_before.append(StoreError("WRONGTYPE"))
    assert not await bench.ledger.flush()
    assert bench.ledger.dropped
    bench.ledger.called(account(), USAGE)
    assert (await bench.told())[()]["requests"]["calls"] == 1  # type: ignore[index]


async def test_what_is_spent_is_known_at_once_here_and_after_a_look_elsewhere(bench: Bench) -> None:
    other = bench.process()
    bench.ledger.called(account(), USAGE)
    assert bench.ledger.spent_usd("t", "day") == EACH, "not written yet, and known"
    assert other.spent_usd("t", "day") == 0, "asked for the first time"
    await bench.ledger.flush()
    await other._look()
    assert other.spent_usd("t", "day") == EACH
    assert other.spent_usd("u", "day") == 0


async def test_a_budget_begins_anew_with_its_period(bench: Bench) -> None:
    bench.ledger.called(account(), USAGE)
    await bench.ledger.flush()
    bench.now_s += 86_400
    assert (bench.ledger.spent_usd("t", "day"), bench.ledger.spent_usd("t", "month")) == (0, EACH)
    bench.ledger.called(account(), USAGE)
    await bench.ledger.flush()
    assert (bench.ledger.spent_usd("t", "day"), bench.ledger.spent_usd("t", "month")) == (EACH, 2 * EACH)
    bench.now_s += 31 * 86_400
    assert bench.ledger.spent_usd("t", "month") == 0


async def test_what_waits_is_bounded_and_the_sum_over_all_is_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_CELLS", 4)
    for number in range(10):
        bench.ledger.called(account(f"t{number}", model=f"m{number}"), None)
    assert bench.ledger.dropped
    together = (await bench.told(ALL, ["model"])).items()
    assert sum(each["requests"]["calls"] for _, each in together) == 10  # type: ignore[index]
    assert any(group == (OTHER,) for group, _ in together)


async def test_the_way_out_writes_what_waits(bench: Bench) -> None:
    bench.ledger.called(account(), USAGE)
    bench.ledger.saved(account(), Saving.EXACT, USAGE.to_wire(), is_estimated=False)
    await bench.ledger.drain(deadline_s=1)
    assert bench.store.cells[Cell("t", "2026-11-23", "gpt-4o", "")]["saved_exact"] == 3_500_000_000
    assert bench.costs["spent"] == EACH


async def test_a_flush_that_is_cancelled_half_way_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PRICED_AT_ONCE", 2)
    for number in range(9):
        bench.ledger.saved(account(f"t{number}"), Saving.EXACT, USAGE.to_wire(), is_estimated=False)
    flushing = asyncio.get_running_loop().create_task(bench.ledger.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    await bench.ledger.drain(deadline_s=1)
    assert (await bench.told(ALL))[()]["requests"]["exact"] == 9  # type: ignore[index]
