from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import ledger
from proxy.core.ledger import Cell, Purpose, Saving
from proxy.core.prices import Cost
from proxy.core.usage import Usage

USAGE = Usage(100, 20, cached_tokens=60, reasoning_tokens=5)
COST = Cost(total=3_000, cache_saved=700)
CELL = Cell("0e", "2026-11-23", "gpt-4o", "support")


def test_a_call_tells_what_it_used_and_cost() -> None:
    assert ledger.call_counts(USAGE, COST) == {
        "calls": 1,
        "input_tokens": 100,
        "cached_tokens": 60,
        "output_tokens": 20,
        "reasoning_tokens": 5,
        "spent": 3_000,
        "prompt_cache_saved": 700,
    }


def test_what_has_no_price_is_said_and_never_counted_as_nothing() -> None:
    told = ledger.as_json(ledger.call_counts(USAGE, None))
    assert told["unpriced"] == {"calls": 1, "savings": 0, "own": 0}
    assert ledger.as_json(ledger.saving_counts(Saving.EXACT, USAGE, None))["unpriced"]["savings"] == 1
    assert ledger.as_json(ledger.saving_counts(Saving.EXACT, None, None))["unpriced"]["savings"] == 1
    assert ledger.as_json(ledger.own_counts(Purpose.AUDIT, None, None))["unpriced"]["own"] == 1
    assert ledger.as_json(ledger.broken_counts())["unpriced"]["calls"] == 1, "it may have been charged"
    assert ledger.as_json(ledger.failed_counts())["unpriced"]["calls"] == 0, "an error is not charged"


def test_a_count_of_our_own_is_marked_as_an_estimate() -> None:
    assert ledger.as_json(ledger.call_counts(USAGE, COST, is_estimated=True))["estimated"] == {"calls": 1, "savings": 0}
    saved = ledger.saving_counts(Saving.SEMANTIC, USAGE, COST, is_estimated=True)
    assert ledger.as_json(saved)["estimated"] == {"calls": 0, "savings": 1}


def test_net_savings_are_what_was_spared_without_what_deja_paid_itself() -> None:
    cells = {
        CELL: ledger.saving_counts(Saving.EXACT, USAGE, Cost(5 * 10**12, 0)),
        Cell("0e", "2026-11-23", "judge", ""): ledger.own_counts(Purpose.AUDIT, USAGE, Cost(2 * 10**12, 0)),
    }
    ((_, together),) = ledger.grouped(cells, ())
    told = ledger.as_json(together)
    assert (told["saved_usd"]["total"], told["own_usd"]["total"], told["net_saved_usd"]) == ("5", "2", "3")
    assert ledger.spent_of(together) == 2 * 10**12, "a budget pays for what Deja does on its account"


def test_cells_are_added_up_by_what_they_share() -> None:
    cells = {
        CELL: {"calls": 1},
        Cell("0e", "2026-11-23", "gpt-4o", ""): {"calls": 2},
        Cell("0e", "2026-11-24", "o3", ""): {"calls": 4},
    }
    assert ledger.grouped(cells, ["model"]) == [({"model": "gpt-4o"}, {"calls": 3}), ({"model": "o3"}, {"calls": 4})]
    assert ledger.grouped(cells, ["day", "namespace"]) == [
        ({"day": "2026-11-23", "namespace": ""}, {"calls": 2}),
        ({"day": "2026-11-23", "namespace": "support"}, {"calls": 1}),
        ({"day": "2026-11-24", "namespace": ""}, {"calls": 4}),
    ]
    assert ledger.grouped({}, []) == [({}, {})]
    assert ledger.grouped({}, ["day"]) == []


@given(st.text(), st.text(), st.sampled_from(["calls", "spent"]), st.integers())
def test_what_is_written_to_redis_is_read_back(model: str, namespace: str, line: str, count: int) -> None:
    try:
        cell = Cell("0e", "2026-11-23", model, namespace)
        field = ledger.field_of(cell, line)
    except orjson.JSONEncodeError:
        return  # half a surrogate pair, which no parsed request holds
    assert ledger.cells_of("0e", "2026-11-23", {field: str(count).encode(), b"odd": b"1"}) == {cell: {line: count}}
