"""How often is something wrong, seen from a sample: exact binomial bounds, and bounds that hold however often one looks.

Pure arithmetic on counts, so that counts of several workers can be added up first. Nothing here knows what is counted.

*Anytime valid.* Let X_1, X_2, … be 0 or 1 with chances p_1, p_2, … that may drift and may depend on all that came before. For each
fixed tilt t, exp(t k_n) / ∏(1 - p_i + p_i e^t) is a non-negative martingale that starts at 1 (k_n = X_1 + … + X_n), and so is any
average over tilts fixed in advance. log(1 - p + p e^t) is concave in p, hence the product is at most (1 - p̄ + p̄ e^t)^n with
p̄ = (p_1 + … + p_n) / n, and what is computed at p = p̄ never exceeds the martingale. By Ville's inequality it exceeds 1/δ *ever* with
chance δ at most. So the p at which it stays below are a confidence sequence for the running mean p̄, with no assumption of a
constant rate. (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

TILTS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Averaged over. A tilt t is best where the true odds are e^t times those in question; 0.03 serves 100,000 counts, 4 the first few."""

DELTA = 0.04
"""Chance that an interval ever misses; with `JUDGE_DELTA` for the judge, 5 % together."""

JUDGE_DELTA = 0.01
"""Chance that the measured error rates of a judge, both, lie outside their intervals."""

_STEPS = 48  # halvings: the bounds are exact to 4e-15


@dataclass(frozen=True, slots=True)
class Interval:
    """A share of something, in [0, 1].

    Attributes:
        low: lower end.
        high: upper end.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse ends out of order."""
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"an interval of shares must be within [0, 1] and in order, not ({self.low}, {self.high})")


@dataclass(frozen=True, slots=True)
class JudgeError:
    """How often the judge of audits is mistaken, as intervals since that too was measured.

    Attributes:
        false_alarm: share of right answers that it calls wrong.
        miss: share of wrong answers that it calls right.
    """

    false_alarm: Interval = Interval(0.0, 0.0)
    miss: Interval = Interval(0.0, 0.0)

    @classmethod
    def measured(cls, *, false_alarms: int, right: int, misses: int, wrong: int) -> JudgeError:
        """Take the error rates from answers whose truth is known; 1 - `JUDGE_DELTA` for both together.

        Args:
            false_alarms: right answers called wrong, of `right` judged.
            misses: wrong answers called right, of `wrong` judged.
        """
        half = JUDGE_DELTA / 2
        return cls(binomial_interval(false_alarms, right, half), binomial_interval(misses, wrong, half))

    def corrected(self, called_wrong: Interval) -> Interval:
        """Turn the share called wrong into the share that is wrong: worst case over the judge's own intervals.

        From m = p (1 - miss) + (1 - p) false_alarm follows p = (m - false_alarm) / (1 - false_alarm - miss) (Rogan and Gladen
        1978); p falls as false alarms rise and rises with misses, wherever the judge is better than a coin. Where it may not
        be, nothing is known: (0, 1).
        """
        if self.false_alarm.high + self.miss.high >= 1:
            return Interval(0.0, 1.0)
        low = (called_wrong.low - self.false_alarm.high) / (1 - self.false_alarm.high - self.miss.low)
        high = (called_wrong.high - self.false_alarm.low) / (1 - self.false_alarm.low - self.miss.high)
        return Interval(_share(low), max(_share(low), _share(high)))

    def confirmed(self, looks: int) -> JudgeError:
        """Give the error of asking again: wrong only where `looks` independent judgements all say so.

        A second look costs little, since only the few called wrong get one. That looks err independently is an assumption; where
        the repeated judgement itself can be measured, measure it.
        """
        alarm, seen = self.false_alarm, Interval(1 - self.miss.high, 1 - self.miss.low)
        return JudgeError(
            Interval(alarm.low**looks, alarm.high**looks), Interval(1 - seen.high**looks, 1 - seen.low**looks)
        )

    def calls_wrong(self, wrong: float) -> float:
        """Give the largest share it may call wrong where the share `wrong` is."""
        return wrong * (1 - self.miss.low) + (1 - wrong) * self.false_alarm.high


def looks_for(judge: JudgeError, budget: float) -> int:
    """How many looks a verdict of wrong needs, so that false alarms stay below a tenth of the budget; 1 … 8."""
    return next((looks for looks in range(1, 8) if judge.confirmed(looks).false_alarm.high <= budget / 10), 8)


def rate_interval(wrong: int, judged: int, delta: float = DELTA) -> Interval:
    """Bound the mean chance of being wrong from counts, validly at every look, forever.

    Args:
        wrong: how many were.
        judged: of how many.
        delta: chance that the interval ever misses the running mean, both sides together.
    """
    enough = math.log(2 / delta)
    low = _crossing(lambda p: log_wealth(wrong, judged, p) >= enough) if wrong else 0.0
    high = _crossing(lambda p: log_wealth(wrong, judged, p, -1) < enough) if judged > wrong else 1.0
    return Interval(low, max(low, high))


def log_wealth(wrong: int, judged: int, rate: float, sign: int = 1) -> float:
    """Give the log of the evidence against a mean chance of `rate`: that it is higher, or with sign -1 that it is lower.

    Its exponential has a mean of at most 1 if the mean chance is what is tested, whenever one looks.
    """
    if rate <= 0:
        return math.inf if wrong and sign > 0 else 0.0
    tilts = [sign * tilt for tilt in TILTS]
    return log_mean_exp([tilt * wrong - judged * math.log1p(rate * math.expm1(tilt)) for tilt in tilts])


def log_mean_exp(values: Iterable[float]) -> float:
    """Give the log of the mean of exponentials, without overflow."""
    listed = list(values)
    top = max(listed)
    return top + math.log(math.fsum(math.exp(value - top) for value in listed) / len(listed))


def binomial_interval(wrong: int, judged: int, delta: float) -> Interval:
    """Clopper and Pearson's exact interval for a fixed number of independent trials, both sides together `delta`."""
    if judged == 0:
        return Interval(0.0, 1.0)
    high = _crossing(lambda p: binomial_cdf(wrong, judged, p) > delta / 2) if wrong < judged else 1.0
    low = _crossing(lambda p: 1 - binomial_cdf(wrong - 1, judged, p) <= delta / 2) if wrong else 0.0
    return Interval(low, max(low, high))


def binomial_cdf(successes: int, trials: int, chance: float) -> float:
    """Give the chance of at most `successes` in `trials`; exact sum, in logarithms so that 100,000 trials are fine."""
    if successes >= trials or chance <= 0:
        return 1.0
    if successes < 0 or chance >= 1:
        return 0.0
    odds = math.log(chance) - math.log1p(-chance)
    term = trials * math.log1p(-chance)
    terms = [term]
    for i in range(successes):
        term += math.log((trials - i) / (i + 1)) + odds
        terms.append(term)
    top = max(terms)
    return min(1.0, math.exp(top) * math.fsum(math.exp(x - top) for x in terms))


def _crossing(is_below: Callable[[float], bool]) -> float:
    """Where a predicate that is true on the left of [0, 1] turns false."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
