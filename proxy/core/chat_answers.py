"""Chat answers: a stream assembled into a response, a response replayed as JSON or as a stream.

A stored body is the `chat.completion` object without `id` and `created`. It begins with `{` and has at least one field, so a
replay is two spliced fields and no JSON parsing (`render_json`), unless tool-call ids must be minted anew.

The assembler knows the fields below. An answer with any other field is kept to the mode it came in, because we could not say
what the field becomes in the other one: a stream entry then holds its own chunks (`{"chunks": [...]}`, and `usage` where that is a count
of ours), an entry of plain JSON its body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import Answer, Malformed, count_tokens, guarded, json_object, pieces
from proxy.core.models import NotStored, WireMode

_TOP = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "obfuscation"}
)
_CHOICE = frozenset({"index", "finish_reason", "logprobs"})
_MESSAGE = frozenset({"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning"})
_JOINED = ("content", "refusal", "reasoning_content", "reasoning")
_SIGNED = ("thinking_blocks", "reasoning_details")
"""Reasoning as LiteLLM and OpenRouter hand it on, signed by its provider for the turn that it belongs to."""
_CALL = frozenset({"index", "id", "type", "function"})
_FUNCTION = frozenset({"name", "arguments"})


# --- reading ---------------------------------------------------------------------------------------------------------------------


def read_json(raw: bytes) -> Answer:
    """Take a non-streamed answer apart.

    Raises:
        Malformed: not a chat completion.
    """
    return guarded(lambda: _taken_apart(json_object(raw)))


def _taken_apart(body: dict[str, Any]) -> Answer:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Malformed(NotStored.MALFORMED)
    is_known = body.keys() <= _TOP
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise Malformed(NotStored.MALFORMED)
        is_known &= choice.keys() <= _CHOICE | {"message"} and _is_known_message(choice["message"])
    usage = body.get("usage")
    return Answer(
        body=without_identity(body),
        wire=WireMode.BOTH if is_known else WireMode.JSON,
        messages=tuple(choice["message"] for choice in choices),
        finish_reasons=tuple(choice.get("finish_reason") for choice in choices),
        has_tool_calls=any(_calls_a_tool(choice["message"]) for choice in choices),
        usage=usage if isinstance(usage, Mapping) else None,
        is_exact_only=any(choice["message"].get(name) for choice in choices for name in _SIGNED),
    )


def read_stream(raw: bytes, *, prompt_chars: int) -> Answer:
    """Assemble a whole stream of chat chunks.

    Args:
        raw: all bytes of the stream.
        prompt_chars: length of the prompt, for a usage estimate where the stream carries none.

    Raises:
        Malformed: it did not reach its end, or holds something that is no chat chunk (an error event, say).
    """
    chunks = chunks_of(raw)
    return guarded(
        lambda: (_assembled if all(_is_known_chunk(chunk) for chunk in chunks) else _kept_as_stream)(
            chunks, prompt_chars
        )
    )


def chunks_of(raw: bytes) -> list[dict[str, Any]]:
    """The chunks of a whole stream that `[DONE]` closes, each with its choices.

    Raises:
        Malformed: as `read_stream`.
    """
    datas = sse.events(raw + b"\n\n")  # some providers leave the closing line out
    if not datas or datas[-1].strip() != sse.DONE:
        raise Malformed(NotStored.PARTIAL)
    chunks = [json_object(data) for data in datas[:-1]]
    if not chunks or any(not isinstance(chunk.get("choices"), list) for chunk in chunks):
        raise Malformed(NotStored.MALFORMED)
    return chunks


def without_identity(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a body or a chunk: all but what each replay has anew."""
    return {name: value for name, value in body.items() if name not in ("id", "created", "obfuscation")}


def _is_known_message(message: Mapping[str, Any]) -> bool:
    """Whether the assembler knows all that a message (or delta) holds; null and empty fields say nothing."""
    filled = {name for name, value in message.items() if value not in (None, [], "")}
    if not filled <= _MESSAGE:
        return False
    if not all(isinstance(message[name], str) for name in _JOINED if name in filled):
        return False
    return all(
        isinstance(call, dict)
        and call.keys() <= _CALL
        and isinstance(function := call.get("function", {}), dict)
        and function.keys() <= _FUNCTION
        for call in message.get("tool_calls") or ()
    )


def _calls_a_tool(message: Mapping[str, Any]) -> bool:
    """Whether a message (or delta) calls one; `function_call` is the name this had before there could be several."""
    return bool(message.get("tool_calls") or message.get("function_call"))


