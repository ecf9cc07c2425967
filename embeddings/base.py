"""What every embedder is: the `Embedder` protocol, its result, and the naming of vector spaces.

No model lives here. An embedder is synchronous and thread-safe; `embeddings.batching` puts one behind an event loop.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import EmbedderError

Vector = NDArray[np.float32]
Precision = Literal["int8", "fp32"]
"""How an exported model holds its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One text's place in the vector space, and how much of the text the model really read.

    Args:
        vector: float32 (dim,), L2-normalised, read-only (it is shared between callers).
        tokens: tokens the model read, its special ones included; an estimate for remote models.
        is_truncated: the text was longer than the model reads, so the vector speaks for its beginning only.
        unknown_tokens: words or characters in what was read that the model has no token for. It saw a placeholder:
            two texts that differ only there get the same vector. Always 0 where the model cannot tell.
        earlier: the text's place in a second space, where two embedders are asked at once because one replaces the other; else None.
    """

    vector: Vector
    tokens: int
    is_truncated: bool
    unknown_tokens: int = 0
    earlier: Vector | None = None


ALONE = 0.5
"""By how much lower a logit counts that the first order of a pair said by itself."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the verifier says of one pair.

    Args:
        logit: higher is surer that the answer serves; the mean of both orders of the texts, or what the one order says that was asked for;
            -inf when the pair was not read whole.
        tokens: tokens of the pair, special ones included; 0 when it was too long to count.
        is_truncated: the pair is longer than the model reads, so it was not judged.
        gap: by how much the first order's logit lies above the second's; 0 where one order was read.
    """

    logit: float
    tokens: int
    is_truncated: bool
    gap: float = 0.0

    @property
    def lower_logit(self) -> float:
        """The logit of the order that is less sure."""
        return self.logit - abs(self.gap) / 2

    @property
    def decisive_logit(self) -> float:
        """What a hit is decided by: the mean of both orders, or what the first one says by itself, `ALONE` lower, if that is more.

        So a first order that is sure enough settles it, and the second need not be read (decision 0010).
        """
        return max(self.logit, self.logit + self.gap / 2 - ALONE)

    def with_other_order(self, other: Score) -> Score:
        """What two scores of one order each say together."""
        if self.is_truncated or other.is_truncated:
            return Score(-math.inf, self.tokens, is_truncated=True)
        return Score((self.logit + other.logit) / 2, self.tokens, is_truncated=False, gap=self.logit - other.logit)

    @property
    def probability(self) -> float:
        """The logit as a number in [0, 1]. Not calibrated: 0.9 is not right nine times in ten."""
        if self.logit >= 0:
            return 1.0 / (1.0 + math.exp(-self.logit))
        odds = math.exp(self.logit)
        return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class OneWay:
    """A pair of questions that the verifier is to read in this order alone.

    Args:
        stored: the first.
        asked: the second.
    """

    stored: str
    asked: str


Pair = tuple[str, str] | OneWay
"""(stored question, asked question), read in both orders, or one of them."""


class Embedder(Protocol):
    """Texts to unit vectors; safe to call from several threads at once."""

    @property
    def fingerprint(self) -> str:
        """Name of the vector space, [a-z0-9-]+: vectors of two embedders compare only if it is the same."""
        ...

    @property
    def dim(self) -> int:
        """Length of every vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of one text, its special ones included."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed the texts, in order; an empty sequence gives an empty list.

        Raises:
            EmbedderError: nothing was embedded.
        """
        ...

    def close(self) -> None:
        """Release what the embedder holds; it is not used after."""
        ...


def slug(name: str) -> str:
    """Fold a model's name to [a-z0-9-]+, "model" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"


def make_fingerprint(
    name: str, *, dim: int, precision: str, pooling: str, revision: str, metric: str = "cosine"
) -> str:
    """Name a vector space; a change in any argument changes the name.

    Args:
        name: the model's name, for people.
        dim: length of the vectors.
        precision: how the weights are held ("int8", "fp32", "remote").
        pooling: how token vectors become one ("mean", "cls", "none").
        revision: all else that moves vectors, such as hashes of weights and tokenizer and the exporter's version.
        metric: the distance the vectors are made for.

    Returns:
        [a-z0-9-]+, readable parts first, then 12 hexadecimal digits over the exact arguments.
    """
    parts = (name, str(dim), precision, metric, pooling, revision)
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
    return "-".join((slug(name), str(dim), slug(precision), slug(metric), slug(pooling), digest[:12]))


def unit_vector(values: Vector) -> Vector:
    """Copy `values` to a read-only float32 vector of length 1.

    Raises:
        EmbedderError: the vector is zero or not finite, so it has no direction.
    """
    # The norm is taken in float64: squares of large float32 values overflow.
    wide = values.astype(np.float64)
    norm = float(np.linalg.norm(wide))
    if not np.isfinite(norm) or norm == 0.0:
        raise EmbedderError("the model returned a vector without a direction (zero or not finite)")
    vector = (wide / norm).astype(np.float32)
    vector.flags.writeable = False
    return vector
