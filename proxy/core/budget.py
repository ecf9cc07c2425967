"""The level in force: the calibrated one until live audits say otherwise.

A pure state machine: (`Standing`, tally, facts) -> `Standing`. Whoever reviews a namespace reads its tally, calls `next_level`, and
stores the standing; reviews may be as rare or frequent as one likes, and two that race agree or lose only a little evidence.

*Belief.* By how much do the odds of being wrong differ from what the calibration says? One number, the shift: 0 is "as calibrated",
log 2 is "twice the odds", alike at every confidence. A change of prevalence is exactly that; a change of domain roughly. Its
posterior follows from audits bin by bin: hits, and candidates below the level at a fraction of their weight, since they speak of
the shift only as far as it is alike at every confidence. Older evidence counts half for each epoch of age. A namespace's prior is
its pool's belief, widened; a pool's is the calibration.

*Level.* The lowest at which the share of wrong hits, among candidates as this namespace sees them, stays within the budget under a
shift that the belief holds to be exceeded with chance `DOUBT` only; never below the calibrated level. Exact hits only if none does:
no trap, because shadow audits go on, and the level comes back when they speak for it.

*Guard.* The belief is a model and may be wrong (wrong hits at the very top, say). So audited hits are watched without one: an
e-detector that raises an alarm, if the rate is within the budget, less than once in `ALARM_AFTER` batches of at least `BATCH` audits
on average, however the rate moves below it. Each alarm doubles the odds assumed, starts a new epoch, and lasts until an epoch has
passed without one.

Feedback of users never enters: who complains is no random sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from proxy.core.confidence import BIN_COUNT, EXACT_ONLY, Calibration, bin_level, bin_of, bin_wrong_odds, logistic
from proxy.core.sequences import JudgeError, log_mean_exp
from proxy.core.tally import Tally

DOUBT = 0.1
"""Chance, in the belief, that the shift is larger than the one the level allows for."""

EPOCH = 150
"""Audits of an epoch, shadow audits at their weight."""

SHADOW_WEIGHT = 0.25
"""What a shadow audit counts beside an audited hit."""

BATCH = 20
"""Audited hits that the guard takes at a time, at least."""

ALARM_AFTER = 200.0
"""Batches between two false alarms, on average at least: 4,000 audits, were the rate exactly the budget all the time."""

FRESH = 30
"""Audits, shadow audits included, that a level needs behind it before it may be loosened."""

ROOM = 0.9
"""Share of the budget that a looser level has to keep, so that the level does not swing about the budget."""

GUARD_STEP = math.log(2.0)

_SHIFTS = tuple(-2.5 + 0.1 * i for i in range(81))  # odds of being wrong: a twelfth to 240 times those calibrated
_NEAR, _FAR, _FAR_SHARE = (
    0.3,
    1.2,
    0.2,
)  # a prior: about as its centre says, or, one time in five, of quite another kind
_AGES = (1.0, 0.5, 0.25, 0.125)  # weight of the epoch under way and of those before it
_TILTS = (0.4, 0.8, 1.6)  # the guard looks for rates 1.5, 2.2 and 5 times the budget
_PRIOR_SEEN = 200.0  # candidates that the calibration's own mix of confidences counts as
_MOST_GUARD = 6


class Cause(StrEnum):
    """Why the level is where it is."""

    CALIBRATED = "calibrated"
    EVIDENCE = "evidence"
    DRIFT = "drift"
    EXACT_ONLY = "exact-only"
    NOT_CERTIFIED = "not-certified"


@dataclass(frozen=True, slots=True)
class Belief:
    """What is held of the shift: log of how many times the odds of being wrong are those calibrated.

    Attributes:
        mean: 0 is as calibrated.
        spread: standard deviation.
    """

    mean: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a namespace stands.

    Attributes:
        level: confidence a candidate has to reach; `EXACT_ONLY` for none.
        cause: why.
        belief: of the shift, the pool's prior for others.
        guard: alarms in force, each doubling the odds assumed.
        alarm: the guard's evidence against the budget, one number for each rate it looks for; not negative.
        watched: the whole tally at the guard's last batch: (audited, called wrong).
        marks: the whole tally when the epochs under way and before began, newest first.
        judged_at_change: audits, of hits and shadows, when the level last changed.
    """

    level: float
    cause: Cause
    belief: Belief = Belief()
    guard: int = 0
    alarm: tuple[float, ...] = (0.0,) * len(_TILTS)
    watched: tuple[int, int] = (0, 0)
    marks: tuple[Tally, ...] = (Tally(),)
    judged_at_change: int = 0

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values; `from_json` gives the same standing back."""
        return {
            "level": self.level,
            "cause": self.cause.value,
            "belief": [self.belief.mean, self.belief.spread],
            "guard": self.guard,
            "alarm": list(self.alarm),
            "watched": list(self.watched),
            "marks": [mark.as_fields() for mark in self.marks],
            "judged_at_change": self.judged_at_change,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Standing:
        """Read what `as_json` wrote.

        Raises:
            ValueError: it was not; begin anew with `start`, the tally is what counts.
        """
        try:
            audited, wrong = data["watched"]
            alarm = tuple(float(value) for value in data["alarm"])
            if len(alarm) != len(_TILTS) or not data["marks"]:
                raise ValueError("standing: it was written by another version")
            return cls(
                level=float(data["level"]),
                cause=Cause(data["cause"]),
                belief=Belief(*(float(value) for value in data["belief"])),
                guard=int(data["guard"]),
                alarm=alarm,
                watched=(int(audited), int(wrong)),
                marks=tuple(Tally.from_fields(mark) for mark in data["marks"]),
                judged_at_change=int(data["judged_at_change"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"standing: a field is missing or has the wrong shape: {error}") from error


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
        tally: of its whole life, at least what it was at the last review.
        calibration: the one in force.
        max_wrong_hit_rate: the budget, in [0, 1].
        judge: measured error of the audits' judge; None for one that is never mistaken.
        pool: the belief in the pool's standing; None for the pool itself. The pool's tally may include the namespace's own:
            a prior is never narrower than 0.3, so what is counted twice stays small.
    """
    error = judge or JudgeError()
    floor = calibration.level_for(max_wrong_hit_rate)
    standing = _watch(standing, tally, max_wrong_hit_rate, error)
    standing = _turn_page(standing, tally)
    posterior = _posterior(_epochs(standing, tally), pool or Belief(), error)
    standing = replace(standing, belief=_moments(posterior))
    if floor > 1:
        return replace(standing, level=EXACT_ONLY, cause=Cause.NOT_CERTIFIED)
    shift = _quantile(posterior, 1 - DOUBT) + GUARD_STEP * standing.guard
    seen = _seen(_epochs(standing, tally), calibration)
    wanted = max(floor, _lowest_level(seen, shift, max_wrong_hit_rate, bin_of(floor)))
    judged = tally.audited + tally.shadowed
    if wanted < standing.level:
        roomy = max(floor, _lowest_level(seen, shift, ROOM * max_wrong_hit_rate, bin_of(floor)))
        is_ripe = judged - standing.judged_at_change >= FRESH
        wanted = min(standing.level, roomy) if is_ripe else standing.level
    if wanted == standing.level:
        return standing
    return replace(standing, level=wanted, cause=_cause(wanted, floor, standing.guard), judged_at_change=judged)


