"""A request for embeddings in canonical form: its inputs one by one, and what makes their vectors different.

Each input is a question of its own: a text or a list of tokens, compared exactly as sent. Everything else is *keyed*, a field that
nobody has heard of too, but for what changes only how the answer is delivered or filed. Not here: answers (`core.embedding_answers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core import keys
from proxy.core.canonical import IGNORED_FIELDS, OWN_FIELDS

Input = str | list[int]
"""A text, or the tokens of one."""

MAX_INPUTS = 2048
"""OpenAI's own limit to a batch; longer ones pass through, and whoever serves them may."""
_FORMATS = (None, "float", "base64")
_NOT_KEYED = IGNORED_FIELDS | OWN_FIELDS | {"input", "encoding_format"}


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A request whose inputs can be told apart.

    Attributes:
        model: the model asked for.
        keyed: every keyed field, the model among them, as sent.
        inputs: in the order sent; at least one.
        is_batch: they were sent as a list, so that some of them can be asked for.
        as_base64: vectors are wanted as base64 of float32, else as decimals.
    """

    model: str
    keyed: dict[str, Any]
    inputs: tuple[Input, ...]
    is_batch: bool
    as_base64: bool


def read_request(body: Mapping[str, Any], *, key_user: bool = True) -> EmbeddingRequest | None:
    """Bring a parsed request body into canonical form; None where it says what Deja does not know, or the provider should refuse.

    Args:
        body: the JSON object; not changed.
        key_user: whether the `user` field keeps answers apart.
    """
    model, given, wanted = body.get("model"), body.get("input"), body.get("encoding_format")
    if not isinstance(model, str) or not model or wanted not in _FORMATS:
        return None
    is_batch = isinstance(given, list) and not _is_tokens(given)
    inputs = tuple(given) if isinstance(given, list) and is_batch else (given,)
    if not 0 < len(inputs) <= MAX_INPUTS or not all(isinstance(one, str) or _is_tokens(one) for one in inputs):
        return None
    ignored = _NOT_KEYED if key_user else _NOT_KEYED | {"user"}
    keyed = {name: value for name, value in body.items() if name not in ignored}
    return EmbeddingRequest(model, keyed, inputs, is_batch, wanted == "base64")


def embedding_keys(room: str, inputs: tuple[Input, ...]) -> list[str]:
    """Redis key of each input's vector."""
    return [keys.embedding_key(room, one) for one in inputs]


def body_for(body: Mapping[str, Any], positions: list[int]) -> bytes:
    """The request for some inputs of a batch alone, without the fields that speak to Deja."""
    left = {name: value for name, value in body.items() if name not in OWN_FIELDS}
    return keys.encode({**left, "input": [body["input"][position] for position in positions]})


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
