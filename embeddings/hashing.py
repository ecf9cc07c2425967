"""A deterministic embedder without a model, for tests: it knows words and pieces of words, not meaning.

Each feature of a text (its words, their three-letter pieces, neighbouring word pairs) is hashed to a place and a sign
in the vector. Texts that share features are near each other; texts that share none are almost orthogonal.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from embeddings.base import Embedding, make_fingerprint, unit_vector

_WORD = re.compile(r"\w+|[^\w\s]")
# Words weigh most, so that a reordering stays near and a changed word shows; the rest breaks ties.
_WORD_WEIGHT, _PIECE_WEIGHT, _PAIR_WEIGHT = 1.0, 0.3, 0.3
# In every vector, so that a text without features has a direction; too small to move any other.
_PRESENCE_WEIGHT = 1e-3


class HashingEmbedder:
    """Feature hashing of words.

    Args:
        dim: length of the vectors.
        max_tokens: words read of one text.
    """

    def __init__(self, *, dim: int = 384, max_tokens: int = 256) -> None:
        self._dim = dim
        self._max_tokens = max_tokens
        self._fingerprint = make_fingerprint(
            "hashing", dim=dim, precision="fp32", pooling="none", revision=f"1/{max_tokens}"
        )

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self._dim

    @property
    def max_tokens(self) -> int:
        """Words read of one text."""
        return self._max_tokens

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed the texts, in order."""
        return [self._embed_one(text) for text in texts]

    def close(self) -> None:
        """Do nothing."""

    def _embed_one(self, text: str) -> Embedding:
        words = _WORD.findall(text.lower())
        vector = np.zeros(self._dim, np.float32)
        vector[0] = _PRESENCE_WEIGHT
        for feature, weight in _features(words[: self._max_tokens]):
            digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            number = int.from_bytes(digest, "big")
            vector[(number >> 1) % self._dim] += weight if number & 1 else -weight
        return Embedding(unit_vector(vector), min(len(words), self._max_tokens), len(words) > self._max_tokens)


def _features(words: Sequence[str]) -> Iterator[tuple[str, float]]:
    for word in words:
        yield f"word:{word}", _WORD_WEIGHT
        padded = f"^{word}$"
        for start in range(len(padded) - 2):
            yield f"piece:{padded[start : start + 3]}", _PIECE_WEIGHT
    for left, right in itertools.pairwise(words):
        yield f"pair:{left} {right}", _PAIR_WEIGHT
