"""Embeddings as they travel and as they are kept: JSON <-> vectors, without losing a bit.

A provider sends a vector as base64 of float32, or as decimals. Decimals are kept as float32 where they are one in another spelling:

    single    the shortest decimals that name this float32      0.0023064255
    double    its exact value as a double; base64 comes so too  0.002306425478309393
    float64   decimals that say more than a float32 can         0.0023064255100000001

What is kept as `single` or `double` answers both ways: the base64 is the float32, the decimals are those that came (of base64: its exact
values, which is what clients make of it). `float64` answers as decimals only; as `decimals`, where the provider sent these although base64
was asked for, it answers that wish the same way again.

Vectors are held as bytes, little-endian, IEEE 754.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import orjson

from proxy.core.embedding_requests import Input
from proxy.core.token_estimate import text_tokens

_KNOWN = frozenset({"object", "data", "model", "usage", "id", "created"})
"""What an answer may hold and still be put together again: `id` and `created` name the call, and vLLM sends them."""
_KNOWN_OF_ITEM = frozenset({"object", "index", "embedding"})
_AS_ARRAYS = orjson.OPT_SERIALIZE_NUMPY
_FLOAT32, _FLOAT64 = np.dtype("<f4"), np.dtype("<f8")


class Form(StrEnum):
    """How a vector's bytes are to be read, and in which ways it answers."""

    SINGLE = "single"
    DOUBLE = "double"
    FLOAT64 = "float64"
    DECIMALS = "decimals"


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector.

    Attributes:
        data: float32 or float64, as the form says.
        form: see `Form`.
    """

    data: bytes
    form: Form

    @property
    def dims(self) -> int:
        """How many numbers it has."""
        return len(self.data) // (4 if self.form in (Form.SINGLE, Form.DOUBLE) else 8)

    def can_answer(self, *, as_base64: bool) -> bool:
        """Whether it can be sent so without loss."""
        return not (as_base64 and self.form is Form.FLOAT64)

    def sent(self, *, as_base64: bool) -> Any:
        """The value of `embedding`: base64, or an array that is written as decimals."""
        if self.form in (Form.FLOAT64, Form.DECIMALS):
            return np.frombuffer(self.data, dtype=_FLOAT64)
        if as_base64:
            return base64.b64encode(self.data).decode("ascii")
        single = np.frombuffer(self.data, dtype=_FLOAT32)
        return single if self.form is Form.SINGLE else single.astype(_FLOAT64)


@dataclass(frozen=True, slots=True)
class StoredEmbedding:
    """A vector that is kept.

    Attributes:
        entry_id: `emb_…`, of its room and input.
        vector: what it is.
        model: the provider's name for what made it: a vector of another model means nothing beside it.
        tokens: what the input cost.
        is_estimated: the provider counted a whole batch, or nothing; this is our share of it.
        created_at: unix time in seconds.
        ttl_s: seconds it stays fresh.
        tags: the caller's labels.
    """

    entry_id: str
    vector: Vector
    model: str
    tokens: int
    is_estimated: bool
    created_at: float
    ttl_s: int
    tags: tuple[str, ...] = ()

    def age_s(self, now_s: float) -> int:
        """Whole seconds since it was stored, never negative."""
        return max(0, int(now_s - self.created_at))

    def remaining_s(self, now_s: float) -> int:
        """Whole seconds it stays fresh, 0 when stale."""
        return max(0, self.ttl_s - self.age_s(now_s))


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """A provider's answer, taken apart.

    Attributes:
        body: the parsed JSON.
        model: the provider's name for the model.
        values: each input's `embedding` as sent, in the order of the inputs.
        tokens: what the inputs cost together, None where the provider does not say.
    """

    body: dict[str, Any]
    model: str
    values: tuple[Any, ...]
    tokens: int | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing would be lost if it were taken apart and put together again."""
        items = self.body["data"]
        return self.body.keys() <= _KNOWN and all(item.keys() <= _KNOWN_OF_ITEM for item in items)


def read_answer(raw: bytes, count: int) -> EmbeddingAnswer | None:
    """Take an answer to `count` inputs apart; None where it is no list of so many vectors."""
    try:
        body = orjson.loads(raw)
        items = body["data"]
        by_index = {item["index"]: item["embedding"] for item in items}
        model, usage = body["model"], body.get("usage")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if len(items) != count or by_index.keys() != set(range(count)) or not isinstance(model, str):
        return None
    return EmbeddingAnswer(body, model, tuple(by_index[index] for index in range(count)), _tokens_of(usage))


