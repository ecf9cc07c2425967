"""What the fake provider says in each dialect: whole and as the events of a stream, as the providers' own references show them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.fake_upstream import Behaviour, Exchange, answer, chat, sse

MESSAGE_USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 1024,
    "output_tokens": 6,
    "service_tier": "standard",
}
RESPONSE_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 17,
}


def named(events: Sequence[dict[str, Any]]) -> list[bytes]:
    """Events with their type as name, as Anthropic's API and OpenAI's Responses send them."""
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


# --- Anthropic's messages ------------------------------------------------------------------------------------------------------


def text_block(text: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": text}


def tool_use(name: str = "get_weather", **given: Any) -> dict[str, Any]:
    """A call of a tool."""
    return {"type": "tool_use", "id": "toolu_of_the_provider", "name": name, "input": given or {"city": "Oslo"}}


def thinking(text: str = "Let me think.", signature: str = "c2lnbmVk") -> dict[str, Any]:
    """Thinking, signed."""
    return {"type": "thinking", "thinking": text, "signature": signature}


def message(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The JSON of a finished message."""
    calls = any(block["type"] == "tool_use" for block in content)
    return {
        "id": "msg_of_the_provider",
        "type": "message",
        "role": "assistant",
        "model": "claude-fake-1",
        "content": list(content),
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
        **fields,
    }


def message_events(*content: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The same as events, in pieces of five characters, with a ping among them."""
    whole = message(*content, **fields)
    start = whole | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**whole["usage"], "output_tokens": 1}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(content):
        empty, deltas = _deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        if index == 0:
            events.append({"type": "ping"})
        events += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    events.append(
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": whole["usage"]["output_tokens"]}}
    )
    return [*events, {"type": "message_stop"}]


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in _cut(block["text"])]
        case "thinking":
            deltas: list[dict[str, Any]] = [
                {"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"])
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case "tool_use":
            parts = _cut(json.dumps(block["input"]))
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case _:
            return block, []


def _cut(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def messages_api(*content: dict[str, Any], **fields: Any) -> Behaviour:
    """An answer of Anthropic's API, streamed if the request asks for it."""
    return _either(message(*content, **fields), named(message_events(*content, **fields)))


# --- legacy completions ----------------------------------------------------------------------------------------------------------


def completion(*texts: str, **fields: Any) -> dict[str, Any]:
    """The JSON of a finished text completion."""
    return {
        "id": "cmpl-of-the-provider",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "instruct-fake",
        "choices": [
            {"text": text, "index": index, "logprobs": None, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        **fields,
    }


def completion_events(*texts: str) -> list[bytes]:
    """The same as events."""
    whole = completion(*texts)
    head = {name: whole[name] for name in ("id", "object", "created", "model")}
    chunks = [
        {**head, "choices": [{"text": part, "index": index, "logprobs": None, "finish_reason": None}]}
        for index, text in enumerate(texts)
        for part in _cut(text)
    ]
    chunks += [
        {**head, "choices": [{"text": "", "index": index, "logprobs": None, "finish_reason": "stop"}]}
        for index in range(len(texts))
    ]
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


# --- responses -----------------------------------------------------------------------------------------------------------------


def output_text(text: str, **fields: Any) -> dict[str, Any]:
    """A message of the model's."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": "msg_of_the_provider",
        "status": "completed",
        "role": "assistant",
        "content": [part | fields],
    }


def function_call(name: str = "get_weather", **given: Any) -> dict[str, Any]:
    """A call of a function."""
    return {
        "type": "function_call",
        "id": "fc_of_the_provider",
        "call_id": "call_of_the_provider",
        "name": name,
        "arguments": json.dumps(given or {"city": "Oslo"}),
        "status": "completed",
    }


def reasoning(summary: str = "I thought about it.") -> dict[str, Any]:
    """Reasoning, summed up."""
    return {"type": "reasoning", "id": "rs_of_the_provider", "summary": [{"type": "summary_text", "text": summary}]}


def response(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The JSON of a finished response."""
    return {
        "id": "resp_of_the_provider",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_001,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-fake",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": RESPONSE_USAGE,
        **fields,
    }


def response_events(*output: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The same as events."""
    whole = response(*output, **fields)
    begun = whole | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(output):
        at = {"item_id": item["id"], "output_index": index}
        empty: dict[str, Any] = {**item, "status": "in_progress"}
        inner: list[dict[str, Any]] = []
        if item["type"] == "message":
            empty["content"] = []
            part, here = item["content"][0], {**at, "content_index": 0}
            inner.append({"type": "response.content_part.added", **here, "part": {**part, "text": ""}})
            inner += (
                {"type": "response.output_text.delta", **here, "delta": cut, "logprobs": []}
                for cut in _cut(part["text"])
            )
            inner.append({"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []})
            inner.append({"type": "response.content_part.done", **here, "part": part})
        elif item["type"] == "function_call":
            empty["arguments"] = ""
            name = "response.function_call_arguments"
            inner += ({"type": f"{name}.delta", **at, "delta": cut} for cut in _cut(item["arguments"]))
            inner.append({"type": f"{name}.done", **at, "name": item["name"], "arguments": item["arguments"]})
        events.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        events += inner
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def responses_api(*output: dict[str, Any], **fields: Any) -> Behaviour:
    """An answer of the Responses API, streamed if the request asks for it."""
    return _either(response(*output, **fields), named(response_events(*output, **fields)))


# --- whichever is asked --------------------------------------------------------------------------------------------------------


def _either(whole: dict[str, Any], events: list[bytes]) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await (sse(events) if exchange.request.json.get("stream") else answer(whole))(exchange)

    return behave


def saying(text: str) -> Behaviour:
    """A text in the dialect of the path that was asked; chat's on every other."""

    async def behave(exchange: Exchange) -> None:
        match exchange.request.path.removeprefix("/v1"):
            case "/messages":
                await messages_api(text_block(text))(exchange)
            case "/responses":
                await responses_api(output_text(text), id=f"resp_{abs(hash(text)):x}")(exchange)
            case "/completions":
                await _either(completion(text), completion_events(text))(exchange)
            case _:
                await chat(text)(exchange)

    return behave
