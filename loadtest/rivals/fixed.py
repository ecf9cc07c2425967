"""One threshold for everything: cosine, and GPTCache's evaluators by their documented formulas.

GPTCache's distance evaluation scores a candidate 4 - d² (d: Euclidean distance of unit vectors, so d² = 2 - 2 cosine) and accepts from
`similarity_threshold` x 4: a cosine of 2 x threshold - 1, so 0.6 at its default 0.8. Its k-reciprocal evaluation besides wants the
question to be among the k nearest of the candidate. Its model evaluators (ALBERT, a Quora cross-encoder) need weights from a model hub.
"""

from __future__ import annotations

from loadtest.rivals.replay import Store, TakesAll

GPTCACHE_MAX_DISTANCE = 4.0
GPTCACHE_DEFAULT = 0.8
GPTCACHE_TOP_K = 3  # the k of its k-reciprocal evaluation, by default


class Cosine(TakesAll):
    """Serve the nearest text from a cosine on."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def look_up(self, asked: int, store: Store) -> int | None:
        """Serve the nearest text, if it is near enough."""
        near = store.nearest(asked)
        return near[0] if near is not None and near[1] >= self._threshold else None


class GPTCache(TakesAll):
    """Serve the nearest text from a score on.

    Args:
        threshold: its `similarity_threshold`, in [0, 1]; above 1 nothing is served.
        reciprocal: whether to ask the k-reciprocal evaluation, too.
    """

    def __init__(self, threshold: float, *, reciprocal: bool) -> None:
        self._threshold = threshold
        self._reciprocal = reciprocal

    def look_up(self, asked: int, store: Store) -> int | None:
        """Serve the nearest text, if its score suffices."""
        near = store.nearest(asked)
        if near is None:
            return None
        text, similarity = near
        if self._reciprocal and store.nearer_than(text, similarity) >= GPTCACHE_TOP_K:
            return None
        squared_distance = min(GPTCACHE_MAX_DISTANCE, max(0.0, 2.0 - 2.0 * similarity))
        return text if GPTCACHE_MAX_DISTANCE - squared_distance >= self._threshold * GPTCACHE_MAX_DISTANCE else None
