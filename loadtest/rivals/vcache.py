"""vCache's rule, written from its paper (Schroeder et al., "vCache: Verified Semantic Prompt Caching", arXiv 2502.03771, ICLR 2026).

Every stored question y keeps what was seen of the questions nearest to it: (cosine, was y's answer right). The chance that y's answer
is right at cosine s is modelled as L(s; t, γ) = 1 / (1 + exp(-γ (s - t))). From the observations follows a confidence region of (t, γ)
for each 1 - ε, in it the lowest L, and so a careful chance of being right α = max over ε of (1 - ε) L. Exploring (asking the model,
counted as right) with a chance of at least τ = 1 - δ / (1 - α) keeps the errors among *all requests* within δ. What is explored is
observed, and stored.

Two readings. `Rule` is the paper's. Its δ is not a share of the hits, so `Estimate` takes its α for a confidence of each hit instead and
serves from a level on: the same learning, under a budget as ours.

The region: all (t, γ) of a grid whose log likelihood lies within -log ε of the best, which is the likelihood-ratio region (χ² with two
degrees of freedom has the survival function exp(-x / 2)). The grid bounds the steepness, so separable observations need no prior.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from loadtest.rivals.replay import Store, TakesAll

_BOUNDARIES = np.linspace(0.0, 1.2, 37)  # t: from "right at any cosine" to "never right"
_STEEPNESS = np.geomspace(5.0, 200.0, 9)  # γ: from a slope over half the range to a step
_MOST_CERTAIN = 1.0 - 1e-9  # the rule divides by 1 - α
_T, _GAMMA = (axis.ravel() for axis in np.meshgrid(_BOUNDARIES, _STEEPNESS))


class Observations:
    """What was seen of the questions nearest to one stored question."""

    def __init__(self) -> None:
        self._log_likelihood = np.zeros(len(_T))

    def add(self, similarity: float, *, is_right: bool) -> None:
        """Learn that the answer was or was not right at a cosine."""
        log_odds = _GAMMA * (similarity - _T)
        self._log_likelihood -= np.logaddexp(0.0, -log_odds if is_right else log_odds)

    def careful_chance(self, similarity: float) -> float:
        """α: the chance in [0, 1) that the answer is right at a cosine, with every doubt counted against it."""
        order = np.argsort(-self._log_likelihood)
        behind = self._log_likelihood[order[0]] - self._log_likelihood[order]
        chance: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-_GAMMA[order] * (similarity - _T[order])))
        careful = float(np.max((1.0 - np.exp(-behind)) * np.minimum.accumulate(chance)))
        return min(careful, _MOST_CERTAIN)


class _VCache(TakesAll):
    """What both readings share.

    Args:
        answer: int64 (texts,), the truth that exploring shows.
    """

    def __init__(self, answer: NDArray[np.int64]) -> None:
        self._answer = answer
        self._seen: dict[int, Observations] = {}

    def look_up(self, asked: int, store: Store) -> int | None:
        """Serve the nearest text, or explore and learn."""
        near = store.nearest(asked)
        if near is None:
            return None
        text, similarity = near
        seen = self._seen.get(text)
        if self._exploits(seen.careful_chance(similarity) if seen else 0.0):
            return text
        is_right = bool(self._answer[text] == self._answer[asked])
        self._seen.setdefault(text, Observations()).add(similarity, is_right=is_right)
        return None

    def _exploits(self, chance: float) -> bool:
        raise NotImplementedError


class Rule(_VCache):
    """The paper's rule.

    Args:
        answer: int64 (texts,), the truth that exploring shows.
        delta: share in (0, 1) of all requests that may be answered wrongly.
        seed: of the dice.
    """

    def __init__(self, answer: NDArray[np.int64], delta: float, seed: int) -> None:
        super().__init__(answer)
        self._delta = delta
        self._dice = random.Random(seed)

    def _exploits(self, chance: float) -> bool:
        return self._dice.random() > 1.0 - self._delta / (1.0 - chance)


class Estimate(_VCache):
    """Serve where the careful chance reaches a level in (0, 1)."""

    def __init__(self, answer: NDArray[np.int64], level: float) -> None:
        super().__init__(answer)
        self._level = level

    def _exploits(self, chance: float) -> bool:
        return chance >= self._level
