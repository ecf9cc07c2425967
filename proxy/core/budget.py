"""The level in force: the calibrated one until live audits say otherwise.

A pure state machine: (`Standing`, tally, facts) -> `Standing`. Whoever reviews a namespace reads its tally, calls `next_level`, and
stores the standing; reviews may be as rare or as frequent as one likes, and of two that race either may win.

*Belief* (`core.belief`): how far the calibration is off here, from the audits of the epoch under way and the one before, with what was
believed before those as prior, and the pool's belief beside it. So a namespace starts from its pool, and a pool from the calibration.
An epoch whose audits contradict what came before makes all that forgotten at once.

*Level*: the lowest at which the share of wrong hits, among candidates as this namespace sees them, stays within the budget even if the
calibration is off by as much as the belief leaves `DOUBT` for; never below the calibrated level. Exact hits only, if there is none: no
trap, because candidates below the level go on being audited in the shadow, and the level comes back when those audits allow.

*Excess*: wrong hits found over wrong hits foreseen by that belief, shrunk to 1 and never below it, divides the budget to keep. It
catches what a shift alike everywhere cannot say, such as a map that is too sure at its top.

*Guard*: the belief is a model and may be wrong. So audited hits are watched without one: an e-detector that raises an alarm, while the
rate is within the budget, less than once in `ALARM_AFTER` batches of at least `BATCH` audits on average, however the rate moves below
it. An alarm doubles the odds assumed, until an epoch has passed without one. And each wrong hit is followed up by audits of the next.

Feedback of users never enters: who complains is no random sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from proxy.core.belief import Belief as Belief
from proxy.core.belief import foreseen_wrong, judged, learnt, surprise
from proxy.core.confidence import BIN_COUNT, EXACT_ONLY, Calibration, bin_level, bin_of, bin_wrong_odds, logistic
from proxy.core.sequences import JudgeError
from proxy.core.tally import Tally

DOUBT = 0.05
"""Chance, in the belief, that the calibration is off by more than the level allows for."""

EPOCH = 150
"""Audits of an epoch, shadow audits at their weight."""

SURPRISE = 20.0
"""How many times likelier the audits under way have to be under an unknown shift than under the one believed in, for it to be forgotten."""

BATCH = 5
"""Audited hits that the guard takes at a time, at least."""

ALARM_AFTER = 100.0
"""Batches between two false alarms, on average at least: 500 audits, were the rate exactly the budget all the time."""

AIM = 0.8
"""Share of the budget that a level above the calibrated one has to keep by the belief: the rate realised scatters about its mean,
and a drift takes time to be seen."""

FOLLOW_UP = 40
"""Audits at ten times the share that follow a wrong hit: one is chance, a second and third are not."""

FRESH = 30
"""Audits, shadow audits included, that a level needs behind it before it may be loosened."""

LEAST_SERVED = 0.1
"""Share of the calibrated level's hits that another level must leave, or else only exact repeats are served: little is gained up there,
and the top of its map is what a calibration knows least."""

ROOM = 0.95
"""Share of the aim that a looser level has to keep, so that the level does not swing about the budget."""

GUARD_STEP = math.log(2.0)

_PRIOR_FORESEEN = 4.0  # hits wrong as foreseen that the belief is credited with before any is counted
_REMEMBERED = 5.0  # foreseen wrong hits that are remembered: some 700 audits where 0.7 % are wrong
_TILTS = (0.7, 1.4, 2.1)  # the guard looks for rates 2, 4 and 8 times the budget
_MOST_GUARD = 6  # 64 times the odds: nothing but exact hits is left long before
_PRIOR_SEEN = 200.0  # candidates that the calibration's own mix of confidences counts as


class Cause(StrEnum):
    """Why the level is where it is."""

    CALIBRATED = "calibrated"
    EVIDENCE = "evidence"
    DRIFT = "drift"
    EXACT_ONLY = "exact-only"
    NOT_CERTIFIED = "not-certified"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a namespace stands.

    Attributes:
        level: confidence a candidate has to reach; `EXACT_ONLY` for none.
        cause: why.
        belief: how far the calibration is off; a pool's is what its namespaces start from.
        base: what was believed when the oldest epoch of `marks` began; None for nothing of its own.
        marks: the whole tally when the epoch under way began, and when the one before it did.
        guard: alarms in force, each doubling the odds assumed.
        guarded_at: audits, shadows at their weight, when `guard` last changed.
        alarm: the guard's evidence against the budget, one number for each rate it looks for; not negative.
        watched: the whole tally at the guard's last batch.
        found: hits called wrong of late, in as many as `foreseen` should have been by the belief.
        foreseen: see `found`.
        changed_at: audits, shadows included, when the level last changed.
        alert_until: audited hits up to which hits are audited more often, because one was wrong.
    """

    level: float
    cause: Cause
    belief: Belief = field(default_factory=Belief)
    base: Belief | None = None
    marks: tuple[Tally, ...] = (Tally(),)
    guard: int = 0
    guarded_at: float = 0.0
    alarm: tuple[float, ...] = (0.0,) * len(_TILTS)
    watched: Tally = field(default_factory=Tally)
    found: float = 0.0
    foreseen: float = 0.0
    changed_at: int = 0
    alert_until: int = 0

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values; `from_json` gives the same standing back."""
        return {
            "level": self.level,
            "cause": self.cause.value,
            "belief": _listed(self.belief),
            "base": self.base and _listed(self.base),
            "marks": [mark.as_fields() for mark in self.marks],
            "guard": self.guard,
            "guarded_at": self.guarded_at,
            "alarm": list(self.alarm),
            "watched": self.watched.as_fields(),
            "found": self.found,
            "foreseen": self.foreseen,
            "changed_at": self.changed_at,
            "alert_until": self.alert_until,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Standing:
        """Read what `as_json` wrote.

        Raises:
            ValueError: it did not; begin anew with `start`, the tally is what counts.
        """
        try:
            standing = cls(
                level=float(data["level"]),
                cause=Cause(data["cause"]),
                belief=Belief(*map(float, data["belief"])),
                base=data["base"] and Belief(*map(float, data["base"])),
                marks=tuple(Tally.from_fields(mark) for mark in data["marks"]),
                guard=int(data["guard"]),
                guarded_at=float(data["guarded_at"]),
                alarm=tuple(map(float, data["alarm"])),
                watched=Tally.from_fields(data["watched"]),
                found=float(data["found"]),
                foreseen=float(data["foreseen"]),
                changed_at=int(data["changed_at"]),
                alert_until=int(data["alert_until"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"standing: a field is missing or has the wrong shape: {error}") from error
        if len(standing.alarm) != len(_TILTS) or len(standing.marks) not in (1, 2):
            raise ValueError("standing: it was written by another version; begin anew")
        return standing


def start(calibration: Calibration, max_wrong_hit_rate: float) -> Standing:
    """Give the standing of a namespace nothing is known of: the calibrated level."""
    level = calibration.level_for(max_wrong_hit_rate)
    return Standing(level, Cause.CALIBRATED if level <= 1 else Cause.NOT_CERTIFIED)


def next_level(
    standing: Standing,
    tally: Tally,
    *,
    calibration: Calibration,
    max_wrong_hit_rate: float,
    judge: JudgeError | None = None,
    pool: Belief | None = None,
) -> Standing:
    """Review a namespace, or a pool, in the light of all audits so far.

    Args:
        standing: as the last review left it, or `start`.
        tally: of its whole life, so at least what it was at the last review.
        calibration: the one in force. With another one, begin anew: its bins of confidence mean something else.
        max_wrong_hit_rate: the budget, in [0, 1].
        judge: measured error of the audits' judge; None for one that is never mistaken.
        pool: the belief in the pool's standing; None for the pool itself. The pool's tally may include the namespace's own: a
            prior is never narrower than 0.3, so what is counted twice stays small.
    """
    error, around = judge or JudgeError(), pool or Belief()
    floor = calibration.level_for(max_wrong_hit_rate)
    standing = _watch(standing, tally, max_wrong_hit_rate, error)
    standing = _turn_page(standing, tally, around, error)
    recent = tally - standing.marks[-1]
    standing = replace(standing, belief=learnt(recent, standing.base or around, around, error, DOUBT))
    if floor > 1:
        return replace(standing, level=EXACT_ONLY, cause=Cause.NOT_CERTIFIED)
    level = _level(standing, _seen(recent, calibration), tally, floor, max_wrong_hit_rate)
    if level == standing.level:
        return standing
    changed_at = tally.audited + tally.shadowed
    return replace(standing, level=level, cause=_cause(level, floor, standing.guard), changed_at=changed_at)


def audit_share(standing: Standing, tally: Tally, base_share: float) -> float:
    """Give the share of hits to audit now: more while little is known, and while the guard is suspicious.

    Args:
        standing: in force.
        tally: of its whole life.
        base_share: the least, in [0, 1].
    """
    if tally.audited < EPOCH:
        return min(1.0, 5 * base_share)
    return min(1.0, 10 * base_share) if tally.audited < standing.alert_until else base_share


def _level(standing: Standing, seen: Sequence[float], tally: Tally, floor: float, budget: float) -> float:
    """Tighten at once; loosen with room to spare, and only on fresh audits. The calibrated level needs the budget, others the aim."""
    budget /= max(1.0, (_PRIOR_FORESEEN + standing.found) / (_PRIOR_FORESEEN + standing.foreseen))
    shift = standing.belief.doubtful + GUARD_STEP * standing.guard
    lowest, is_calibrated = bin_of(floor), standing.level == floor
    is_fresh = tally.audited + tally.shadowed - standing.changed_at >= FRESH
    if (is_calibrated or is_fresh) and _lowest_level(
        seen, shift, (1 if is_calibrated else ROOM) * budget, lowest
    ) <= floor:
        return floor
    wanted = max(floor, _lowest_level(seen, shift, AIM * budget, lowest))
    if wanted >= standing.level:
        return wanted
    if not is_fresh:
        return standing.level
    return min(standing.level, max(floor, _lowest_level(seen, shift, ROOM * AIM * budget, lowest)))


def _lowest_level(seen: Sequence[float], shift: float, budget: float, lowest: int) -> float:
    """Lowest bin, not below `lowest`, from which upwards the share of wrong hits is within the budget; its level."""
    hits = wrong = served = 0.0
    level = EXACT_ONLY
    for i in range(BIN_COUNT - 1, lowest - 1, -1):
        hits += seen[i]
        wrong += seen[i] * logistic(bin_wrong_odds(i) + shift)
        if wrong <= budget * hits:
            level, served = bin_level(i), hits
    return level if served >= LEAST_SERVED * hits else EXACT_ONLY


def _seen(recent: Tally, calibration: Calibration) -> list[float]:
    """How many candidates fall into each bin of late; the calibration's mix while few are known."""
    prior = calibration.shares or (1.0,) * BIN_COUNT
    scale = _PRIOR_SEEN / (math.fsum(prior) or 1.0)
    return [scale * share + count for share, count in zip(prior, recent.seen, strict=True)]


