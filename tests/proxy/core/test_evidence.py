from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core import budget, evidence
from proxy.core.budget import Belief, Cause, Standing
from proxy.core.confidence import EXACT_ONLY, Calibration, logistic
from proxy.core.decision import Judged, Verdict
from proxy.core.evidence import (
    ASSUMED,
    ENOUGH_CONTROLS,
    Controls,
    DeclaredJudge,
    Evidence,
    best_judged,
    from_fields,
)
from proxy.core.gates import GateReason
from proxy.core.sequences import Interval, JudgeError
from proxy.core.tally import Tally, increments

CALIBRATION = Calibration(
    scale="embedder verifier",
    bias=0.0,
    weights=(1.0, 0.0, 1.0, 0.0, 0.0),
    objections={},
    knots=tuple((float(x), logistic(x)) for x in range(-12, 13)),
    levels=((0.005, 0.99), (0.01, 0.98), (0.05, 0.9)),
)


def tally(*audits: tuple[str, float, bool]) -> Tally:
    counted = Tally()
    for kind, confidence, is_wrong in audits:
        counted += Tally.from_fields(increments(kind, confidence, is_wrong=is_wrong))  # type: ignore[arg-type]
    return counted


def told(counted: Tally, standing: Standing | None = None, error: JudgeError | None = None) -> evidence.Report:
    return evidence.report(
        Evidence(counted),
        standing or budget.start(CALIBRATION, 0.01),
        calibration=CALIBRATION,
        max_wrong_hit_rate=0.01,
        judge=DeclaredJudge("judge", error or JudgeError(), is_trusted=True),
        controls=Controls(),
    )


def test_counts_of_tally_and_controls_are_told_apart() -> None:
    fields = increments("hit", 0.99, is_wrong=True) | evidence.control_increments(is_wrong=True)
    found = from_fields(fields, None)
    assert (found.tally.audited, found.tally.audited_wrong) == (1, 1)
    assert found.controls == Controls(1, 1)


def test_a_control_that_was_right_raises_one_field() -> None:
    assert evidence.control_increments(is_wrong=False) == {"control": 1}


def test_few_controls_leave_the_declared_error_and_many_replace_its_false_alarms() -> None:
    assert Controls(ENOUGH_CONTROLS - 1, 50).correct(ASSUMED) == ASSUMED
    corrected = Controls(1000, 100).correct(ASSUMED)
    assert corrected.miss == ASSUMED.miss
    assert corrected.false_alarm.low < 0.1 < corrected.false_alarm.high


def test_more_controls_narrow_the_judges_false_alarms() -> None:
    highs = [Controls(count, 0).correct(ASSUMED).false_alarm.high for count in (100, 1000, 10_000)]
    assert highs == sorted(highs, reverse=True)
    assert highs[-1] < 0.001


def declared(low: float, high: float, miss: float, *, is_trusted: bool = True) -> DeclaredJudge:
    return DeclaredJudge("judge", JudgeError(Interval(low, high), Interval(0.1, miss)), is_trusted)


def test_levels_are_steered_by_what_the_judges_own_error_cannot_explain() -> None:
    steering = evidence.for_steering(declared(0.01, 0.2, 0.4), Controls())
    assert steering == JudgeError(Interval(0.2, 0.2), Interval(0.1, 0.4))


def test_a_judge_that_may_be_a_coin_steers_nothing() -> None:
    assert evidence.for_steering(declared(0.0, 0.5, 0.5), Controls()) is None


def test_a_judge_that_is_not_trusted_steers_once_it_is_measured() -> None:
    judge = declared(0.01, 0.2, 0.4, is_trusted=False)
    assert evidence.for_steering(judge, Controls(ENOUGH_CONTROLS - 1, 0)) is None
    assert evidence.for_steering(judge, Controls(ENOUGH_CONTROLS, 0)) is not None


@pytest.mark.parametrize("error", [evidence.AGREEMENT, ASSUMED])
def test_the_shipped_judges_can_steer(error: JudgeError) -> None:
    assert evidence.for_steering(DeclaredJudge("judge", error, True), Controls()) is not None


def review(counted: Tally, error: JudgeError) -> Standing:
    start = budget.start(CALIBRATION, 0.01)
    return evidence.reviewed(
        counted, start, calibration=CALIBRATION, max_wrong_hit_rate=0.01, steering=error, pool=Belief()
    )


COARSE = JudgeError(Interval(0.05, 0.05), Interval(0.1, 0.4))


def test_a_coarse_judge_does_not_tighten_by_leaving_doubt() -> None:
    for audits in (1, 20, 150):
        assert review(tally(*[("hit", 0.99, False)] * audits), COARSE).level == 0.98
        right_and_alarms = [("hit", 0.99, False)] * (19 * audits) + [("hit", 0.99, True)] * audits
        assert review(tally(*right_and_alarms), COARSE).level == 0.98


def test_a_coarse_judge_tightens_when_many_are_wrong() -> None:
    assert review(tally(*[("hit", 0.99, False)] * 30, *[("hit", 0.99, True)] * 20), COARSE).level == EXACT_ONLY


