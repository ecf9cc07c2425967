from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.belief import Belief, learnt, surprise
from proxy.core.budget import ALARM_AFTER, BATCH, EPOCH, FRESH, Cause, Standing, audit_share, next_level, start
from proxy.core.confidence import (
    BIN_COUNT,
    EXACT_ONLY,
    FEATURES,
    Calibration,
    bin_level,
    bin_of,
    bin_wrong_odds,
    logistic,
)
from proxy.core.sequences import Interval, JudgeError
from proxy.core.tally import Tally

BUDGET = 0.01
LEVEL = bin_level(bin_of(0.97))
SHARES = tuple(1.0 if 12 <= i <= 30 else 0.0 for i in range(BIN_COUNT))
CALIBRATION = Calibration(
    scale="embedder+verifier",
    bias=0.0,
    weights=(1.0,) * len(FEATURES),
    objections={},
    knots=((0.0, 0.5), (1.0, 0.999)),
    levels=((BUDGET, LEVEL),),
    shares=SHARES,
)
FIRST = start(CALIBRATION, BUDGET)


def traffic(rng: random.Random, level: float, requests: int, factor: float, share: float = 0.2) -> Tally:
    """Candidates spread evenly over the bins of `SHARES`, wrong with `factor` times the calibrated odds; some audited."""
    counts = {name: [0] * BIN_COUNT for name in ("seen", "right", "wrong", "shadow_right", "shadow_wrong")}
    for _ in range(requests):
        place = rng.randint(12, 30)
        odds = logistic(bin_wrong_odds(place))
        is_wrong = rng.random() < factor * odds / (1 - odds + factor * odds)
        counts["seen"][place] += 1
        if rng.random() < share:
            prefix = "" if bin_level(place) >= level else "shadow_"
            counts[prefix + ("wrong" if is_wrong else "right")][place] += 1
    return Tally(**{name: tuple(values) for name, values in counts.items()})


def lived(
    factor: float, reviews: int, *, standing: Standing = FIRST, tally: Tally | None = None, seed: int = 1
) -> tuple[Standing, Tally]:
    rng, tally = random.Random(seed), tally or Tally()
    for _ in range(reviews):
        tally += traffic(rng, standing.level, 200, factor)
        standing = reviewed(standing, tally)
    return standing, tally


def reviewed(standing: Standing, tally: Tally, judge: JudgeError | None = None, pool: Belief | None = None) -> Standing:
    return next_level(standing, tally, calibration=CALIBRATION, max_wrong_hit_rate=BUDGET, judge=judge, pool=pool)


def hits(place: int, right: int, wrong: int) -> Tally:
    return Tally(
        right=tuple(right * (i == place) for i in range(BIN_COUNT)),
        wrong=tuple(wrong * (i == place) for i in range(BIN_COUNT)),
    )


def test_a_namespace_starts_at_the_calibrated_level() -> None:
    assert (FIRST.level, FIRST.cause) == (LEVEL, Cause.CALIBRATED)


def test_a_budget_that_nothing_certifies_leaves_exact_hits_whatever_the_audits_say() -> None:
    standing = start(CALIBRATION, 0.001)
    assert (standing.level, standing.cause) == (EXACT_ONLY, Cause.NOT_CERTIFIED)
    later = next_level(standing, hits(35, 5000, 0), calibration=CALIBRATION, max_wrong_hit_rate=0.001)
    assert (later.level, later.cause) == (EXACT_ONLY, Cause.NOT_CERTIFIED)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 20.0))
def test_the_level_is_never_below_the_calibrated_one(seed: int, factor: float) -> None:
    standing, tally = FIRST, Tally()
    rng = random.Random(seed)
    for _ in range(4):
        tally += traffic(rng, standing.level, 100, factor)
        standing = reviewed(standing, tally)
        assert standing.level >= LEVEL
        assert (standing.level > 1) == (standing.cause is Cause.EXACT_ONLY)


def test_a_calibration_too_optimistic_is_found_out() -> None:
    standing, _ = lived(8.0, 5)
    assert standing.level > LEVEL
    assert standing.belief.mean > 1.0
    assert standing.belief.doubtful > standing.belief.mean


def test_audits_as_calibrated_leave_the_belief_near_zero() -> None:
    standing, _ = lived(1.0, 8)
    assert abs(standing.belief.mean) < 0.5


def test_exact_only_is_left_again_when_shadow_audits_allow_it() -> None:
    closed, tally = lived(30.0, 6)
    assert closed.cause is Cause.EXACT_ONLY
    opened, _ = lived(0.5, 25, standing=closed, tally=tally, seed=2)
    assert opened.level < EXACT_ONLY