def _is_known_chunk(chunk: Mapping[str, Any]) -> bool:
    return chunk.keys() <= _TOP and all(
        choice.keys() <= _CHOICE | {"delta"} and _is_known_message(choice.get("delta") or {})
        for choice in chunk["choices"]
    )


def _assembled(chunks: list[dict[str, Any]], prompt_chars: int) -> Answer:
    choices: dict[int, dict[str, Any]] = {}
    usage: Mapping[str, Any] | None = None
    body: dict[str, Any] = {"object": "chat.completion"}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for name in ("model", "system_fingerprint", "service_tier"):
            if chunk.get(name) is not None:
                body[name] = chunk[name]
        for choice in chunk["choices"]:
            _add_delta(choices.setdefault(choice.get("index", 0), _empty_choice(choice.get("index", 0))), choice)
    if not choices:
        raise Malformed(NotStored.EMPTY)
    ordered = [choices[index] for index in sorted(choices)]
    for choice in ordered:
        calls = choice["message"].pop("_calls", {})
        if calls:
            choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    body["choices"] = ordered
    estimated = usage is None
    if usage is None:
        usage = estimate_usage(prompt_chars, sum(len(_text_of(choice["message"])) for choice in ordered))
    body["usage"] = usage
    return Answer(
        body=body,
        wire=WireMode.BOTH,
        messages=tuple(choice["message"] for choice in ordered),
        finish_reasons=tuple(choice["finish_reason"] for choice in ordered),
        has_tool_calls=any("tool_calls" in choice["message"] for choice in ordered),
        usage=usage,
        usage_estimated=estimated,
    )


def _empty_choice(index: int) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": None, "refusal": None},
        "logprobs": None,
        "finish_reason": None,
    }