def read_vector(value: Any, *, as_base64: bool) -> Vector | None:
    """One `embedding` as it is kept; None where it is no vector of finite numbers.

    Args:
        value: base64 or a list of numbers.
        as_base64: base64 had been asked for.
    """
    if isinstance(value, str):
        return _from_base64(value)
    return _from_decimals(value, as_base64=as_base64) if isinstance(value, list) else None


def share_tokens(total: int | None, inputs: Sequence[Input]) -> tuple[list[int], bool]:
    """What each input cost, and whether that is our own reckoning.

    The shares of a batch add up to what the provider counted: by tokens where these were sent, by characters else.
    """
    if total is None:
        return [text_tokens(one) if isinstance(one, str) else len(one) for one in inputs], True
    weights = [max(1, len(one)) for one in inputs]
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    # What is left after rounding down goes to those who lost most by it; ties to the first.
    lost = sorted(range(len(inputs)), key=lambda index: -(total * weights[index] % whole))
    for index in lost[: total - sum(shares)]:
        shares[index] += 1
    is_exact = len(inputs) == 1 or (total == whole and not any(isinstance(one, str) for one in inputs))
    return shares, not is_exact


def kin(found: Sequence[StoredEmbedding | None]) -> list[StoredEmbedding | None]:
    """Those that one model made, in their places: the newest one's; two models' vectors are never handed out side by side."""
    known = [one for one in found if one is not None]
    if not known:
        return list(found)
    newest = max(known, key=lambda one: one.created_at)
    return [one if one is not None and is_kin(one, newest.model, newest.vector.dims) else None for one in found]


def is_kin(one: StoredEmbedding, model: str, dims: int) -> bool:
    """Whether a vector is of this model and length."""
    return one.model == model and one.vector.dims == dims


def render(found: Sequence[StoredEmbedding], *, as_base64: bool) -> bytes:
    """An answer made of stored vectors alone."""
    tokens = sum(one.tokens for one in found)
    return orjson.dumps(
        {
            "object": "list",
            "data": _items([one.vector.sent(as_base64=as_base64) for one in found]),
            "model": found[0].model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        option=_AS_ARRAYS,
    )


def complete(
    answer: EmbeddingAnswer, found: Sequence[StoredEmbedding | None], *, tokens: int, as_base64: bool
) -> bytes:
    """A provider's answer for the missing inputs, with the stored vectors put in their places and their tokens added.

    Args:
        answer: for the inputs of which nothing was found, in their order.
        found: what was, each in its place.
        tokens: what the missing inputs cost.
        as_base64: how the vectors are wanted.
    """
    fresh = iter(answer.values)
    values = [next(fresh) if one is None else one.vector.sent(as_base64=as_base64) for one in found]
    tokens += sum(one.tokens for one in found if one is not None)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({**answer.body, "data": _items(values), "usage": usage}, option=_AS_ARRAYS)


def _items(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(values)]


def _tokens_of(usage: Any) -> int | None:
    if not isinstance(usage, dict):
        return None
    tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
    return tokens if type(tokens) is int and tokens >= 0 else None


def _from_base64(text: str) -> Vector | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not data or len(data) % 4 or not np.isfinite(np.frombuffer(data, dtype=_FLOAT32)).all():
        return None
    return Vector(data, Form.DOUBLE)


def _from_decimals(numbers: list[Any], *, as_base64: bool) -> Vector | None:
    try:
        given = np.array(numbers)
    except ValueError:  # lists of different lengths inside
        return None
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "fiu":
        return None
    double = given.astype(_FLOAT64)
    with np.errstate(over="ignore"):
        single = double.astype(_FLOAT32)
    if np.array_equal(single.astype(_FLOAT64), double):
        return Vector(single.tobytes(), Form.DOUBLE)
    if np.isfinite(single).all() and np.array_equal(_spelt(single), double):
        return Vector(single.tobytes(), Form.SINGLE)
    return Vector(double.tobytes(), Form.DECIMALS if as_base64 else Form.FLOAT64)


def _spelt(single: Any) -> Any:
    """What is read of float32s that were written as the shortest decimals."""
    return np.array(orjson.loads(orjson.dumps(single, option=_AS_ARRAYS)), dtype=_FLOAT64)
