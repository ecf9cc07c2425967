from __future__ import annotations

import bisect
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.certificates import Scored, by_domain, levels_for, reweighted
from proxy.core.confidence import EXACT_ONLY
from proxy.core.sequences import binomial_cdf

BUDGETS = (0.02, 0.05, 0.1)


def drawn(rng: random.Random, count: int, weights: tuple[float, ...] = (1.0,)) -> list[Scored]:
    """Pairs that are right with chance c², so that the confidence is too optimistic by itself."""
    confidences = [rng.random() ** 0.2 for _ in range(count)]
    return [Scored(c, rng.random() < c * c, rng.choice(weights)) for c in confidences]


def true_rate(level: float) -> float:
    """Wrong hits / hits above a level in that population, by integration."""
    points = [(level + (1 - level) * (i + 0.5) / 500) for i in range(500)]
    mass = [5 * c**4 for c in points]
    return sum(m * (1 - c * c) for m, c in zip(mass, points, strict=True)) / sum(mass)


@pytest.mark.parametrize("weights", [(1.0,), (0.7, 1.3)], ids=["the exact test", "the bets"])
def test_a_level_breaks_its_budget_seldom_enough(weights: tuple[float, ...]) -> None:
    rng, runs = random.Random(3), 60
    broken = dict.fromkeys(BUDGETS, 0)
    certified = dict.fromkeys(BUDGETS, 0)
    for _ in range(runs):
        for budget, level in levels_for(drawn(rng, 1000, weights), BUDGETS).items():
            certified[budget] += level <= 1
            broken[budget] += level < 1 and true_rate(level) > budget
    # 5 % are promised; that more than 7 of 60 break it has a chance of 2 % at worst.
    assert binomial_cdf(7, runs, 0.05) > 0.98
    assert all(count <= 7 for count in broken.values())
    assert certified[0.1] >= 0.9 * runs


def test_weights_that_go_by_the_label_break_the_budget_seldom_and_find_more() -> None:
    rng, runs, budget = random.Random(5), 60, 0.05
    broken, plain, weighted = 0, 0.0, 0.0
    for _ in range(runs):
        # Different pairs are collected four times as often as they come in traffic, and weigh a quarter.
        traffic = drawn(rng, 8000)
        pairs = [pair for pair in traffic if not pair.is_same or rng.random() < 0.25]
        level = levels_for([pair._replace(weight=4.0 if pair.is_same else 1.0) for pair in pairs], [budget])[budget]
        thinned = [pair for pair in pairs if pair.is_same or rng.random() < 0.25]
        broken += true_rate(min(level, 1.0)) > budget
        weighted, plain = weighted + level, plain + levels_for(thinned, [budget])[budget]
    assert broken <= 7
    assert weighted < plain  # levels: lower ones find more


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300))
def test_a_larger_budget_never_has_a_stricter_level(pairs: list[tuple[float, bool]]) -> None:
    levels = list(levels_for([Scored(c, same) for c, same in pairs], BUDGETS).values())
    assert levels == sorted(levels, reverse=True)


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(rng: random.Random) -> None:
    pairs = drawn(random.Random(1), 400)
    shuffled = list(pairs)
    rng.shuffle(shuffled)
    assert levels_for(shuffled, BUDGETS) == levels_for(pairs, BUDGETS)


def test_a_perfect_score_is_certified_from_as_many_pairs_as_the_budget_needs() -> None:
    # 0.98^149 is just below 5 %, and that is the smallest number of hits without a wrong one that proves 2 %.
    assert levels_for([Scored(0.9, True)] * 148, [0.02]) == {0.02: EXACT_ONLY}
    assert levels_for([Scored(0.9, True)] * 149, [0.02]) == {0.02: 0.9}


def test_nothing_is_certified_from_nothing() -> None:
    assert levels_for([], [0.01]) == {0.01: EXACT_ONLY}
    assert levels_for([Scored(0.9, False)] * 500, [0.01]) == {0.01: EXACT_ONLY}


def test_ties_are_accepted_or_refused_together() -> None:
    pairs = [Scored(0.9, True)] * 300 + [Scored(0.8, i % 4 > 0) for i in range(200)]
    assert levels_for(pairs, [0.02]) == {0.02: 0.9}


@pytest.mark.parametrize(
    "pair", [Scored(1.1, True), Scored(-0.1, True), Scored(0.5, True, 0.0), Scored(0.5, True, -1.0)]
)
def test_a_pair_out_of_range_is_refused(pair: Scored) -> None:
    with pytest.raises(ValueError, match="confidence must be"):
        levels_for([pair])


def test_weights_make_the_mixture_that_is_asked_for() -> None:
    pairs = [Scored(0.9, i % 2 == 0, domain="a") for i in range(100)] + [
        Scored(0.9, i % 2 == 0, domain="b") for i in range(20)
    ]
    weighed = reweighted([*pairs, Scored(0.5, True, domain="c")], {"a": 1.0, "b": 3.0}, {"b": 0.8})
    total = sum(pair.weight for pair in weighed)
    assert total == pytest.approx(len(weighed)) == pytest.approx(120)
    assert sum(pair.weight for pair in weighed if pair.domain == "b") == pytest.approx(0.75 * total)
    assert sum(pair.weight for pair in weighed if pair.domain == "b" and pair.is_same) == pytest.approx(0.6 * total)
    assert sum(pair.weight for pair in weighed if pair.domain == "a" and pair.is_same) == pytest.approx(0.125 * total)


@pytest.mark.parametrize(("shares", "same"), [({"z": 1.0}, {}), ({"a": 1.0}, {"a": 0.5})])
def test_a_mixture_without_pairs_for_it_is_refused(shares: dict[str, float], same: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="the mixture needs pairs"):
        reweighted([Scored(0.9, True, domain="a")], shares, same)


def test_each_domain_is_told_apart() -> None:
    pairs = [
        Scored(0.9, True, domain="a"),
        Scored(0.9, False, domain="a"),
        Scored(0.1, True, domain="a"),
        Scored(0.9, False, domain="b"),
    ]
    rows = by_domain(pairs, 0.5)
    assert (rows["a"].pairs, rows["a"].hits, rows["a"].wrong, rows["a"].found) == (3, 2, 1, 0.5)
    assert (rows["b"].hits, rows["b"].wrong, rows["b"].found) == (1, 1, None)
    assert rows["a"].rate.low < 0.5 < rows["a"].rate.high


def test_weights_that_say_the_traffic_is_worse_make_the_level_stricter() -> None:
    pairs = [pair._replace(domain="a") for pair in drawn(random.Random(5), 4000)]
    ladder = sorted(pair.confidence for pair in pairs)
    levels = [levels_for(reweighted(pairs, {"a": 1.0}, {"a": same}), [0.1])[0.1] for same in (0.9, 0.8, 0.7)]
    assert levels == sorted(levels)
    assert bisect.bisect_left(ladder, levels[2]) > bisect.bisect_left(ladder, levels[0])
