"""Found at a given share accepted: what a score is worth where wrong hits are dear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ACCEPTED = (0.005, 0.01, 0.02, 0.05)
"""Shares of the pairs labelled different that a level may let through."""

_RIDGE = 1e-3
_NEWTON_STEPS = 30


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


def fit_logistic(features: NDArray[np.float64], is_same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit a logistic regression by Newton's method.

    Args:
        features: (n, k), of like magnitude.
        is_same: (n,).

    Returns:
        (k + 1,) weights, the constant last.
    """
    x = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (probability - is_same) + _RIDGE * weights
        hessian = (x * (probability * (1 - probability))[:, np.newaxis]).T @ x + _RIDGE * np.eye(x.shape[1])
        weights = weights - np.linalg.solve(hessian, gradient)
    return weights


def apply_logistic(
    weights: Sequence[float] | NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log odds (n,) of `features` (n, k) under `fit_logistic`'s weights."""
    values = np.asarray(weights, np.float64)
    log_odds: NDArray[np.float64] = features @ values[:-1] + values[-1]
    return log_odds