@pytest.mark.parametrize("mean", [-2.0, 0.0, 1.5])
def test_the_pool_can_make_a_namespace_stricter_and_never_looser(mean: float) -> None:
    pool = replace(budget.start(CALIBRATION, 0.01), belief=Belief(mean, 0.2, mean + 0.3))
    assert evidence.prior_of(pool).mean == max(0.0, mean)
    assert evidence.prior_of(pool).doubtful >= 0
    assert evidence.fresh_standing(CALIBRATION, 0.01, pool, JudgeError()).level >= CALIBRATION.level_for(0.01)


def test_a_namespace_without_a_pool_starts_as_calibrated() -> None:
    assert evidence.fresh_standing(CALIBRATION, 0.01, None, JudgeError()).level == 0.98


def test_a_pool_at_the_calibrated_level_tightens_no_new_namespace() -> None:
    pool = replace(budget.start(CALIBRATION, 0.01), belief=Belief(0.2, 0.5, 1.1))
    assert evidence.fresh_standing(CALIBRATION, 0.01, pool, JudgeError()).level == 0.98


def test_a_pool_full_of_wrong_hits_closes_a_new_namespace() -> None:
    pool = Standing(EXACT_ONLY, Cause.EXACT_ONLY, belief=Belief(5.0, 0.1, 5.2))
    assert evidence.fresh_standing(CALIBRATION, 0.01, pool, JudgeError()).level == EXACT_ONLY


REFUSED = Judged(0, 0.99, gate=GateReason.NUMBER, confidence=0.99)
LIKELY = Judged(1, 0.95, confidence=0.8)
UNLIKELY = Judged(2, 0.9, confidence=0.3)
UNKNOWN = Judged(3, 0.9)


def test_evidence_speaks_of_the_chosen_candidate() -> None:
    assert best_judged(Verdict(2, None, judged=(REFUSED, LIKELY, UNLIKELY))) == UNLIKELY


def test_of_a_miss_it_speaks_of_the_likeliest_that_no_gate_refused() -> None:
    assert best_judged(Verdict(None, GateReason.NUMBER, judged=(REFUSED, UNLIKELY, LIKELY, UNKNOWN))) == LIKELY


@pytest.mark.parametrize("judged", [(), (REFUSED,), (UNKNOWN,)], ids=["none", "refused", "no confidence"])
def test_without_a_confidence_there_is_no_evidence(judged: tuple[Judged, ...]) -> None:
    assert best_judged(Verdict(None, None, judged=judged)) is None
    assert best_judged(Verdict(3, None, judged=(UNKNOWN,))) is None


def test_a_report_without_audits_says_so_and_knows_nothing() -> None:
    shown = evidence.as_json(told(Tally()))
    assert shown["wrong_hit_rate"] == {"estimate": None, "low": 0.0, "high": 1.0}
    assert "No hit has been audited yet" in shown["in_words"]
    assert (shown["state"], shown["level"]) == ("calibrated", 0.98)


def test_a_report_counts_what_audits_found() -> None:
    counted = tally(*[("hit", 0.99, False)] * 195, *[("hit", 0.99, True)] * 5, ("shadow", 0.5, True))
    shown = evidence.as_json(told(counted))
    assert shown["audits"] == {
        "hits": 200,
        "hits_called_wrong": 5,
        "below_level": 1,
        "below_level_called_wrong": 1,
    }
    assert shown["wrong_hit_rate"]["estimate"] == 0.025
    assert shown["wrong_hit_rate"]["low"] < 0.025 < shown["wrong_hit_rate"]["high"]
    assert "Of 200 audited hits 5 were called wrong" in shown["in_words"]


def test_the_judges_own_error_is_taken_off_the_estimate() -> None:
    counted = tally(*[("hit", 0.99, False)] * 190, *[("hit", 0.99, True)] * 10)
    error = JudgeError(Interval(0.05, 0.05), Interval(0.2, 0.2))
    assert told(counted, error=error).wrong_hit_rate[0] == pytest.approx(0.0, abs=1e-9)


def test_a_report_says_where_the_judge_moves_no_level_yet() -> None:
    shown = evidence.as_json(
        evidence.report(
            Evidence(),
            budget.start(CALIBRATION, 0.01),
            calibration=CALIBRATION,
            max_wrong_hit_rate=0.01,
            judge=DeclaredJudge("agreement", evidence.AGREEMENT, is_trusted=False),
            controls=Controls(12, 0),
        )
    )
    assert shown["judge"]["name"] == "agreement"
    assert (shown["judge"]["moves_levels"], shown["judge"]["controls"]) == (False, 12)
    assert "moves no level" in shown["in_words"]
    assert "moves no level" not in evidence.as_json(told(Tally()))["in_words"]


@pytest.mark.parametrize("cause", list(Cause))
def test_every_state_is_told_in_plain_words(cause: Cause) -> None:
    level = EXACT_ONLY if cause in (Cause.EXACT_ONLY, Cause.NOT_CERTIFIED) else 0.985
    shown = evidence.as_json(told(Tally(), replace(budget.start(CALIBRATION, 0.01), level=level, cause=cause)))
    assert shown["state"] == cause.value
    assert (shown["level"] is None) == (level > 1)
    assert "{" not in shown["in_words"]
    assert ("only exact repeats" in shown["in_words"]) == (level > 1)