def test_a_level_is_not_loosened_before_fresh_audits() -> None:
    closed, tally = lived(30.0, 6)
    few = traffic(random.Random(3), closed.level, FRESH - 1, 0.1, share=1.0)
    assert few.audited + few.shadowed < FRESH
    assert reviewed(replace(closed, changed_at=tally.audited + tally.shadowed), tally + few).level == closed.level


def test_wrong_hits_at_the_very_top_raise_the_guard() -> None:
    standing, tally = FIRST, Tally()
    for _ in range(12):
        tally += hits(30, 2 * BATCH - 2, 2)
        standing = reviewed(standing, tally)
    assert standing.guard > 0
    assert standing.level > LEVEL


def test_the_guard_goes_down_after_an_epoch_without_alarm() -> None:
    raised = replace(FIRST, guard=2)
    assert reviewed(raised, hits(30, EPOCH, 0)).guard == 1


def test_the_guard_seldom_cries_where_the_rate_is_the_budget() -> None:
    rng, batches, alarms = random.Random(11), 0, 0
    standing, tally = FIRST, Tally()
    for _ in range(400):
        wrong = sum(rng.random() < BUDGET for _ in range(BATCH))
        tally += hits(20, BATCH - wrong, wrong)
        before = standing.guard
        standing = reviewed(replace(standing, guard=0), tally)
        batches, alarms = batches + 1, alarms + (standing.guard > 0)
        assert before in (0, 1)
    assert batches / max(1, alarms) >= ALARM_AFTER / 2


def test_a_wrong_hit_is_followed_up() -> None:
    known = hits(30, EPOCH, 0)
    quiet = reviewed(FIRST, known)
    assert audit_share(FIRST, Tally(), 0.03) == pytest.approx(0.15)
    assert audit_share(quiet, known, 0.03) == 0.03
    more = known + hits(30, BATCH, 1)
    assert audit_share(reviewed(quiet, more), more, 0.03) == pytest.approx(0.3)


def test_a_namespace_starts_from_what_its_pool_believes() -> None:
    assert reviewed(FIRST, Tally(), pool=Belief(2.0, 0.1)).level > reviewed(FIRST, Tally()).level
    assert reviewed(FIRST, Tally(), pool=Belief(2.0, 0.1)).belief.mean > 1.5


def test_two_reviews_of_the_same_audits_agree() -> None:
    standing, tally = lived(3.0, 4)
    assert reviewed(standing, tally).level == standing.level


def test_a_contradiction_makes_what_was_known_forgotten() -> None:
    standing, tally = lived(1.0, 10)
    assert len(standing.marks) == 2
    sudden = traffic(random.Random(9), standing.level, 1500, 30.0)
    after = reviewed(standing, tally + sudden)
    assert len(after.marks) == 1
    assert after.belief.mean > 2.0


def test_surprise_is_small_where_nothing_changed() -> None:
    rng = random.Random(4)
    known, same, other = (traffic(rng, LEVEL, 1500, factor) for factor in (1.0, 1.0, 12.0))
    assert surprise(same, known, Belief(), Belief(), JudgeError()) < 1
    assert surprise(other, known, Belief(), Belief(), JudgeError()) > 20


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=25)
def test_more_wrong_audits_never_lower_the_belief(wrong: int, more: int) -> None:
    few, many = (learnt(hits(20, 30, n), Belief(), Belief(), JudgeError(), 0.05) for n in (wrong, wrong + more))
    assert few.mean <= many.mean + 1e-9
    assert few.doubtful <= many.doubtful + 1e-9


def test_a_judge_that_misses_makes_the_same_verdicts_worse_news() -> None:
    blind = JudgeError(miss=Interval(0.4, 0.5))
    audits = hits(20, 300, 10)
    assert (
        learnt(audits, Belief(), Belief(), blind, 0.05).mean
        > learnt(audits, Belief(), Belief(), JudgeError(), 0.05).mean
    )


def test_a_standing_survives_json() -> None:
    standing, _ = lived(8.0, 9)
    assert Standing.from_json(json.loads(json.dumps(standing.as_json()))) == standing


@pytest.mark.parametrize("change", [{"alarm": [0.0]}, {"marks": []}, {"cause": "what"}, {"belief": 3}, {"level": None}])
def test_a_standing_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Standing.from_json(FIRST.as_json() | change)


def test_a_standing_without_a_field_is_refused() -> None:
    data = FIRST.as_json()
    del data["guard"]
    with pytest.raises(ValueError, match="missing"):
        Standing.from_json(data)
