"""How far the calibration is off here: one number, learnt from audits bin by bin.

The *shift* is the log of how many times the odds of being wrong are those that the calibration says: 0 is "as calibrated", log 2 "twice
the odds", alike at every confidence. A change of prevalence is exactly that; a change of domain roughly. It is a model, used to steer
and never to claim: what is claimed is an interval of counts (`core.tally`), and a guard without a model watches over it (`core.budget`).

Audits are compared within bins of equal confidence, so it does not matter that some confidences are audited more often than others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from proxy.core.confidence import BIN_COUNT, bin_wrong_odds, logistic
from proxy.core.sequences import JudgeError
from proxy.core.tally import Tally

SHADOW_WEIGHT = 0.5
"""What a shadow audit counts beside an audited hit: it speaks of the shift below the level, and so only about that above it."""

_STEP = 0.1
_SHIFTS = tuple(-2.5 + _STEP * i for i in range(81))  # odds of being wrong: a twelfth to 240 times those calibrated

_NEAR, _FAR = 0.3, 1.2  # widths of a prior: about what was believed, or traffic of quite another kind
_OWN_SHARE, _POOL_SHARE, _FAR_SHARE = (
    0.65,
    0.2,
    0.15,
)  # of what was believed here, what the pool believes, and anything else


@dataclass(frozen=True, slots=True)
class Belief:
    """What is held of the shift.

    Attributes:
        mean: 0 is as calibrated, which is also what is held of it before any audit.
        spread: standard deviation.
        doubtful: the shift that is exceeded with chance `doubt` (of `learnt`) only.
    """

    mean: float = 0.0
    spread: float = 0.0
    doubtful: float = 0.0


def learnt(found: Tally, before: Belief, pool: Belief, judge: JudgeError, doubt: float) -> Belief:
    """Give the belief after some audits.

    Args:
        found: the audits.
        before: what was believed here before them.
        pool: what is believed of namespaces like this one.
        judge: how often the verdicts are mistaken; the end of its intervals that blames the answers is taken.
        doubt: chance in (0, 1) that `doubtful` is to leave above it.
    """
    return _summed_up(_posterior(_log_likelihood(found, judge), _prior(before, pool)), doubt)


def surprise(found: Tally, known: Tally, before: Belief, pool: Belief, judge: JudgeError) -> float:
    """How many times likelier these audits are under a shift of which nothing is known than after those already `known`."""
    likelihood = _log_likelihood(found, judge)
    expected = _posterior(_log_likelihood(known, judge), _prior(before, pool))
    return math.exp(min(50.0, _log_mean(likelihood, [1.0] * len(_SHIFTS)) - _log_mean(likelihood, expected)))


def foreseen_wrong(found: Tally, shift: float, judge: JudgeError) -> float:
    """How many of the audited hits should have been called wrong under a shift; rather too few than too many."""
    total = 0.0
    for i in range(BIN_COUNT):
        if count := found.right[i] + found.wrong[i]:
            wrong = logistic(bin_wrong_odds(i) + shift)
            total += count * (wrong * (1 - judge.miss.high) + (1 - wrong) * judge.false_alarm.low)
    return total


def judged(found: Tally) -> float:
    """How many audits there were, shadow audits at their weight."""
    return found.audited + SHADOW_WEIGHT * found.shadowed


def _prior(before: Belief, pool: Belief) -> list[float]:
    """Relative chance of each shift: near what was believed, near what the pool believes, or anywhere. Never narrower than `_NEAR`."""
    chances = [1e-12] * len(_SHIFTS)
    for share, centre, least in ((_OWN_SHARE, before, _NEAR), (_POOL_SHARE, pool, _NEAR), (_FAR_SHARE, pool, _FAR)):
        width = math.hypot(least, centre.spread)
        for i, shift in enumerate(_SHIFTS):
            chances[i] += share / width * math.exp(-0.5 * ((shift - centre.mean) / width) ** 2)
    return chances


def _log_likelihood(found: Tally, judge: JudgeError) -> list[float]:
    """Log chance of these verdicts under each shift."""
    says_wrong, says_right = _verdicts(judge.false_alarm.low, judge.miss.high)
    logs = [0.0] * len(_SHIFTS)
    for i in range(BIN_COUNT):
        wrong = found.wrong[i] + SHADOW_WEIGHT * found.shadow_wrong[i]
        right = found.right[i] + SHADOW_WEIGHT * found.shadow_right[i]
        if wrong or right:
            pairs = zip(logs, says_wrong[i], says_right[i], strict=True)
            logs = [log + wrong * if_wrong + right * if_right for log, if_wrong, if_right in pairs]
    return logs


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


def _posterior(log_likelihood: Sequence[float], prior: Sequence[float]) -> list[float]:
    logs = [math.log(chance) + said for chance, said in zip(prior, log_likelihood, strict=True)]
    top = max(logs)
    chances = [math.exp(log - top) for log in logs]
    whole = math.fsum(chances)
    return [chance / whole for chance in chances]


def _summed_up(chances: Sequence[float], doubt: float) -> Belief:
    mean = math.fsum(chance * shift for chance, shift in zip(chances, _SHIFTS, strict=True))
    square = math.fsum(chance * (shift - mean) ** 2 for chance, shift in zip(chances, _SHIFTS, strict=True))
    above, i = 0.0, len(_SHIFTS) - 1
    while i and above + chances[i] < doubt:
        above += chances[i]
        i -= 1
    # Within its step, a shift is as likely anywhere.
    doubtful = _SHIFTS[i] + _STEP * (0.5 - (doubt - above) / max(chances[i], 1e-300))
    return Belief(mean, math.sqrt(square), doubtful)


def _log_mean(logs: Sequence[float], weights: Sequence[float]) -> float:
    """Log of the weighted mean of exponentials."""
    top = max(logs)
    parts = (weight * math.exp(log - top) for log, weight in zip(logs, weights, strict=True))
    return top + math.log(max(math.fsum(parts) / math.fsum(weights), 1e-300))
