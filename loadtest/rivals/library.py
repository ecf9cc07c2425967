"""redisvl's SemanticCache itself, on a real Redis: given the same vectors as everybody, and a distance threshold.

It has no entry of its own for "same text", keeps an entry's place by a hash of its prompt, and answers with every entry within the
distance, nearest first; we take the first, as its callers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.rivals.replay import Store

_LARGEST_DISTANCE = 2.0  # of cosine in Redis


class RedisVL:
    """One cache of its own, empty at first.

    Args:
        redis_url: of a Redis with RediSearch.
        name: of the cache's index; whatever bears it already is dropped.
        texts: of the stream.
        vectors: float32 (texts, dim), rows L2-normalised.
        threshold: cosine from which an answer is served.
    """

    def __init__(
        self, redis_url: str, name: str, texts: Sequence[str], vectors: NDArray[np.float32], threshold: float
    ) -> None:
        from redisvl.extensions.cache.llm import SemanticCache
        from redisvl.utils.vectorize import CustomVectorizer

        self._texts = texts
        self._vectors = vectors
        self._distance = min(_LARGEST_DISTANCE, 1.0 - threshold)
        unused = vectors[0].tolist()
        self._cache: Any = SemanticCache(
            name=name,
            distance_threshold=max(0.0, self._distance),
            vectorizer=CustomVectorizer(embed=lambda _text: unused),
            redis_url=redis_url,
            overwrite=True,
        )

    def look_up(self, asked: int, store: Store) -> int | None:  # noqa: ARG002  (it has a store of its own)
        """Ask the library."""
        if self._distance < 0:
            return None
        found = self._cache.check(vector=self._vectors[asked].tolist())
        return int(found[0]["response"]) if found else None

    def take_in(self, text: int) -> bool:
        """Store the text in the library's cache, its place in the stream for an answer."""
        self._cache.store(self._texts[text], str(text), vector=self._vectors[text].tolist())
        return True

    def close(self) -> None:
        """Drop the cache and let the connection go."""
        self._cache.delete()
        self._cache.disconnect()
