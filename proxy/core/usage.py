"""What a call used, in tokens, whatever the wire format its provider tells it in. Pure; what tokens cost is in `prices`.

OpenAI's `prompt_tokens` hold the cached, image and audio ones; Anthropic's `input_tokens` hold neither those read from its prompt
cache nor those written to it. Here all are in `input_tokens`, and the kinds that may have a price of their own beside them. LiteLLM
tells Anthropic's counts in OpenAI's shape, cached and written ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import orjson

TIERS = frozenset({"batch", "flex", "priority", "balanced", "fast", "ultrafast"})
"""Service tiers that may have prices of their own; `default`, `auto`, `standard` and unknown ones are the list price."""
_MAX_TOKENS = 1 << 40
"""More is no count of tokens: the largest context is some 10^7, and counters in Redis end at 2^63."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call.

    Attributes:
        input_tokens: all that went in.
        output_tokens: all that came out.
        cached_tokens: of the input, those the provider had in its own prompt cache.
        written_tokens: of the input, those it put there (Anthropic charges for it).
        written_1h_tokens: of the written ones, those for an hour instead of five minutes.
        input_audio_tokens: of the input, and neither cached nor written.
        input_image_tokens: the same for images.
        output_audio_tokens: of the output.
        reasoning_tokens: of the output.
        tier: the service tier it ran in where that has a price, else "".
        model: the name the provider answered under, "" if it said none.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    reasoning_tokens: int = 0
    tier: str = ""
    model: str = ""

    def in_tier(self, tier: object) -> Usage:
        """The same tokens in the tier that a request names; "auto" and nothing leave what the provider said."""
        if not isinstance(tier, str) or tier == "auto":
            return self
        wanted = tier if tier in TIERS else ""
        return self if wanted == self.tier else replace(self, tier=wanted)

    def to_wire(self) -> bytes:
        """As it is stored with an answer: a JSON array, in the order of the fields."""
        return orjson.dumps(astuple(self))


_TYPES = tuple(type(field.default) for field in fields(Usage))


def from_wire(raw: bytes) -> Usage | None:
    """Read what `to_wire` wrote; None for b"" and for what another version wrote."""
    if not raw:
        return None
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, list) or tuple(map(type, values)) != _TYPES:
        return None
    return Usage(*values)


def usage_of(told: Mapping[str, Any] | None, *, body: Mapping[str, Any]) -> Usage | None:
    """Read a provider's usage.

    Args:
        told: its `usage` object, in the shape of chat completions, responses, messages or embeddings.
        body: the answer around it, which names model and service tier; a stream that was kept as one has chunks.

    Returns:
        None where there is none, or one whose counts cannot be.
    """
    if not told:
        return None
    counts = _openai(told) if "prompt_tokens" in told else _input_output(told)
    if counts is None or not _are_possible(counts):
        return None
    tier, model = told.get("service_tier") or _told(body, "service_tier"), _told(body, "model")
    return replace(
        counts,
        tier=tier if isinstance(tier, str) and tier in TIERS else "",
        model=model if isinstance(model, str) else "",
    )


def _openai(told: Mapping[str, Any]) -> Usage | None:
    """`prompt_tokens` and `completion_tokens`: chat completions, completions, embeddings, and all that LiteLLM makes."""
    prompt, completion = _object(told, "prompt_tokens_details"), _object(told, "completion_tokens_details")
    written, written_1h = _written(told)
    asked, said = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    reasoning = completion.get("reasoning_tokens")
    if all(type(count) is int for count in (asked, said, reasoning)) and reasoning:
        beside = asked + said + reasoning == told.get("total_tokens")
        said += reasoning if beside else 0  # xAI counts reasoning beside the completion, not in it
    return _usage(
        asked,
        said,
        cached=prompt.get("cached_tokens") or told.get("prompt_cache_hit_tokens"),  # the latter is DeepSeek's name
        written=written or prompt.get("cache_creation_tokens"),
        written_1h=written_1h,
        input_audio=prompt.get("audio_tokens"),
        input_image=prompt.get("image_tokens"),
        output_audio=completion.get("audio_tokens"),
        reasoning=reasoning,
    )


def _input_output(told: Mapping[str, Any]) -> Usage | None:
    """`input_tokens` and `output_tokens`: OpenAI's responses, which count cached ones in, and Anthropic's messages, which do not."""
    inner, outer = _object(told, "input_tokens_details"), _object(told, "output_tokens_details")
    written, written_1h = _written(told)
    read = told.get("cache_read_input_tokens")
    asked = told.get("input_tokens")
    if type(asked) is int:
        asked += sum(count for count in (read, written) if type(count) is int)
    return _usage(
        asked,
        told.get("output_tokens", 0),
        cached=read or inner.get("cached_tokens"),
        written=written or inner.get("cache_write_tokens"),
        written_1h=written_1h,
        input_audio=inner.get("audio_tokens"),
        input_image=inner.get("image_tokens"),
        output_audio=outer.get("audio_tokens"),
        reasoning=outer.get("reasoning_tokens"),
    )


def _written(told: Mapping[str, Any]) -> tuple[Any, Any]:
    """Tokens put into Anthropic's prompt cache, and those of them for an hour."""
    return told.get("cache_creation_input_tokens"), _object(told, "cache_creation").get("ephemeral_1h_input_tokens")


def _usage(asked: Any, said: Any, **kinds: Any) -> Usage | None:
    if type(asked) is not int or type(said or 0) is not int:
        return None
    counts = {name: count if type(count) is int else 0 for name, count in kinds.items()}
    # Where some of the sound was cached, it is counted in both; what is left over was cached for the most part.
    left = max(0, asked - counts["cached"] - counts["written"])
    audio = min(counts["input_audio"], left)
    return Usage(
        input_tokens=asked,
        output_tokens=said or 0,
        cached_tokens=counts["cached"],
        written_tokens=counts["written"],
        written_1h_tokens=counts["written_1h"],
        input_audio_tokens=audio,
        input_image_tokens=min(counts["input_image"], left - audio),
        output_audio_tokens=counts["output_audio"],
        reasoning_tokens=counts["reasoning"],
    )


def _are_possible(usage: Usage) -> bool:
    """No count is negative or beyond reason, and parts are within their wholes: a price times nonsense is no cost."""
    counts = [value for value in astuple(usage) if isinstance(value, int)]
    return (
        all(0 <= count <= _MAX_TOKENS for count in counts)
        and usage.cached_tokens + usage.written_tokens <= usage.input_tokens
        and usage.written_1h_tokens <= usage.written_tokens
        and usage.output_audio_tokens + usage.reasoning_tokens <= usage.output_tokens
    )


def _told(body: Mapping[str, Any], name: str) -> Any:
    """A field of an answer, or of the first chunk of one that was kept as a stream."""
    if name in body:
        return body[name]
    chunks = body.get("chunks")
    return chunks[0].get(name) if isinstance(chunks, list) and chunks and isinstance(chunks[0], Mapping) else None


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}
