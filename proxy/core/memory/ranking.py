"""The order of what was found: meaning, words, both, and how new it is; every score in [0, 1], higher is better.

By meaning the score is the cosine, by words RediSearch's BM25 brought to [0, 1) by `word_score`. A hybrid search adds the two, weighted;
what only one of the two searches found has 0 in the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from proxy.core.memory.records import Recency, Search, SearchMode

DAY_S = 86_400.0
HALF_BM25 = 10.0
"""BM25 has no upper end. The best hit of a question has 13 to 16 in the median, and then weighs as much as a good cosine. Of four ways to
make the two comparable (this, against the best hit, min-max, ranks) it was the best or next to it at every share (decision 0013)."""


class Dated(Protocol):
    """What is ranked: a memory, or its `Seat`."""

    @property
    def memory_id(self) -> str:
        """Its id."""

    @property
    def created_at(self) -> float:
        """Unix seconds."""

    @property
    def accessed_at(self) -> float:
        """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What ranking needs to know of a memory: many are ranked for each that is shown.

    Attributes:
        memory_id: its id.
        created_at, accessed_at: unix seconds.
    """

    memory_id: str
    created_at: float
    accessed_at: float


Ranked = TypeVar("Ranked", bound=Dated)


def cosine_score(distance: float) -> float:
    """A cosine distance in [0, 2] as a score."""
    return min(1.0, max(0.0, 1.0 - distance))


def word_score(bm25: float) -> float:
    """RediSearch's BM25, 0 or more, as a score; half of what can be had at `HALF_BM25`."""
    return max(0.0, bm25) / (max(0.0, bm25) + HALF_BM25)


def recency(memory: Dated, wanted: Recency, *, now: float) -> float:
    """How new a memory is and how lately it was used, in [0, 1]; each counts half after its half-life."""
    freshness = _decayed(now - memory.accessed_at, wanted.half_life_accessed_days)
    novelty = _decayed(now - memory.created_at, wanted.half_life_created_days)
    return min(1.0, max(0.0, wanted.freshness_weight * freshness + wanted.novelty_weight * novelty))


def _decayed(age_s: float, half_life_days: float) -> float:
    return math.exp2(-max(0.0, age_s) / DAY_S / max(half_life_days, 0.001))


def joined(
    near: Sequence[tuple[Ranked, float]], said: Sequence[tuple[Ranked, float]], wanted: Search
) -> list[tuple[Ranked, float, float]]:
    """(memory, score, distance) of what was found, each memory once.

    Args:
        near: by meaning, with cosine distances.
        said: by words, with BM25 scores.
        wanted: what was searched for; a hybrid search adds the two scores, by its weights.
    """
    if wanted.mode is SearchMode.SEMANTIC:
        return [(memory, cosine_score(distance), distance) for memory, distance in near]
    share = wanted.semantic_share if wanted.mode is SearchMode.HYBRID else 0.0
    memories = {memory.memory_id: memory for memory, _ in (*near, *said)}
    scores = dict.fromkeys(memories, 0.0)
    for memory, distance in near:
        scores[memory.memory_id] += share * cosine_score(distance)
    for memory, bm25 in said:
        scores[memory.memory_id] += (1.0 - share) * word_score(bm25)
    return [(memories[memory_id], score, 1.0 - score) for memory_id, score in scores.items()]


def ranked(
    found: Sequence[tuple[Ranked, float, float]], wanted: Search, *, now: float
) -> list[tuple[Ranked, float, float]]:
    """Put (memory, score, distance) in order, boosted by recency where that is wanted; of equals the newer one first.

    Returns:
        (memory, distance, what it was ranked by), best first.
    """
    boost, placed = wanted.recency, []
    for memory, score, distance in found:
        by = score
        if boost is not None:
            by = boost.semantic_weight * score + boost.recency_weight * recency(memory, boost, now=now)
        placed.append((memory, distance, by))
    return sorted(placed, key=lambda one: (-one[2], -one[0].created_at, one[0].memory_id))


def is_deep(wanted: Search) -> bool:
    """Whether many more are ranked than are shown."""
    return wanted.recency is not None or wanted.mode is SearchMode.HYBRID


def depth(wanted: Search) -> int:
    """How many the index is asked for: one more than shown, so that the end is known, and more where they are ranked anew."""
    end = wanted.offset + wanted.limit + 1
    return max(4 * end, 40) if is_deep(wanted) else end