def audit_share(standing: Standing, tally: Tally, base_share: float) -> float:
    """Give the share of hits to audit now: more while little is known and when the guard grows suspicious.

    Args:
        standing: in force.
        tally: of its whole life.
        base_share: the least, in [0, 1].
    """
    if tally.audited < EPOCH:
        return min(1.0, 5 * base_share)
    is_suspicious = max(standing.alarm, default=0.0) >= math.sqrt(ALARM_AFTER) or standing.guard > 0
    return min(1.0, 3 * base_share) if is_suspicious else base_share


def _cause(level: float, floor: float, guard: int) -> Cause:
    if level > 1:
        return Cause.EXACT_ONLY
    if level == floor:
        return Cause.CALIBRATED
    return Cause.DRIFT if guard else Cause.EVIDENCE


# ── the guard ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _watch(standing: Standing, tally: Tally, budget: float, judge: JudgeError) -> Standing:
    """Let the guard take the audits since its last batch: M <- (M + 1) · L for each tilt, alarm when the mean reaches `ALARM_AFTER`.

    L is a likelihood ratio with mean ≤ 1 while the rate is within the budget (`core.sequences`), so M - batches is a
    supermartingale, and the expected number of batches before an alarm is at least `ALARM_AFTER` (Shiryaev and Roberts; as an
    e-detector, Shin, Ramdas and Rinaldo 2023).
    """
    count = tally.audited - standing.watched[0]
    if count < BATCH:
        return standing
    wrong = max(0, tally.audited_wrong - standing.watched[1])
    expected = judge.calls_wrong(budget)
    logs = [tilt * wrong - count * math.log1p(expected * math.expm1(tilt)) for tilt in _TILTS]
    alarm = tuple((m + 1) * math.exp(min(log, 50.0)) for m, log in zip(standing.alarm, logs, strict=True))
    standing = replace(standing, alarm=alarm, watched=(tally.audited, tally.audited_wrong))
    if math.fsum(alarm) / len(alarm) < ALARM_AFTER:
        return standing
    guard = min(_MOST_GUARD, standing.guard + 1)
    return replace(standing, alarm=(0.0,) * len(_TILTS), guard=guard, marks=_pushed(standing, tally))


