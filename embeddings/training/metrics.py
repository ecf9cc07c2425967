"""Found at a given share accepted: what a score is worth where wrong hits are dear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ACCEPTED = (0.005, 0.01, 0.02, 0.05)
"""Shares of the pairs labelled different that a level may let through."""


def level_at(scores: NDArray[np.float64], is_same: NDArray[np.bool_], accepted: float) -> float:
    """Find the loosest level that at most `accepted` of the different pairs lie above; a pair at the level is refused.

    Args:
        scores: (n,), higher is more alike; -inf for a pair that is refused whatever the level.
        is_same: (n,), at least one False.
        accepted: in [0, 1].
    """
    different = np.sort(scores[~is_same])[::-1]
    barred = int(np.floor(accepted * len(different)))
    return float(different[barred]) if barred < len(different) else -np.inf


def found_at(scores: NDArray[np.float64], is_same: NDArray[np.bool_], accepted: float) -> float:
    """Share of the same pairs above `level_at`; at least one of each label is needed."""
    return float(np.mean(scores[is_same] > level_at(scores, is_same, accepted)))


def curve(scores: NDArray[np.float64], is_same: NDArray[np.bool_]) -> dict[str, float]:
    """`found_at` each of `ACCEPTED`, keyed by the share as text."""
    return {f"{accepted:g}": round(found_at(scores, is_same, accepted), 4) for accepted in ACCEPTED}
