"""Answers of the legacy completions API: a stream assembled into a response, a response replayed as JSON or as a stream.

A stored body is the `text_completion` object without `id` and `created`, or the provider's own chunks where a field of them is not known
(`{"chunks": [...]}`), as with chat (`core.chat_answers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import Answer, Malformed, guarded, json_object, pieces
from proxy.core.chat_answers import chunks_of, estimate_usage, kept_chunks, without_identity
from proxy.core.models import NotStored, WireMode

_TOP = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "obfuscation"}
)
_SHARED = ("model", "system_fingerprint", "service_tier")
_CHOICE = frozenset({"index", "text", "logprobs", "finish_reason"})
_LOGPROBS = frozenset({"tokens", "token_logprobs", "top_logprobs", "text_offset"})


def read_json(raw: bytes) -> Answer:
    """Take a non-streamed answer apart.

    Raises:
        Malformed: no text completion.
    """
    return guarded(lambda: _taken_apart(json_object(raw)))


def read_stream(raw: bytes, *, prompt_chars: int) -> Answer:
    """Assemble a whole stream.

    Args:
        raw: all bytes of the stream.
        prompt_chars: length of the prompt, for a usage estimate where the stream carries none.

    Raises:
        Malformed: it did not reach its end, or holds something that is no chunk.
    """
    chunks = chunks_of(raw)
    return guarded(lambda: _assembled(chunks, prompt_chars))


def _taken_apart(body: dict[str, Any]) -> Answer:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(one["text"], str) for one in choices):
        raise Malformed(NotStored.MALFORMED)
    is_known = body.keys() <= _TOP and all(map(_is_known, choices))
    usage = body.get("usage")
    return Answer(
        body=without_identity(body),
        wire=WireMode.BOTH if is_known else WireMode.JSON,
        messages=tuple(message_of(choice) for choice in choices),
        finish_reasons=tuple(choice.get("finish_reason") for choice in choices),
        has_tool_calls=False,
        usage=usage if isinstance(usage, Mapping) else None,
    )


def _assembled(chunks: list[dict[str, Any]], prompt_chars: int) -> Answer:
    choices: dict[int, dict[str, Any]] = {}
    usage: Mapping[str, Any] | None = None
    is_known = True
    body: dict[str, Any] = {"object": "text_completion"}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        is_known &= chunk.keys() <= _TOP and all(map(_is_known, chunk["choices"]))
        body |= {name: chunk[name] for name in _SHARED if chunk.get(name) is not None}
        for piece in chunk["choices"]:
            index = piece.get("index", 0)
            _add(
                choices.setdefault(index, {"text": "", "index": index, "logprobs": None, "finish_reason": None}), piece
            )
    if not choices:
        raise Malformed(NotStored.EMPTY)
    ordered = [choices[index] for index in sorted(choices)]
    is_estimated = usage is None
    if usage is None:
        usage = estimate_usage(prompt_chars, sum(len(choice["text"]) for choice in ordered))
    body |= {"choices": ordered, "usage": usage}
    if not is_known:
        body = {"chunks": [without_identity(chunk) for chunk in chunks]} | ({"usage": usage} if is_estimated else {})
    return Answer(
        body=body,
        wire=WireMode.BOTH if is_known else WireMode.STREAM,
        messages=tuple(message_of(choice) for choice in ordered),
        finish_reasons=tuple(choice["finish_reason"] for choice in ordered),
        has_tool_calls=False,
        usage=usage,
        usage_estimated=is_estimated,
    )


def _is_known(choice: Mapping[str, Any]) -> bool:
    logprobs = choice.get("logprobs")
    return choice.keys() <= _CHOICE and (logprobs is None or logprobs.keys() <= _LOGPROBS)


def _add(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    choice["text"] += piece.get("text") or ""
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    if logprobs := piece.get("logprobs"):
        kept = choice["logprobs"] = choice["logprobs"] or {}
        for name, values in logprobs.items():
            kept[name] = values if values is None else (kept.get(name) or []) + values


def message_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice in chat's shape."""
    return {"role": "assistant", "content": choice["text"]}


def stored_message(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice of a stored body in chat's shape."""
    if "chunks" not in stored:
        return message_of(stored["choices"][0])
    parts = [piece for chunk in stored["chunks"] for piece in chunk["choices"] if piece.get("index", 0) == 0]
    return message_of({"text": "".join(piece.get("text") or "" for piece in parts)})


def render_json(body: bytes, *, answer_id: str, created: int) -> bytes:
    """Replay a stored body as one JSON response with its own id and time."""
    return b'{"id":"%b","created":%d,%b' % (answer_id.encode(), created, body[1:])


def render_stream(body: bytes, *, answer_id: str, created: int, include_usage: bool) -> list[bytes]:
    """Replay a stored body as server-sent events, the closing `[DONE]` among them."""
    parsed = orjson.loads(body)
    if "chunks" in parsed:
        chunks = kept_chunks(parsed["chunks"], parsed.get("usage"), include_usage=include_usage)
    else:
        chunks = list(_as_chunks(parsed, include_usage=include_usage))
    identity = {"id": answer_id, "created": created}
    return [sse.event(orjson.dumps({**identity, **chunk})) for chunk in chunks] + [sse.event(sse.DONE)]


def _as_chunks(body: Mapping[str, Any], *, include_usage: bool) -> Iterator[dict[str, Any]]:
    shared = {"object": "text_completion"} | {name: body[name] for name in _SHARED if name in body}
    extra = {"usage": None} if include_usage else {}
    for choice in body["choices"]:
        # Positions of tokens and our pieces would not line up: with log probabilities it is one piece.
        for text in [choice["text"]] if choice.get("logprobs") else pieces(choice["text"]):
            piece = {"text": text, "index": choice["index"], "logprobs": choice.get("logprobs"), "finish_reason": None}
            yield {**shared, "choices": [piece], **extra}
        last = {"text": "", "index": choice["index"], "logprobs": None, "finish_reason": choice.get("finish_reason")}
        yield {**shared, "choices": [last], **extra}
    if include_usage:
        yield {**shared, "choices": [], "usage": body.get("usage")}