def _cause(level: float, floor: float, guard: int) -> Cause:
    if level > 1:
        return Cause.EXACT_ONLY
    if level == floor:
        return Cause.CALIBRATED
    return Cause.DRIFT if guard else Cause.EVIDENCE


def _watch(standing: Standing, tally: Tally, budget: float, judge: JudgeError) -> Standing:
    """Let the guard take the audits since its last batch: M <- (M + 1) · L for each tilt, alarm when their mean reaches `ALARM_AFTER`.

    L is a likelihood ratio with mean ≤ 1 while the rate is within the budget (`core.sequences`), so M less the batches so far is a
    supermartingale, and the expected number of batches before an alarm is at least `ALARM_AFTER` (Shiryaev and Roberts; as an
    e-detector, Shin, Ramdas and Rinaldo 2023).
    """
    new = tally - standing.watched
    count, wrong = new.audited, new.audited_wrong
    if count < BATCH:
        return standing
    expected = judge.calls_wrong(budget)
    logs = [tilt * wrong - count * math.log1p(expected * math.expm1(tilt)) for tilt in _TILTS]
    alarm = tuple((m + 1) * math.exp(min(log, 50.0)) for m, log in zip(standing.alarm, logs, strict=True))
    alert_until = tally.audited + FOLLOW_UP if wrong else standing.alert_until
    found, foreseen = standing.found + wrong, standing.foreseen + foreseen_wrong(new, standing.belief.mean, judge)
    fading = min(1.0, _REMEMBERED / max(foreseen, 1e-9))
    standing = replace(standing, alarm=alarm, watched=tally, alert_until=alert_until)
    standing = replace(standing, found=found * fading, foreseen=foreseen * fading)
    if math.fsum(alarm) / len(alarm) < ALARM_AFTER:
        return standing
    guard = min(_MOST_GUARD, standing.guard + 1)
    return replace(standing, alarm=(0.0,) * len(_TILTS), guard=guard, guarded_at=judged(tally))


def _turn_page(standing: Standing, tally: Tally, pool: Belief, judge: JudgeError) -> Standing:
    """Begin a new epoch when the one under way is full, or contradicts the one before."""
    now = judged(tally)
    if standing.guard and now - standing.guarded_at >= EPOCH:
        standing = replace(standing, guard=standing.guard - 1, guarded_at=now)
    if len(standing.marks) > 1:
        here, before = standing.marks
        if surprise(tally - here, here - before, standing.base or pool, pool, judge) >= SURPRISE:
            return replace(standing, base=None, marks=(here,))
    if now - judged(standing.marks[0]) < EPOCH:
        return standing
    if len(standing.marks) == 1:
        return replace(standing, marks=(tally, standing.marks[0]))
    here, before = standing.marks
    base = learnt(here - before, standing.base or pool, pool, judge, DOUBT)
    return replace(standing, base=base, marks=(tally, here))


def _listed(belief: Belief) -> list[float]:
    return [belief.mean, belief.spread, belief.doubtful]
