"""What is reported of ratings: found, accepted, wrong among hits, the same for cosine, reliability. Pure arithmetic.

*Found* is hits among pairs labelled the same, *accepted* hits among pairs labelled different, the *wrong-hit rate* wrong hits among hits:
the last one depends on how many pairs of each label there are, the first two do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proxy.core.sequences import Interval, binomial_interval
from proxy.tuning.rating import BoolArray, FloatArray, Ratings

BUDGETS = (0.005, 0.01, 0.02, 0.05)
"""Wrong-hit rates that tables show, of those a calibration has levels for."""

_DELTA = 0.05  # intervals are of 95 %
_BINS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many.

    Attributes:
        count: how many.
        of: of how many; may be 0.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """In [0, 1]; None of none."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval:
        """Clopper and Pearson's exact 95 % interval."""
        return binomial_interval(self.count, self.of, _DELTA)

    def __add__(self, other: Share) -> Share:
        return Share(self.count + other.count, self.of + other.of)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a level makes of labelled pairs.

    Attributes:
        found: hits of the pairs labelled the same.
        accepted: hits of the pairs labelled different.
    """

    found: Share
    accepted: Share

    @property
    def wrong(self) -> Share:
        """Wrong hits of all hits."""
        return Share(self.accepted.count, self.accepted.count + self.found.count)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of like confidence.

    Attributes:
        pairs: how many.
        confidence: their mean.
        same: the share of them labelled the same.
    """

    pairs: int
    confidence: float
    same: float


def outcome(ratings: Ratings, level: float) -> Outcome:
    """Count what is served at a level."""
    return counted(ratings.hits(level), ratings.is_same)


def counted(hits: BoolArray, is_same: BoolArray) -> Outcome:
    """Count hits by label; both (n,)."""
    same, different = int(is_same.sum()), int((~is_same).sum())
    return Outcome(Share(int((hits & is_same).sum()), same), Share(int((hits & ~is_same).sum()), different))


def found_within(score: FloatArray, is_same: BoolArray, accepted: int) -> Share:
    """Find what a score finds at its best level that accepts no more than `accepted` of the different pairs.

    Args:
        score: (n,), cosines for one; what is never served has -inf.
        is_same: (n,) labels.
        accepted: how many different pairs may be hits.
    """
    different = np.sort(score[~is_same])[::-1]
    # A pair at the level of the first one too many is refused.
    level = different[accepted] if accepted < len(different) else -np.inf
    return Share(int((score[is_same] > level).sum()), int(is_same.sum()))


def tradeoff(score: FloatArray, is_same: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Trace wrong-hit rate and found as the level falls through every score.

    Args:
        score: (n,), higher is surer; what is never served has -inf.
        is_same: (n,).

    Returns:
        Wrong-hit rates and shares found, each (m,), one for each distinct finite score, surest first; empty without any.
    """
    order = np.argsort(-score, kind="stable")
    ranked, label = score[order], is_same[order]
    same = np.cumsum(label)
    last_of_ties = np.append(ranked[1:] < ranked[:-1], True) & np.isfinite(ranked) if len(ranked) else np.zeros(0, bool)
    hits = np.arange(1, len(ranked) + 1)
    wrong_rate, found = (hits - same) / np.maximum(hits, 1), same / max(1, int(is_same.sum()))
    return wrong_rate[last_of_ties], found[last_of_ties]


def best_within(wrong: FloatArray, found: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn a `tradeoff` into stairs: the most that is found at any level whose wrong-hit rate is no higher; both (m,), rising."""
    order = np.lexsort((-found, wrong))
    return wrong[order], np.maximum.accumulate(found[order]) if len(order) else found


def reliability(confidence: FloatArray, is_same: BoolArray) -> tuple[Bin, ...]:
    """Sort pairs into ten bins of equal width by confidence, empty ones left out."""
    at = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return tuple(
        Bin(int(here.sum()), float(confidence[here].mean()), float(is_same[here].mean()))
        for here in (at == index for index in range(_BINS))
        if here.any()
    )


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean distance of confidence and truth over bins, weighed by pairs; None without pairs."""
    total = sum(one.pairs for one in bins)
    return sum(one.pairs * abs(one.confidence - one.same) for one in bins) / total if total else None
