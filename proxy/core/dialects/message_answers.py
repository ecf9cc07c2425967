"""Answers of Anthropic's messages API: a stream assembled into a message, a message replayed as JSON or as a stream.

A stored body is the `message` object without its `id`. An answer that holds a block, a delta or a field which is not known here is kept to
the mode it came in: a stream then as its own events (`{"events": [...]}`). Thinking is signed by the provider for the turn that it belongs
to, so an answer with thinking replays on an exact match alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import Answer, Malformed, count_tokens, guarded, json_object, pieces
from proxy.core.models import NotStored, WireMode

_TOP = frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"})
_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_JOINED = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""Delta type -> the field of the delta and of its block that it adds to."""
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Stop reason -> chat's word; the rest (`pause_turn`) is kept as it is, and never stored."""
_TOLD_AT_THE_END = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)
"""Counts that `message_delta` repeats or corrects."""
_FIRST_TOKENS = 1
"""`output_tokens` as a stream begins, in Anthropic's own examples."""


def read_json(raw: bytes) -> Answer:
    """Take a non-streamed answer apart.

    Raises:
        Malformed: not a message.
    """
    return guarded(lambda: _taken_apart(json_object(raw)))


def _taken_apart(body: dict[str, Any]) -> Answer:
    if body.get("type") != "message" or not isinstance(body.get("content"), list):
        raise Malformed(NotStored.MALFORMED)
    is_known = _is_known(body, _TOP) and all(block["type"] in _BLOCKS for block in body["content"])
    usage = body.get("usage")
    stored = {name: value for name, value in body.items() if name != "id"}
    return _answer(stored, body, WireMode.BOTH if is_known else WireMode.JSON, usage)


def _answer(
    stored: dict[str, Any],
    whole: Mapping[str, Any],
    wire: WireMode,
    usage: Mapping[str, Any] | None,
    *,
    is_estimated: bool = False,
) -> Answer:
    said = in_chat(whole["content"])
    reason = whole.get("stop_reason")
    return Answer(
        body=stored,
        wire=wire,
        messages=(said,),
        finish_reasons=(_FINISH.get(reason, reason) if isinstance(reason, str) else None,),
        has_tool_calls="tool_calls" in said,
        usage=usage if isinstance(usage, Mapping) else None,
        usage_estimated=is_estimated,
        is_exact_only=any(block["type"] not in ("text", "tool_use") for block in whole["content"]),
    )


def read_stream(raw: bytes, *, prompt_chars: int) -> Answer:
    """Assemble a whole stream of events.

    Args:
        raw: all bytes of the stream.
        prompt_chars: length of the prompt, for a usage estimate where the stream carries none.

    Raises:
        Malformed: it did not reach its end, or holds something that is no event of a message (an error, say).
    """
    events = [json_object(data) for data in sse.events(raw + b"\n\n")]
    events = [event for event in events if event.get("type") != "ping"]
    if not events or events[-1].get("type") != "message_stop":
        has_error = any(event.get("type") == "error" for event in events)
        raise Malformed(NotStored.MALFORMED if has_error else NotStored.PARTIAL)
    return guarded(lambda: _assembled(events, prompt_chars))


