"""What is worth keeping: what saved more, of late, for its size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys, worth
from proxy.core.usage import Usage
from proxy.core.worth import HALF_LIFE_S, Stored
from tests.builders import NOW_S

USAGE = Usage(100, 50, model="gpt-4o")
HIT = st.tuples(st.integers(1, 10**12), st.floats(0, 30 * HALF_LIFE_S))


def kept(hits: list[tuple[int, float]]) -> float:
    """Earnings of hits, (pico-USD, seconds after NOW_S) each, added one by one."""
    first, *more = [worth.earned(cost, at_s=NOW_S + after_s) for cost, after_s in hits]
    for each in more:
        first = worth.together(first, each)
    return first


def of(cost: int = 1000, *, created_at: float = NOW_S, hits: float | None = None, size_bytes: int = 4000) -> float:
    return worth.worth(cost, created_at=created_at, hits=hits, size_bytes=size_bytes)


@given(st.lists(HIT, min_size=1, max_size=20), st.floats(0, 10 * HALF_LIFE_S))
def test_what_is_kept_says_at_any_later_moment_what_is_left_of_all_hits(
    hits: list[tuple[int, float]], later_s: float
) -> None:
    seen_at = max(after_s for _, after_s in hits) + later_s
    left = sum(cost * 2 ** ((after_s - seen_at) / HALF_LIFE_S) for cost, after_s in hits)
    assert kept(hits) - (NOW_S + seen_at) / HALF_LIFE_S == pytest.approx(math.log2(left), abs=1e-6)


@given(st.lists(HIT, min_size=1, max_size=8))
def test_hits_add_up_in_any_order(hits: list[tuple[int, float]]) -> None:
    assert kept(hits) == pytest.approx(kept(hits[::-1]), abs=1e-9)


def test_a_hit_counts_half_after_its_half_life() -> None:
    assert kept([(1000, 0), (1000, 0)]) == pytest.approx(kept([(1000, HALF_LIFE_S)]))


def test_what_was_hit_is_worth_more_than_what_never_was_and_dear_more_than_cheap() -> None:
    once, twice = kept([(1000, 0)]), kept([(1000, 0), (1000, 60)])
    assert of(hits=twice) > of(hits=once) > of() > of(cost=999)


def test_what_is_large_or_old_is_worth_less() -> None:
    assert of(size_bytes=8000) == pytest.approx(of() - 1)
    assert of(created_at=NOW_S - HALF_LIFE_S) == pytest.approx(of() - 1)


def test_what_costs_nothing_is_still_ranked_by_its_hits() -> None:
    assert of(0, hits=kept([(1, 0)])) > of(0) > -math.inf


def test_earnings_have_one_name_whatever_index_an_entry_is_in() -> None:
    entry_id = "ent_0123"
    names = {worth.name_of(keys.entry_key(embedder, "0a", entry_id)) for embedder in ("one", "another")}
    assert names == {worth.name_of(entry_id)}
    vector = keys.embedding_key("0a", "text")
    assert worth.name_of(vector) == worth.name_of(f"emb_{vector.rpartition(':')[2]}")


def test_the_fields_of_answers_and_vectors_say_what_they_cost() -> None:
    moment = repr(NOW_S).encode()
    assert worth.stored({"created_at": moment, "usage": USAGE.to_wire(), "model": b"fast"}) == Stored(
        "fast", USAGE, NOW_S
    )
    vector = {"created_at": moment, "tokens": b"7", "answered_by": b"embed-3", "model": b"embed", "usage": None}
    assert worth.stored(vector) == Stored("embed", Usage(7, model="embed-3"), NOW_S)
    assert worth.stored({"created_at": moment}) == Stored("", None, NOW_S)
    assert worth.stored({"created_at": None}) is None


def test_what_has_no_price_counts_as_that_of_a_small_model() -> None:
    assert worth.nominal_cost(Usage(1_000_000, 1_000_000), 1) == (15 + 60) * 10**10
    assert worth.nominal_cost(None, 4000) == worth.nominal_cost(Usage(0, 1000), 1)
