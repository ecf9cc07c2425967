"""How sure a measured share is: over chance (how few questions there were) and over orders (in which they came)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.rivals.replay import NOT_ASKED, RIGHT, WRONG, Per, Tally
from proxy.core.sequences import binomial_interval

_DELTA = 0.05
_NORMAL = 1.96  # 97.5 % point
# 97.5 % points of Student's t for 1 … 9 degrees of freedom; beyond, the normal one errs by less than 15 %.
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval, all in [0, 1], or a difference of shares, in [-1, 1]."""

    value: float
    low: float
    high: float


def wrong_rate(tally: Tally, per: Per) -> Share | None:
    """Share of wrong hits; None without a hit."""
    return _share(tally.wrong, tally.base(per), tally.wrong_rate(per)) if tally.hits.any() else None


def hit_share(tally: Tally) -> Share:
    """Hits / questions asked."""
    return _share(tally.hits, tally.asked, tally.hit_share)


def difference(ours: Tally, theirs: Tally) -> Share:
    """Difference of the shares of hits, ours less theirs, over the same streams in the same orders.

    Questions are compared one by one, and questions with one answer count as one draw: they stand and fall together, so the interval
    holds for other questions of the kind, not just for these in another order.
    """
    gain = _hit(ours).mean(axis=0) - _hit(theirs).mean(axis=0)
    asked = ((ours.outcome != NOT_ASKED) | (theirs.outcome != NOT_ASKED)).mean(axis=0)
    total = asked.sum()
    value = float(gain.sum() / total)
    _, cluster = np.unique(ours.answer, return_inverse=True)
    spread = np.bincount(cluster, weights=gain - value * asked)
    clusters = len(spread)
    error = float(np.sqrt((spread**2).sum() * clusters / max(1, clusters - 1)) / total)
    return Share(value, value - _NORMAL * error, value + _NORMAL * error)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64], value: float) -> Share:
    """Take the wider of two intervals on each side: the exact binomial of one mean order, and Student's t over the orders."""
    binomial = binomial_interval(round(float(part.mean())), round(float(whole.mean())), _DELTA)
    rates = part / np.maximum(whole, 1)
    low, high = binomial.low, binomial.high
    if len(rates) > 1:
        student = _STUDENT[len(rates) - 2] if len(rates) - 2 < len(_STUDENT) else _NORMAL
        half = student * float(rates.std(ddof=1)) / len(rates) ** 0.5
        low, high = min(low, value - half), max(high, value + half)
    return Share(value, max(0.0, min(low, value)), min(1.0, max(high, value)))


def _hit(tally: Tally) -> NDArray[np.bool_]:
    return np.isin(tally.outcome, (RIGHT, WRONG))
