"""What the contenders' tests make up: a stand-in verifier, a calibration that follows it, vectors that lie near each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from embeddings.verifier import Score
from loadtest.rivals.deja import Judge
from proxy.core.confidence import FEATURES, Calibration
from proxy.core.gates import HARD, GateReason


class WordsInCommon:
    """A verifier that counts common words, and remembers what it was asked."""

    fingerprint = "words-1"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        self.asked += pairs
        words = [[set(text.lower().split()) for text in pair] for pair in pairs]
        return [Score(12.0 * len(a & b) / len(a | b) - 6.0, 9, is_truncated=False) for a, b in words]

    def close(self) -> None:
        """Nothing to let go."""


def calibration() -> Calibration:
    """Confidence that follows the logit, if the cosine is not below zero; soft objections weigh nothing."""
    return Calibration(
        scale="test",
        bias=0.0,
        weights=tuple(1.0 if name in {"logit", "similarity"} else 0.0 for name in FEATURES),
        objections={reason.value: 0.0 for reason in GateReason if reason not in HARD},
        knots=((-12.0, 0.0), (12.0, 1.0)),
        levels=((0.005, 0.9), (0.01, 0.85), (0.02, 0.8), (0.05, 0.7)),
    )


MakeJudge = Callable[..., Judge]


def unit_vectors(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Vectors in a narrow cone, so that cosines spread over the upper range."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, dim)) + 1.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
