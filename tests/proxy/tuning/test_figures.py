from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tuning.figures import (
    Share,
    best_within,
    calibration_error,
    counted,
    found_within,
    outcome,
    reliability,
    tradeoff,
)
from proxy.tuning.rating import rate
from tests.proxy.tuning.builders import calibration, many

SCORED = st.lists(st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.booleans()), min_size=1, max_size=25)


def test_found_accepted_and_wrong_are_counted_at_a_level() -> None:
    made = outcome(rate(many((3, 0.9, True), (2, 0.5, True), (1, 0.95, False), (4, 0.1, False)), calibration()), 0.8)
    assert (made.found, made.accepted, made.wrong) == (Share(3, 5), Share(1, 5), Share(1, 4))


def test_a_share_of_nothing_has_no_value_and_the_widest_interval() -> None:
    none = Share(0, 0)
    assert none.value is None
    assert (none.interval.low, none.interval.high) == (0.0, 1.0)
    assert (Share(1, 4) + Share(2, 6)) == Share(3, 10)


@given(scored=SCORED, accepted=st.integers(0, 25))
def test_a_score_is_given_the_best_level_that_accepts_no_more(scored: list[tuple[float, bool]], accepted: int) -> None:
    similarity, is_same = np.array([s for s, _ in scored]), np.array([same for _, same in scored], bool)
    levels = [-1.0, *np.unique(similarity), 2.0]
    best = max(
        int(((similarity >= level) & is_same).sum())
        for level in levels
        if int(((similarity >= level) & ~is_same).sum()) <= accepted
    )
    assert found_within(similarity, is_same, accepted) == Share(best, int(is_same.sum()))


@given(scored=SCORED)
def test_the_tradeoff_holds_what_every_level_makes(scored: list[tuple[float, bool]]) -> None:
    score, is_same = np.array([s for s, _ in scored]), np.array([same for _, same in scored], bool)
    wrong, found = tradeoff(score, is_same)
    made = [counted(score >= level, is_same) for level in np.unique(score)[::-1]]
    assert wrong.tolist() == pytest.approx([one.wrong.value for one in made])
    assert found.tolist() == pytest.approx([one.found.value or 0.0 for one in made])


@given(scored=SCORED)
def test_the_stairs_never_fall_and_hold_the_best(scored: list[tuple[float, bool]]) -> None:
    wrong, found = tradeoff(np.array([s for s, _ in scored]), np.array([same for _, same in scored], bool))
    steps, best = best_within(wrong, found)
    assert (np.diff(steps) >= 0).all()
    assert (np.diff(best) >= 0).all()
    assert best[-1] == max(found)


def test_what_is_never_served_is_in_no_tradeoff() -> None:
    wrong, found = tradeoff(np.array([-np.inf, 0.5]), np.array([False, True]))
    assert (wrong.tolist(), found.tolist()) == ([0.0], [1.0])
    assert tradeoff(np.array([]), np.array([], bool))[0].size == 0


@given(scored=SCORED)
def test_bins_lose_no_pair_and_the_error_is_a_share(scored: list[tuple[float, bool]]) -> None:
    bins = reliability(np.array([s for s, _ in scored]), np.array([same for _, same in scored], bool))
    assert sum(one.pairs for one in bins) == len(scored)
    error = calibration_error(bins)
    assert error is not None
    assert 0 <= error <= 1


def test_a_confidence_that_is_right_as_often_as_it_says_has_no_error() -> None:
    confidence = np.repeat([0.25, 0.75], 4)
    is_same = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert calibration_error(reliability(confidence, is_same)) == pytest.approx(0.0)
    assert calibration_error(reliability(confidence, ~is_same)) == pytest.approx(0.5)
    assert calibration_error(()) is None
