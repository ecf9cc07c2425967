"""What is known of a namespace's wrong hits: its tally, its standing, how far its judge can be trusted, and all that in plain words.

The arithmetic is in `core.tally` and `core.budget`, keeping it in Redis in `stores.evidence`, gathering it in `services.audits`.

**The judge errs, and a budget of 1 % is small.** A judge that calls 4 % of right answers wrong would, believed, close every
namespace. So its false alarms are measured where the truth is known: *controls* re-ask an exact repeat, whose stored answer is
right by definition, and whatever the judge calls wrong there is a false alarm of this judge, on this traffic, with these models. Until
there are enough of them the rates it was declared with hold, and move a level only where they are trusted. For steering, false
alarms count with their *upper* bound: only what the judge's own error cannot explain moves a level. The interval that is shown uses
the whole width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.core import budget
from proxy.core.agreement import MEASURED_FALSE_ALARMS, MEASURED_MISSES, MEASURED_RIGHT, MEASURED_WRONG
from proxy.core.budget import Belief, Cause, Standing
from proxy.core.confidence import Calibration
from proxy.core.decision import Judged, Verdict
from proxy.core.sequences import JUDGE_DELTA, Interval, JudgeError, rate_interval
from proxy.core.tally import Tally

AGREEMENT = JudgeError.measured(
    false_alarms=MEASURED_FALSE_ALARMS, right=MEASURED_RIGHT, misses=MEASURED_MISSES, wrong=MEASURED_WRONG
)
"""Of the judge that compares texts: measured on answers written by hand."""

ASSUMED = JudgeError(Interval(0.0, 0.02), Interval(0.0, 0.15))
"""Of a model as judge, which cannot be measured before it is known: *assumed*, from what is usual for strong models asked twice, and
replaced by controls as they come. A weak model may be worse."""

ENOUGH_CONTROLS = 100
"""Controls from which on they take the place of the declared false alarms; none of 100 bounds them to some 8 %, none of 1,000 to 1 %."""

_PRECISE = 0.1  # of the budget: `core.sequences.looks_for` takes the same for fit to steer by
_EVIDENT = 0.3  # log odds, believed on average: a third more wrong answers than calibrated; the least width of a prior (`core.belief`)
_USELESS = 0.95  # false alarms and misses together: a coin has 1, and next to it no number of audits says anything


@dataclass(frozen=True, slots=True)
class Controls:
    """Exact repeats that were audited: their stored answers are right by definition.

    Attributes:
        judged: how many.
        false_alarms: of them, called wrong.
    """

    judged: int = 0
    false_alarms: int = 0

    def correct(self, declared: JudgeError) -> JudgeError:
        """The judge's error with its false alarms as measured here, once there are enough controls; valid at every look."""
        if self.judged < ENOUGH_CONTROLS:
            return declared
        return JudgeError(rate_interval(self.false_alarms, self.judged, JUDGE_DELTA / 2), declared.miss)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept of a namespace, or of the pool of all.

    Attributes:
        tally: of its whole life.
        controls: the pool's alone; empty for a namespace.
        standing: as the last review left it, None before the first.
    """

    tally: Tally = field(default_factory=Tally)
    controls: Controls = field(default_factory=Controls)
    standing: Standing | None = None


CONTROL_FIELDS = ("control", "control_wrong")
"""Fields of the pool's hash beside those of its tally."""


def control_increments(*, is_wrong: bool) -> dict[str, int]:
    """Give the fields of the pool to raise for one control, and by how much."""
    return {"control": 1} | ({"control_wrong": 1} if is_wrong else {})


def from_fields(fields: Mapping[str, int], standing: Standing | None) -> Evidence:
    """Read a hash of counts.

    Raises:
        ValueError: a field is unknown.
    """
    counts = {name: count for name, count in fields.items() if name not in CONTROL_FIELDS}
    judged, wrong = (fields.get(name, 0) for name in CONTROL_FIELDS)
    return Evidence(Tally.from_fields(counts), Controls(judged, min(judged, wrong)), standing)


@dataclass(frozen=True, slots=True)
class DeclaredJudge:
    """What a judge says of itself, before anything was measured here.

    Attributes:
        name: verdicts of other names are counted apart.
        error: how often it is mistaken.
        is_trusted: whether these rates may move a level before controls have measured them on this traffic.
    """

    name: str
    error: JudgeError
    is_trusted: bool


