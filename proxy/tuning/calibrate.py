"""Fit a calibration to scored pairs: a logistic model that obeys `core.confidence`'s laws, and a map to probabilities.

Levels for budgets are certified by `core.certificates`, on other pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.core.confidence import BIN_COUNT, FEATURES, Calibration, bin_of, features
from proxy.tuning.scoring import ScoredPair

FloatArray = NDArray[np.float64]

_RIDGE = 5.0  # in pairs: what a coefficient of 1 (standardised) costs; a sign seen in a handful of pairs stays near 0
_STEPS = 4_000
_LEAST_SPREAD = 0.15  # of a column, for standardising: rare objections are not blown up
_KNOT_PAIRS = 0.02  # share of the weight that a knot of the map rests on, at least
_MOST_SURE = 0.9995
_LEAST_SLOPE = 1e-5  # in probability a unit of score: keeps surer pairs apart where the data cannot


@dataclass(frozen=True, slots=True)
class Sample:
    """Scored pairs as arrays.

    Attributes:
        x: (n, features and objections), see `core.confidence.features`.
        is_same: (n,) bool.
        weight: (n,), sums to n.
        is_open: (n,) bool: False for pairs that nothing but a refusal awaits (a hard gate, an unreadable text).
    """

    x: FloatArray
    is_same: NDArray[np.bool_]
    weight: FloatArray
    is_open: NDArray[np.bool_]


def sample(
    scored: Sequence[ScoredPair], objections: Sequence[str], weight: Sequence[float], *, uses_cosine: bool
) -> Sample:
    """Lay scored pairs out as arrays.

    Args:
        scored: of all kinds.
        objections: names of the soft gates, the columns after `FEATURES`.
        weight: (n,), how much traffic each pair stands for.
        uses_cosine: False zeroes every feature made of cosine, for embedders whose cosines mean something else.
    """
    x = np.zeros((len(scored), len(FEATURES) + len(objections)))
    for row, one in zip(x, scored, strict=True):
        row[: len(FEATURES)] = features(one.similarity, one.evidence.logit)
        row[len(FEATURES) :] = [name in one.soft for name in objections]
    if not uses_cosine:
        x[:, [FEATURES.index("similarity"), FEATURES.index("closeness"), FEATURES.index("agreement")]] = 0.0
    return Sample(
        x,
        np.array([one.pair.is_same for one in scored], bool),
        np.asarray(weight, np.float64) * len(scored) / sum(weight),
        np.array([one.evidence.logit != -np.inf for one in scored], bool),
    )


def fit(data: Sample, objections: Sequence[str], *, scale: str) -> Calibration:
    """Fit model and map; levels are left empty, for `core.certificates` to fill in.

    Args:
        data: as `sample` gives it; pairs that are not open take no part.
        objections: names of the soft gates, in the order of the columns.
        scale: names the models, as `Calibration.scale`.
    """
    x, y, weight = data.x[data.is_open], data.is_same[data.is_open], data.weight[data.is_open]
    coefficients = _fit_logistic(x, y, weight)
    scores = x @ coefficients[:-1] + coefficients[-1]
    knots = _knots(scores, y, weight)
    return Calibration(
        scale=scale,
        bias=float(coefficients[-1]),
        weights=tuple(map(float, coefficients[: len(FEATURES)])),
        objections=dict(zip(objections, map(float, coefficients[len(FEATURES) : -1]), strict=True)),
        knots=knots,
        levels=(),
    )


def shares(confidences: Sequence[float], weight: FloatArray) -> tuple[float, ...]:
    """How the weight of candidates spreads over the bins of confidence; sums to 1."""
    spread = np.zeros(BIN_COUNT)
    for confidence, amount in zip(confidences, weight, strict=True):
        spread[bin_of(confidence)] += amount
    return tuple(map(float, spread / spread.sum()))


def _fit_logistic(x: FloatArray, y: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    """Minimise the weighted log loss by projected gradient steps on standardised columns; the bias comes last.

    Features get weights >= 0 and objections <= 0: the laws of `core.confidence`.
    """
    spread = np.maximum(x.std(axis=0), _LEAST_SPREAD)
    middle = x.mean(axis=0)
    z = np.column_stack([(x - middle) / spread, np.ones(len(x))])
    sign = np.array([1.0] * len(FEATURES) + [-1.0] * (x.shape[1] - len(FEATURES)))
    w = np.zeros(z.shape[1])
    momentum = w.copy()
    # Of the mean log loss: a quarter of the largest eigenvalue of z'z / n bounds the curvature.
    step = 4.0 / float(np.linalg.eigvalsh((z * weight[:, None]).T @ z / weight.sum())[-1])
    for turn in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(z @ momentum, -30, 30)))
        gradient = z.T @ (weight * (probability - y)) / weight.sum()
        gradient[:-1] += _RIDGE / len(x) * momentum[:-1]
        following = momentum - step * gradient
        following[:-1] = sign * np.maximum(0.0, sign * following[:-1])
        momentum = following + (turn / (turn + 3.0)) * (following - w)
        w = following
    coefficients = w[:-1] / spread
    return np.append(coefficients, w[-1] - float(coefficients @ middle))


def _knots(scores: FloatArray, y: NDArray[np.bool_], weight: FloatArray) -> tuple[tuple[float, float], ...]:
    """Isotonic regression of the label on the score, in groups of enough weight, with a least slope so that order is kept."""
    order = np.argsort(scores)
    groups: list[list[float]] = []  # score * weight, same * weight, weight
    least = _KNOT_PAIRS * float(weight.sum())
    at = [0.0, 0.0, 0.0]
    for i in order:
        at = [at[0] + scores[i] * weight[i], at[1] + y[i] * weight[i], at[2] + weight[i]]
        if at[2] >= least:
            groups.append(at)
            at = [0.0, 0.0, 0.0]
    pooled: list[list[float]] = []
    for group in groups:
        pooled.append(group)
        while len(pooled) > 1 and pooled[-2][1] / pooled[-2][2] >= pooled[-1][1] / pooled[-1][2]:
            last = pooled.pop()
            pooled[-1] = [a + b for a, b in zip(pooled[-1], last, strict=True)]
    knots: list[tuple[float, float]] = []
    for total, same, mass in pooled:
        score, chance = total / mass, (same + 0.5 * mass / len(y)) / (mass * (1 + 1 / len(y)))
        if knots:
            chance = max(chance, knots[-1][1] + _LEAST_SLOPE * (score - knots[-1][0]))
        knots.append((float(score), float(chance)))
    # Nothing is certain, and a caller may ask for more than the surest pair has.
    surest = max(1.0, knots[-1][1]) / _MOST_SURE
    return tuple((score, chance / surest) for score, chance in knots)