def _add_delta(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    message = choice["message"]
    delta = piece.get("delta") or {}
    for name in _JOINED:
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    for call in delta.get("tool_calls") or ():
        _add_call(message.setdefault("_calls", {}), call)
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    logprobs = piece.get("logprobs")
    if logprobs:
        kept = choice["logprobs"] = choice["logprobs"] or {"content": None, "refusal": None}
        for name, tokens in logprobs.items():
            if tokens:
                kept[name] = (kept.get(name) or []) + tokens


def _add_call(calls: dict[int, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    call = calls.setdefault(
        piece.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = piece.get("id") or call["id"]
    call["type"] = piece.get("type") or call["type"]
    function = piece.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _kept_as_stream(chunks: list[dict[str, Any]], prompt_chars: int) -> Answer:
    """An answer with fields we do not know: the chunks themselves, for replay as a stream only."""
    finish: dict[int, str | None] = {}
    usage = None
    calls = False
    texts: list[str] = []
    refused = ""
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            index = choice.get("index", 0)
            finish[index] = choice.get("finish_reason") or finish.get(index)
            calls = calls or _calls_a_tool(delta)
            refused += delta.get("refusal") or ""
            if index == 0 and isinstance(delta.get("content"), str):
                texts.append(delta["content"])
    body: dict[str, Any] = {"chunks": [without_identity(chunk) for chunk in chunks]}
    estimated = usage is None
    if usage is None:
        usage = body["usage"] = estimate_usage(prompt_chars, sum(map(len, texts)))
    return Answer(
        body=body,
        wire=WireMode.STREAM,
        messages=({"role": "assistant", "content": "".join(texts) or None, "refusal": refused or None},),
        finish_reasons=tuple(finish[index] for index in sorted(finish)),
        has_tool_calls=calls,
        usage=usage,
        usage_estimated=estimated,
        is_exact_only=any(
            (choice.get("delta") or {}).get(name) for chunk in chunks for choice in chunk["choices"] for name in _SIGNED
        ),
    )


def _text_of(message: Mapping[str, Any]) -> str:
    """What the model wrote, for counting."""
    calls = "".join(call["function"]["arguments"] for call in message.get("tool_calls") or ())
    return "".join(message.get(name) or "" for name in _JOINED) + calls


def estimate_usage(prompt_chars: int, completion_chars: int) -> dict[str, int]:
    """A count of our own, where the provider sent none."""
    prompt, completion = max(1, count_tokens(prompt_chars)), count_tokens(completion_chars)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def stored_message(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice's message of a stored body; of one kept as a stream the text alone, None where it has none."""
    if "chunks" not in stored:
        message: dict[str, Any] = stored["choices"][0]["message"]
        return message
    deltas = [choice.get("delta") or {} for chunk in stored["chunks"] for choice in chunk["choices"][:1]]
    text = "".join(delta["content"] for delta in deltas if isinstance(delta.get("content"), str))
    return {"role": "assistant", "content": text} if text else None


# --- replaying -------------------------------------------------------------------------------------------------------------------


def render_json(body: bytes, *, answer_id: str, created: int, mint: Callable[[], str] | None) -> bytes:
    """Replay a stored body as one JSON response.

    Args:
        body: stored form, of an entry whose `wire` allows it.
        answer_id: the replay's own `id`.
        created: unix time in whole seconds.
        mint: makes fresh tool-call ids; None when the answer calls no tool.
    """
    if mint is not None:
        parsed = orjson.loads(body)
        for choice in parsed["choices"]:
            for call in choice["message"].get("tool_calls") or ():
                call["id"] = mint()
        body = orjson.dumps(parsed)
    return b'{"id":"%b","created":%d,%b' % (answer_id.encode(), created, body[1:])


def render_stream(
    body: bytes, *, answer_id: str, created: int, include_usage: bool, mint: Callable[[], str] | None
) -> list[bytes]:
    """Replay a stored body as server-sent events, the closing `[DONE]` among them.

    Args:
        body: stored form, of an entry whose `wire` allows it.
        answer_id: the replay's own `id`, the same in every chunk.
        created: unix time in whole seconds.
        include_usage: end with a usage chunk, as `stream_options.include_usage` asks.
        mint: makes fresh tool-call ids; None when the answer calls no tool.
    """
    parsed = orjson.loads(body)
    chunks = parsed.get("chunks")
    if chunks is None:
        chunks = _as_chunks(parsed, include_usage=include_usage)
    else:
        chunks = kept_chunks(chunks, parsed.get("usage"), include_usage=include_usage)
    identity = {"id": answer_id, "created": created}
    if mint is not None:
        _mint_calls(chunks, mint)
    return [sse.event(orjson.dumps({**identity, **chunk})) for chunk in chunks] + [sse.event(sse.DONE)]


def kept_chunks(
    chunks: list[dict[str, Any]], estimate: dict[str, int] | None, *, include_usage: bool
) -> list[dict[str, Any]]:
    """A provider's own chunks, with or without the one that carries nothing but the usage."""
    if not include_usage:
        return [chunk for chunk in chunks if chunk["choices"] or not chunk.get("usage")]
    if estimate is None:
        return chunks
    shared = {name: value for name, value in chunks[-1].items() if name in ("object", "model", "system_fingerprint")}
    return [*chunks, {**shared, "choices": [], "usage": estimate}]


def _mint_calls(chunks: list[dict[str, Any]], mint: Callable[[], str]) -> None:
    minted: dict[tuple[Any, ...], str] = {}  # some providers repeat a call's id in every piece of it
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in (choice.get("delta") or {}).get("tool_calls") or ():
                if call.get("id"):
                    which = (choice.get("index"), call.get("index"), call["id"])
                    call["id"] = minted[which] = minted.get(which) or mint()


def _as_chunks(body: Mapping[str, Any], *, include_usage: bool) -> list[dict[str, Any]]:
    shared = {"object": "chat.completion.chunk"} | {
        name: body[name] for name in ("model", "system_fingerprint", "service_tier") if name in body
    }
    chunks: list[dict[str, Any]] = []
    for choice in body["choices"]:
        for delta, logprobs, finish in _deltas(choice):
            piece = {"index": choice.get("index", 0), "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            chunk = {**shared, "choices": [piece]}
            chunks.append({**chunk, "usage": None} if include_usage else chunk)
    if include_usage:
        chunks.append({**shared, "choices": [], "usage": body.get("usage")})
    return chunks


def _deltas(choice: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any, str | None]]:
    """(delta, logprobs, finish_reason) of each chunk one choice is replayed as."""
    message = choice["message"]
    logprobs = choice.get("logprobs")
    yield (
        {"role": message.get("role", "assistant"), "content": "" if message.get("content") is not None else None},
        None,
        None,
    )
    for name in ("reasoning_content", "reasoning", "refusal", "content"):
        text = message.get(name)
        if not text:
            continue
        if name == "content" and logprobs:  # token positions and our pieces would not line up: one piece
            yield {name: text}, logprobs, None
            continue
        for piece in pieces(text):
            yield {name: piece}, None, None
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": index, **call}]}, None, None
    yield {}, None if message.get("content") else logprobs, choice.get("finish_reason")
