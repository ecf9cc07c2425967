from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rivals.intervals import difference, hit_share, wrong_rate
from loadtest.rivals.replay import MISS, RIGHT, WRONG, Per, Tally


def tally(outcome: object, answer: object | None = None) -> Tally:
    made = np.atleast_2d(np.array(outcome, np.int8))
    return Tally(made, np.arange(made.shape[1]) if answer is None else np.array(answer))


def chance(seed: int, orders: int, texts: int, share: float) -> Tally:
    rng = np.random.default_rng(seed)
    hit = rng.random((orders, texts)) < share
    return tally(np.where(hit, np.where(rng.random((orders, texts)) < 0.1, WRONG, RIGHT), MISS))


def test_without_hits_there_is_no_rate_of_wrong_ones() -> None:
    assert wrong_rate(tally([MISS, MISS]), Per.HITS) is None
    assert hit_share(tally([MISS, MISS])).value == 0.0


@given(st.integers(0, 500), st.integers(1, 6), st.floats(0.05, 0.95))
def test_an_interval_holds_its_value_and_stays_within_zero_and_one(seed: int, orders: int, share: float) -> None:
    one = chance(seed, orders, 80, share)
    for found in filter(None, (wrong_rate(one, Per.HITS), wrong_rate(one, Per.REQUESTS), hit_share(one))):
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_orders_that_disagree_widen_the_interval_and_repeating_an_order_does_not_narrow_it() -> None:
    row = np.where(np.arange(200) < 100, RIGHT, MISS)
    same, mixed = tally([row] * 5), tally([np.where(np.arange(200) < n, RIGHT, MISS) for n in (20, 60, 100, 140, 180)])
    single = hit_share(tally(row))
    assert hit_share(same).high - hit_share(same).low >= single.high - single.low - 1e-12
    assert hit_share(mixed).high - hit_share(mixed).low > hit_share(same).high - hit_share(same).low


def test_a_difference_to_oneself_is_none() -> None:
    one = chance(1, 3, 60, 0.5)
    found = difference(one, one)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_difference_is_seen_in_pairs_and_turns_with_its_sides() -> None:
    ours = tally(np.where(np.arange(100) < 40, RIGHT, MISS))
    theirs = tally(np.where(np.arange(100) < 20, RIGHT, MISS))
    found, turned = difference(ours, theirs), difference(theirs, ours)
    assert np.isclose(found.value, 0.2)
    assert found.low > 0.1
    assert np.isclose(turned.value, -found.value)
    assert np.isclose(turned.low, -found.high)


def test_questions_with_one_answer_count_as_one_draw() -> None:
    ours, theirs = np.where(np.arange(100) < 40, RIGHT, MISS), np.full(100, MISS)
    apart = difference(tally(ours), tally(theirs))
    grouped = np.arange(100) // 20
    together = difference(tally(ours, grouped), tally(theirs, grouped))
    assert together.high - together.low > 2 * (apart.high - apart.low)
