from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.sequences import (
    Interval,
    JudgeError,
    binomial_cdf,
    binomial_interval,
    log_wealth,
    looks_for,
    rate_interval,
)


def counts() -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts())
def test_an_interval_holds_the_share_seen(seen: tuple[int, int]) -> None:
    wrong, judged = seen
    interval = rate_interval(wrong, judged)
    share = wrong / judged if judged else 0.0
    assert interval.low <= share + 1e-9
    assert share <= interval.high + 1e-9


@given(counts())
def test_looking_all_the_time_costs_width_over_looking_once(seen: tuple[int, int]) -> None:
    wrong, judged = seen
    always, once = rate_interval(wrong, judged, 0.05), binomial_interval(wrong, judged, 0.05)
    assert always.low <= once.low + 1e-9
    assert once.high <= always.high + 1e-9


def test_an_interval_narrows_with_counts() -> None:
    widths = [rate_interval(n // 100, n) for n in (100, 1_000, 10_000, 100_000)]
    assert [w.high - w.low for w in widths] == sorted((w.high - w.low for w in widths), reverse=True)
    assert widths[-1].low > 0.008
    assert widths[-1].high < 0.0122


@pytest.mark.parametrize("drifts", [False, True], ids=["steady", "drifting"])
def test_the_running_mean_stays_inside_at_every_look(drifts: bool) -> None:
    rng, misses, runs = random.Random(7), 0, 80
    for _ in range(runs):
        wrong, chances = 0, 0.0
        for n in range(1, 801):
            chance = 0.02 + 0.06 * (n > 400) * drifts
            wrong, chances = wrong + (rng.random() < chance), chances + chance
            if n % 100 == 0:
                interval = rate_interval(wrong, n, 0.2)
                if not interval.low <= chances / n <= interval.high:
                    misses += 1
                    break
    assert misses / runs <= 0.2


@settings(max_examples=40)
@given(st.integers(1, 60), st.floats(0.001, 0.999), st.sampled_from([1, -1]))
def test_evidence_has_a_mean_of_at_most_one_where_the_rate_is_true(trials: int, rate: float, sign: int) -> None:
    mean = math.fsum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) * math.exp(log_wealth(k, trials, rate, sign))
        for k in range(trials + 1)
    )
    assert mean == pytest.approx(1.0, abs=1e-6)


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_binomial_sum_is_exact(successes: int, trials: int, chance: float) -> None:
    exact = math.fsum(
        math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(min(successes, trials) + 1)
    )
    assert binomial_cdf(successes, trials, chance) == pytest.approx(exact, abs=1e-9)


def test_the_binomial_sum_has_its_edges() -> None:
    assert binomial_cdf(-1, 10, 0.5) == 0.0
    assert binomial_cdf(3, 10, 0.0) == 1.0
    assert binomial_cdf(3, 10, 1.0) == 0.0
    assert binomial_interval(0, 0, 0.05) == Interval(0.0, 1.0)
    assert binomial_interval(10, 10, 0.05).high == 1.0


def test_clopper_and_pearsons_interval_is_the_published_one() -> None:
    interval = binomial_interval(10, 100, 0.05)  # 0.0490 to 0.1762 in any table
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0490, 0.1762)


@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_correction_with_the_judges_true_error_inside_holds_the_true_rate(
    rate: float, alarm: float, miss: float, slack: float, seen_slack: float
) -> None:
    judge = JudgeError(Interval(max(0, alarm - slack), alarm + slack), Interval(max(0, miss - slack), miss + slack))
    called = rate * (1 - miss) + (1 - rate) * alarm
    corrected = judge.corrected(Interval(max(0.0, called - seen_slack), min(1.0, called + seen_slack)))
    assert corrected.low <= rate + 1e-9
    assert rate <= corrected.high + 1e-9
    assert called <= judge.calls_wrong(rate) + slack + 1e-9


def test_a_judge_no_better_than_a_coin_says_nothing() -> None:
    judge = JudgeError(Interval(0.4, 0.6), Interval(0.4, 0.6))
    assert judge.corrected(Interval(0.1, 0.1)) == Interval(0.0, 1.0)


def test_a_judge_that_is_never_mistaken_changes_nothing() -> None:
    assert JudgeError().corrected(Interval(0.1, 0.2)) == Interval(0.1, 0.2)


def test_a_second_look_trades_false_alarms_for_misses() -> None:
    judge = JudgeError.measured(false_alarms=100, right=1000, misses=100, wrong=1000)
    assert judge.false_alarm.low < 0.1 < judge.false_alarm.high
    twice = judge.confirmed(2)
    assert twice.false_alarm.low < 0.01 < twice.false_alarm.high
    assert twice.miss.low < 0.19 < twice.miss.high
    assert judge.confirmed(1) == judge


def test_looks_are_as_many_as_the_budget_asks_for() -> None:
    judge = JudgeError(Interval(0.08, 0.1), Interval(0.08, 0.1))
    assert [looks_for(judge, budget) for budget in (1.0, 0.11, 0.02)] == [1, 2, 3]
    assert looks_for(JudgeError(Interval(0.9, 0.9)), 0.01) == 8


@pytest.mark.parametrize("ends", [(0.2, 0.1), (-0.1, 0.1), (0.5, 1.1)])
def test_ends_out_of_order_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="in order"):
        Interval(*ends)