def for_steering(declared: DeclaredJudge, controls: Controls) -> JudgeError | None:
    """The error a level is steered with: false alarms at their upper bound.

    None where no level may move: the judge is not trusted and not yet measured, or may be no better than a coin.
    """
    if controls.judged < ENOUGH_CONTROLS and not declared.is_trusted:
        return None
    error = controls.correct(declared.error)
    if error.false_alarm.high + error.miss.high >= _USELESS:
        return None
    alarms = round(error.false_alarm.high, 3)  # so that a review of many namespaces computes with few different errors
    return JudgeError(Interval(alarms, alarms), error.miss)


def reviewed(
    tally: Tally,
    before: Standing,
    *,
    calibration: Calibration,
    max_wrong_hit_rate: float,
    steering: JudgeError,
    pool: Belief | None = None,
) -> Standing:
    """Review a namespace, or the pool (`core.budget.next_level`), and keep a coarse judge from tightening by its coarseness.

    The policy allows for all the doubt that audits leave, and those of a coarse judge leave most of it, for ever. But as much doubt the
    certificate of the calibrated level has answered for already. So while false alarms may be more than a tenth of the budget, a level
    moves only where the audits say that the odds of being wrong are worse than calibrated, or the guard has raised an alarm.
    """
    now = budget.next_level(
        before, tally, calibration=calibration, max_wrong_hit_rate=max_wrong_hit_rate, judge=steering, pool=pool
    )
    begin = budget.start(calibration, max_wrong_hit_rate)
    if now.level <= begin.level or steering.false_alarm.high <= _PRECISE * max_wrong_hit_rate:
        return now
    if now.guard or now.belief.mean >= _EVIDENT:
        return now
    return replace(now, level=begin.level, cause=begin.cause, changed_at=before.changed_at)


def prior_of(pool: Standing | None) -> Belief:
    """What a namespace takes from the pool: that things are worse than calibrated, never that they are better.

    Otherwise one tenant's easy questions would loosen another's level.
    """
    if pool is None:
        return Belief()
    held = pool.belief
    return replace(held, mean=max(0.0, held.mean), doubtful=max(0.0, held.doubtful))