def _assembled(events: list[dict[str, Any]], prompt_chars: int) -> Answer:
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    arguments: dict[int, str] = {}
    usage: dict[str, Any] = {}
    is_known = True
    for event in events:
        match event["type"]:
            case "message_start":
                whole = dict(event["message"])
                usage |= whole.get("usage") or {}
                is_known &= _is_known(whole, _TOP) and event.keys() <= {"type", "message"}
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
                is_known &= event["content_block"]["type"] in _BLOCKS
            case "content_block_delta":
                is_known &= _add(blocks[event["index"]], event["index"], event["delta"], arguments)
            case "message_delta":
                whole |= {name: value for name, value in event["delta"].items() if name in _TOP or value is not None}
                usage |= {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
                is_known &= _is_known(event["delta"], _TOP) and _is_known(event, {"type", "delta", "usage"})
            case "content_block_stop" | "message_stop":
                is_known &= _is_known(event, {"type", "index"})
            case _:
                raise Malformed(NotStored.MALFORMED)
    if not whole:
        raise Malformed(NotStored.MALFORMED)
    for index, written in arguments.items():
        blocks[index]["input"] = json_object(written.encode() or b"{}")
    whole["content"] = [blocks[index] for index in sorted(blocks)]
    is_estimated = not usage
    if is_estimated:
        usage = {"input_tokens": max(1, count_tokens(prompt_chars)), "output_tokens": count_tokens(len(_said(whole)))}
    whole["usage"] = usage
    stored = {name: value for name, value in whole.items() if name != "id"} if is_known else {"events": events}
    return _answer(stored, whole, WireMode.BOTH if is_known else WireMode.STREAM, usage, is_estimated=is_estimated)


def _said(whole: Mapping[str, Any]) -> str:
    return "".join(str(block.get("text") or block.get("input") or "") for block in whole["content"])


def _is_known(part: Mapping[str, Any], names: frozenset[str] | set[str]) -> bool:
    """Whether a part of an answer holds nothing but these; null fields say nothing."""
    return all(name in names or value is None for name, value in part.items())


def _add(block: dict[str, Any], index: int, delta: Mapping[str, Any], arguments: dict[int, str]) -> bool:
    """Add a delta to its block; whether it is of a known kind."""
    kind = delta["type"]
    if (name := _JOINED.get(kind)) is not None:
        block[name] = (block.get(name) or "") + delta[name]
    elif kind == "input_json_delta":
        arguments[index] = arguments.get(index, "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    else:
        return False
    return True


# --- in chat's shape -----------------------------------------------------------------------------------------------------------


def in_chat(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An assistant's blocks as chat's message: texts joined, tool calls; thinking and the rest left out."""
    text = "".join(block["text"] for block in blocks if block.get("type") == "text")
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": orjson.dumps(block.get("input") or {}).decode()},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    return {**message, "tool_calls": calls} if calls else message


def stored_message(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """A stored body as chat's message; of one kept as a stream the text alone, None where it has none."""
    if "events" not in stored:
        return in_chat(stored["content"])
    deltas = [event["delta"] for event in stored["events"] if event["type"] == "content_block_delta"]
    text = "".join(delta["text"] for delta in deltas if delta["type"] == "text_delta")
    return {"role": "assistant", "content": text} if text else None


# --- replaying -----------------------------------------------------------------------------------------------------------------


def render_json(body: bytes, *, mint: Callable[[str], str], has_tool_calls: bool) -> bytes:
    """Replay a stored body as one JSON response.

    Args:
        body: stored form, of an entry whose `wire` allows it.
        mint: makes ids.
        has_tool_calls: whether there are tool-use ids to make anew.
    """
    if has_tool_calls:
        parsed = orjson.loads(body)
        parsed["content"] = [_minted(block, mint) for block in parsed["content"]]
        body = orjson.dumps(parsed)
    return b'{"id":"%b",%b' % (mint("msg_").encode(), body[1:])


def render_stream(body: bytes, *, mint: Callable[[str], str]) -> list[bytes]:
    """Replay a stored body as server-sent events, `message_stop` the last of them."""
    parsed = orjson.loads(body)
    events = _kept(parsed["events"], mint) if "events" in parsed else _as_events(parsed, mint)
    return [sse.named_event(event["type"], orjson.dumps(event)) for event in events]


def _minted(block: dict[str, Any], mint: Callable[[str], str]) -> dict[str, Any]:
    return {**block, "id": mint("toolu_")} if block["type"] == "tool_use" else block


def _kept(events: Sequence[dict[str, Any]], mint: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    for event in events:
        if event["type"] == "message_start":
            yield {**event, "message": {**event["message"], "id": mint("msg_")}}
        elif event["type"] == "content_block_start":
            yield {**event, "content_block": _minted(event["content_block"], mint)}
        else:
            yield event


def _as_events(body: Mapping[str, Any], mint: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    usage = body.get("usage") or {"input_tokens": 0, "output_tokens": 0}  # clients read it without asking
    start = {"id": mint("msg_"), **body, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": _FIRST_TOKENS}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(body["content"]):
        empty, deltas = _in_deltas(_minted(block, mint))
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    told = {name: usage[name] for name in _TOLD_AT_THE_END if name in usage}
    delta = {"stop_reason": body.get("stop_reason"), "stop_sequence": body.get("stop_sequence")}
    yield {"type": "message_delta", "delta": delta, "usage": told}
    yield {"type": "message_stop"}


def _in_deltas(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and what makes it whole."""
    match block["type"]:
        case "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            if block.get("citations"):
                empty["citations"] = []
                deltas += ({"type": "citations_delta", "citation": citation} for citation in block["citations"])
            return empty, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            if block.get("signature"):
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", **({"signature": ""} if "signature" in block else {})}, deltas
        case "tool_use":
            written = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": written}]
        case _:
            return dict(block), []
