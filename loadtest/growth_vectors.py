"""Made-up embeddings that crowd together as those of real questions do, and their true neighbours. No Redis here.

A question is a walk down a binary tree: each step adds one direction, so two questions are the more alike the later they part. A real
collection grows in this way, too: of more questions the nearest is nearer. Directions are heavier along some axes, as in real models.
`LEVELS`, `SKEW` and `SLOPE` were chosen so that 5,000 and 20,000 of these agree with as many questions of a public forum under
all-MiniLM-L6-v2 (decision 0016 has both side by side).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
DIM = 384
BLOCK = 10_000
"""Vectors made at once; block n is the same whatever was made before it."""

LEVELS = 24
SKEW = 0.65
"""How many of the questions below a branch take its busier side: topics are not equally popular."""
SLOPE = 0.4
"""Exponent by which the variance falls from axis to axis."""
OWN_SHARE = 0.06
"""Share of a vector that is no other question's."""
_POOL = 4096
"""Directions that branches draw from, two each: 16 million pairs, so that no table of all branches is needed."""
_REWORDED = 0.35
"""Length of what a rewording adds: the cosine of both is 0.94, as of everyday rewordings."""


class Space:
    """One world of questions. Two of the same seed are the same."""

    def __init__(self, seed: int = 6) -> None:
        self._seed = seed
        random = np.random.default_rng([seed, 0])
        variances = np.arange(2, DIM + 2) ** -SLOPE / (1 + (np.arange(DIM) / 200) ** 4)
        self._scale = np.sqrt(variances / variances.sum()).astype(np.float32)
        self._pool = random.standard_normal((_POOL, DIM), dtype=np.float32) * self._scale

    def block(self, number: int) -> tuple[Vectors, NDArray[np.uint64]]:
        """Questions `number * BLOCK` and following: float32 (BLOCK, DIM), rows L2-normalised; and where each stands in the tree."""
        random = np.random.default_rng([self._seed, 1, number])
        place = np.ones(BLOCK, dtype=np.uint64)
        vectors = np.sqrt(np.float32(OWN_SHARE)) * self._noise(random, BLOCK)
        step = np.sqrt(np.float32((1 - OWN_SHARE) / LEVELS / 2))
        for _ in range(LEVELS):
            place = place * np.uint64(2) + (random.random(BLOCK) > SKEW).astype(np.uint64)
            mixed = _mixed(place)
            vectors += step * (
                self._pool[mixed % np.uint64(_POOL)] + self._pool[(mixed >> np.uint64(20)) % np.uint64(_POOL)]
            )
        return _unit(vectors), place

    def vectors(self, count: int) -> Vectors:
        """The first `count` questions: float32 (count, DIM)."""
        return np.concatenate([self.block(number)[0] for number in range(-(-count // BLOCK))])[:count]

    def asked(self, count: int) -> Vectors:
        """Questions to look up: every other one a rewording of one of the first thousand, the rest nobody's. float32 (count, DIM)."""
        random = np.random.default_rng([self._seed, 2])
        stored, fresh = self.block(0)[0][:1000], self.block(10**6)[0]
        asked = fresh[:count].copy()
        asked[::2] = stored[random.permutation(1000)[: len(asked[::2])]] + _REWORDED * self._noise(
            random, len(asked[::2])
        )
        return _unit(asked)

    def _noise(self, random: np.random.Generator, count: int) -> Vectors:
        noise: Vectors = random.standard_normal((count, DIM), dtype=np.float32) * self._scale
        return noise


class TrueNeighbours:
    """The nearest stored vectors of some questions by looking at all of them, block by block."""

    def __init__(self, asked: Vectors, k: int) -> None:
        self._asked = asked
        self.ids = np.full((len(asked), k), -1, dtype=np.int64)
        self.cosines = np.full((len(asked), k), -2, dtype=np.float32)

    def add(self, first_id: int, vectors: Vectors, is_in: NDArray[np.bool_] | None = None) -> None:
        """Look at the vectors of the ids from `first_id` on; those that `is_in` leaves out do not count."""
        cosines = self._asked @ vectors.T
        if is_in is not None:
            cosines[:, ~is_in] = -2
        ids = np.broadcast_to(np.arange(first_id, first_id + len(vectors)), cosines.shape)
        cosines, ids = np.concatenate([self.cosines, cosines], axis=1), np.concatenate([self.ids, ids], axis=1)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : self.ids.shape[1]]
        self.cosines, self.ids = np.take_along_axis(cosines, best, 1), np.take_along_axis(ids, best, 1)


def topic_of(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The first three steps of each walk, 8 to 15: 8 is the busiest topic with a quarter of all questions, 15 the rarest."""
    return places >> np.uint64(LEVELS - 3)


def recall(found: list[list[int]], true_ids: NDArray[np.int64], k: int) -> float:
    """Share of the `k` true neighbours that were among the first `k` found, over all questions; 1 where there are none."""
    wanted = [{int(each) for each in row[:k] if each >= 0} for row in true_ids]
    hits = sum(len(want & set(got[:k])) for got, want in zip(found, wanted, strict=True))
    return hits / sum(map(len, wanted)) if any(wanted) else 1.0


def _mixed(place: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number that looks random, the same for the same place (SplitMix64's way of mixing)."""
    mixed = place * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(29))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
