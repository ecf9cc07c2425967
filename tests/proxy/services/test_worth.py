"""Hits on their way to what their entries have earned."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from proxy.core import worth
from proxy.core.prices import PriceList, Tariff
from proxy.core.usage import Usage
from proxy.core.worth import Stored, Trimmed
from proxy.errors import StoreFullError, StoreUnavailableError
from proxy.services import worth as services
from proxy.services.worth import CallPrices, Earnings
from tests.builders import NOW_S

PRICES = {"dear": {"input_cost_per_token": Decimal("0.00001"), "output_cost_per_token": Decimal("0.0001")}}
USAGE = Usage(10, 5)
COST = 10 * 10**7 + 5 * 10**8


class Kept:
    """Earnings, and a cache that needs no trimming; may fail."""

    def __init__(self) -> None:
        self.added: list[Mapping[str, float]] = []
        self.failures: list[Exception] = []
        self.trims = 0

    async def add(self, earned: Mapping[str, float]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.added.append(earned)

    async def trim(self, *, now_s: float) -> Trimmed:
        self.trims += 1
        return Trimmed()


@pytest.fixture
def store() -> Kept:
    return Kept()


@pytest.fixture
def costs() -> CallPrices:
    return CallPrices(PriceList({}, PRICES), lambda model: Tariff({"alias": "dear"}.get(model, model)))


@pytest.fixture
def earnings(store: Kept, costs: CallPrices) -> Earnings:
    return Earnings(store, store, costs)


def serve(earnings: Earnings, entry_id: str = "ent_1", times: int = 1, model: str = "dear") -> None:
    for _ in range(times):
        earnings.served(entry_id, usage=USAGE.to_wire(), tariff=Tariff(model), size_bytes=100)


async def test_hits_are_priced_and_added_before_the_cache_is_trimmed(store: Kept, earnings: Earnings) -> None:
    serve(earnings, times=3)
    earnings.served("emb_0a", usage=7, tariff=Tariff("dear"), size_bytes=6144)
    earnings.served("ent_2", usage=b"", tariff=None, size_bytes=400)
    assert await earnings.trim(now_s=NOW_S) == Trimmed()
    assert store.added == [
        {
            "ent_1": worth.earned(3 * COST, at_s=NOW_S),
            "0a": worth.earned(7 * 10**7, at_s=NOW_S),
            "ent_2": worth.earned(worth.nominal_cost(None, 400), at_s=NOW_S),
        }
    ]
    await earnings.trim(now_s=NOW_S)
    assert (len(store.added), store.trims) == (1, 2)


async def test_a_full_redis_is_trimmed_and_its_hits_wait(store: Kept, earnings: Earnings) -> None:
    store.failures = [StoreFullError("full")]
    serve(earnings)
    await earnings.trim(now_s=NOW_S)
    assert (store.added, store.trims) == ([], 1)
    serve(earnings)
    await earnings.trim(now_s=NOW_S)
    assert store.added == [{"ent_1": worth.earned(2 * COST, at_s=NOW_S)}]


async def test_hits_wait_while_redis_is_away(store: Kept, earnings: Earnings) -> None:
    store.failures = [StoreUnavailableError("away")]
    serve(earnings)
    with pytest.raises(StoreUnavailableError):
        await earnings.trim(now_s=NOW_S)
    assert store.trims == 0
    await earnings.trim(now_s=NOW_S)
    assert store.added == [{"ent_1": worth.earned(COST, at_s=NOW_S)}]


async def test_many_go_in_several_scripts_and_too_many_are_not_noted(
    store: Kept, earnings: Earnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_WAITING", 5)
    monkeypatch.setattr(services, "ADDED_AT_ONCE", 2)
    for number in range(9):
        serve(earnings, f"ent_{number}")
    serve(earnings, "ent_0")
    await earnings.trim(now_s=NOW_S)
    assert [list(batch) for batch in store.added] == [["ent_0", "ent_1"], ["ent_2", "ent_3"], ["ent_4"]]
    assert store.added[0]["ent_0"] > store.added[0]["ent_1"]


def test_an_entry_costs_what_its_call_would_by_the_models_configured_name(costs: CallPrices) -> None:
    assert costs.of_entry(Stored("alias", USAGE, NOW_S), 100) == COST
    assert costs.of_entry(Stored("unheard-of", USAGE, NOW_S), 100) == worth.nominal_cost(USAGE, 100)
    assert costs.of_entry(Stored("", None, NOW_S), 100) == worth.nominal_cost(None, 100)