def best_judged(verdict: Verdict) -> Judged | None:
    """The candidate a tally speaks of: the chosen one, else the likeliest that no gate refused; None if there is none."""
    if verdict.chosen is not None:
        return next((one for one in verdict.judged if one.index == verdict.chosen and one.confidence is not None), None)
    open_to = [one for one in verdict.judged if one.gate is None and one.confidence is not None]
    return max(open_to, key=lambda one: one.confidence or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class Report:
    """The error budget of a namespace, for showing.

    Attributes:
        max_wrong_hit_rate: the budget.
        calibrated_level: confidence a hit needs by calibration alone; above 1 for exact hits only.
        standing: what is in force.
        tally: of its audits.
        error: of their judge.
        wrong_hit_rate: (estimate, interval), the judge's error corrected for; the estimate is None without audits.
        judge: its name.
        controls: exact repeats that measured it, of all namespaces.
        is_steered: whether verdicts of this judge move levels by now.
    """

    max_wrong_hit_rate: float
    calibrated_level: float
    standing: Standing
    tally: Tally
    error: JudgeError
    wrong_hit_rate: tuple[float | None, Interval]
    judge: str
    controls: int
    is_steered: bool


def report(
    evidence: Evidence,
    standing: Standing,
    *,
    calibration: Calibration,
    max_wrong_hit_rate: float,
    judge: DeclaredJudge,
    controls: Controls,
) -> Report:
    """Put together what is shown of a namespace; the controls are the pool's."""
    error = controls.correct(judge.error)
    interval = evidence.tally.interval(error)
    return Report(
        max_wrong_hit_rate=max_wrong_hit_rate,
        calibrated_level=calibration.level_for(max_wrong_hit_rate),
        standing=standing,
        tally=evidence.tally,
        error=error,
        wrong_hit_rate=(_estimate(evidence.tally, error, interval), interval),
        judge=judge.name,
        controls=controls.judged,
        is_steered=for_steering(judge, controls) is not None,
    )


def as_json(report: Report) -> dict[str, Any]:
    """A report as `GET /v1/cache/budget` shows it."""
    estimate, interval = report.wrong_hit_rate
    tally = report.tally
    return {
        "max_wrong_hit_rate": report.max_wrong_hit_rate,
        "state": report.standing.cause.value,
        "level": _shown(report.standing.level),
        "calibrated_level": _shown(report.calibrated_level),
        "wrong_hit_rate": {
            "estimate": None if estimate is None else round(estimate, 4),
            "low": round(interval.low, 4),
            "high": round(interval.high, 4),
        },
        "audits": {
            "hits": tally.audited,
            "hits_called_wrong": tally.audited_wrong,
            "below_level": tally.shadowed,
            "below_level_called_wrong": sum(tally.shadow_wrong),
        },
        "judge": {
            "name": report.judge,
            "moves_levels": report.is_steered,
            "controls": report.controls,
            "false_alarm": [round(report.error.false_alarm.low, 4), round(report.error.false_alarm.high, 4)],
            "miss": [round(report.error.miss.low, 4), round(report.error.miss.high, 4)],
        },
        "in_words": in_words(report),
    }


def in_words(report: Report) -> str:
    """A report in two or three plain sentences."""
    said = f"{_standing_in_words(report)} {_evidence_in_words(report)}"
    return said if report.is_steered else f"{said} {_UNMEASURED}"


_UNMEASURED = (
    f"The judge of audits is not measured on this traffic yet (that takes {ENOUGH_CONTROLS} audited exact repeats), or is too coarse, so "
    "what it says moves no level."
)


_CAUSES = {
    Cause.CALIBRATED: "Answers are served by meaning from the calibrated confidence of {level:.3f} on.",
    Cause.EVIDENCE: "Live audits found more wrong hits than calibrated, so {level:.3f} instead of {calibrated:.3f} is asked for.",
    Cause.DRIFT: "Wrong hits have become more frequent lately, so {level:.3f} instead of {calibrated:.3f} is asked for.",
    Cause.EXACT_ONLY: "Live audits leave no level that keeps the budget, so only exact repeats are served. What would have been "
    "served goes on being audited against the provider's answers, and the level comes back when they agree.",
    Cause.NOT_CERTIFIED: "No level is certified for this budget, so only exact repeats are served; a larger "
    "DEJA_CACHE__MAX_WRONG_HIT_RATE has one.",
}


def _standing_in_words(report: Report) -> str:
    return _CAUSES[report.standing.cause].format(level=report.standing.level, calibrated=report.calibrated_level)


def _evidence_in_words(report: Report) -> str:
    tally, (estimate, interval) = report.tally, report.wrong_hit_rate
    limit = f"the budget is {report.max_wrong_hit_rate:.1%}"
    if estimate is None:
        return f"No hit has been audited yet; {limit}."
    return (
        f"Of {tally.audited} audited hits {tally.audited_wrong} were called wrong: with the judge's own error taken off, about "
        f"{estimate:.1%} of all hits are (with 95 % confidence {interval.low:.1%} to {interval.high:.1%}); {limit}."
    )


def _estimate(tally: Tally, error: JudgeError, interval: Interval) -> float | None:
    """Middle of what the judge's error leaves of the share called wrong, within the interval."""
    if not tally.counted:
        return None
    alarm, miss = _middle(error.false_alarm), _middle(error.miss)
    if alarm + miss >= _USELESS:
        return None
    share = (tally.counted_wrong / tally.counted - alarm) / (1 - alarm - miss)
    return min(interval.high, max(interval.low, share))


def _middle(interval: Interval) -> float:
    return (interval.low + interval.high) / 2


def _shown(level: float) -> float | None:
    return round(level, 4) if level <= 1 else None


def fresh_standing(
    calibration: Calibration, max_wrong_hit_rate: float, pool: Standing | None, error: JudgeError | None
) -> Standing:
    """The standing of a namespace that nothing is known of: the calibration's, or what the pool's belief leaves of it."""
    start = budget.start(calibration, max_wrong_hit_rate)
    if error is None or pool is None or pool.level <= start.level:
        return start  # doubt alone, without evidence, tightens nothing
    return budget.next_level(
        start, Tally(), calibration=calibration, max_wrong_hit_rate=max_wrong_hit_rate, judge=error, pool=prior_of(pool)
    )