def _turn_page(standing: Standing, tally: Tally) -> Standing:
    """Begin a new epoch when the one under way is full; one that saw no alarm takes a doubling back."""
    current = tally - standing.marks[0]
    if current.audited + SHADOW_WEIGHT * current.shadowed < EPOCH:
        return standing
    return replace(standing, guard=max(0, standing.guard - 1), marks=_pushed(standing, tally))


def _pushed(standing: Standing, tally: Tally) -> tuple[Tally, ...]:
    return (tally, *standing.marks)[: len(_AGES)]


def _epochs(standing: Standing, tally: Tally) -> list[tuple[float, Tally]]:
    """(weight, what it found) of each epoch remembered, newest first."""
    ends = (tally, *standing.marks)
    return [(age, end - begin) for age, end, begin in zip(_AGES, ends, standing.marks, strict=False)]


# ── the belief ────────────────────────────────────────────────────────────────────────────────────────────────────


def _posterior(epochs: Sequence[tuple[float, Tally]], prior: Belief, judge: JudgeError) -> list[float]:
    """Chance of each of `_SHIFTS`; adds up to 1."""
    logs = [_log_prior(shift, prior) for shift in _SHIFTS]
    # What errs on the side of wrong answers: few false alarms, many misses.
    says_wrong, says_right = _verdicts(judge.false_alarm.low, judge.miss.high)
    for i in range(BIN_COUNT):
        wrong = math.fsum(age * (e.wrong[i] + SHADOW_WEIGHT * e.shadow_wrong[i]) for age, e in epochs)
        right = math.fsum(age * (e.right[i] + SHADOW_WEIGHT * e.shadow_right[i]) for age, e in epochs)
        if wrong or right:
            pairs = zip(logs, says_wrong[i], says_right[i], strict=True)
            logs = [log + wrong * if_wrong + right * if_right for log, if_wrong, if_right in pairs]
    top = max(logs)
    chances = [math.exp(log - top) for log in logs]
    whole = math.fsum(chances)
    return [chance / whole for chance in chances]


def _log_prior(shift: float, prior: Belief) -> float:
    densities = []
    for spread, share in ((_NEAR, 1 - _FAR_SHARE), (_FAR, _FAR_SHARE)):
        width = math.hypot(spread, prior.spread)
        densities.append(math.log(2 * share / width) - 0.5 * ((shift - prior.mean) / width) ** 2)
    return log_mean_exp(densities)


@lru_cache(maxsize=16)
def _verdicts(false_alarm: float, miss: float) -> tuple[list[list[float]], list[list[float]]]:
    """Log chance that the judge says wrong, and says right: [bin][shift]."""
    says_wrong, says_right = [], []
    for i in range(BIN_COUNT):
        wrong = [logistic(bin_wrong_odds(i) + shift) for shift in _SHIFTS]
        said = [min(1 - 1e-9, max(1e-9, p * (1 - miss) + (1 - p) * false_alarm)) for p in wrong]
        says_wrong.append([math.log(p) for p in said])
        says_right.append([math.log1p(-p) for p in said])
    return says_wrong, says_right


def _moments(chances: Sequence[float]) -> Belief:
    mean = math.fsum(chance * shift for chance, shift in zip(chances, _SHIFTS, strict=True))
    square = math.fsum(chance * (shift - mean) ** 2 for chance, shift in zip(chances, _SHIFTS, strict=True))
    return Belief(mean, math.sqrt(square))


def _quantile(chances: Sequence[float], share: float) -> float:
    below = 0.0
    for chance, shift in zip(chances, _SHIFTS, strict=True):
        if below + chance >= share:
            return shift - 0.1 * (1 - (share - below) / chance)
        below += chance
    return _SHIFTS[-1]


# ── the level ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _seen(epochs: Sequence[tuple[float, Tally]], calibration: Calibration) -> list[float]:
    """How many candidates fall into each bin, recent ones first in weight; the calibration's mix while few are known."""
    prior = calibration.shares or (1.0,) * BIN_COUNT
    scale = _PRIOR_SEEN / (math.fsum(prior) or 1.0)
    return [scale * prior[i] + math.fsum(age * e.seen[i] for age, e in epochs) for i in range(BIN_COUNT)]


def _lowest_level(seen: Sequence[float], shift: float, budget: float, lowest: int) -> float:
    """Lowest bin, not below `lowest`, from which upwards the share of wrong hits is within the budget; its level."""
    hits = wrong = 0.0
    level = EXACT_ONLY
    for i in range(BIN_COUNT - 1, lowest - 1, -1):
        hits += seen[i]
        wrong += seen[i] * logistic(bin_wrong_odds(i) + shift)
        if wrong > budget * hits:
            break
        level = bin_level(i)
    return level
