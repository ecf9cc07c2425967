"""A response of OpenAI's Responses API replayed as the events of a stream, each with its place in the sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import pieces
from proxy.core.dialects.response_answers import replayed
from proxy.core.dialects.response_items import CALLS

_CALL_EVENTS = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}

Event = dict[str, Any]


def render_stream(body: bytes, own: Mapping[str, Any]) -> list[bytes]:
    """Replay a stored body as server-sent events, `response.completed` the last of them; arguments as those of `replayed`."""
    stored = orjson.loads(body)
    if "events" in stored:
        events = [_with_identity(event, own) for event in stored["events"]]
    else:
        events = [{**event, "sequence_number": number} for number, event in enumerate(_events(replayed(stored, own)))]
    return [sse.named_event(event["type"], orjson.dumps(event)) for event in events]


def _with_identity(event: Event, own: Mapping[str, Any]) -> Event:
    return {**event, "response": {**own, **event["response"]}} if "response" in event else event


def _events(response: Mapping[str, Any]) -> Iterator[Event]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        yield from _item(item, index)
    yield {"type": f"response.{response['status']}", "response": response}


def _item(item: Mapping[str, Any], index: int) -> Iterator[Event]:
    at = {"item_id": item.get("id"), "output_index": index}
    match item["type"]:
        case "message":
            begun, inner = {**item, "status": "in_progress", "content": []}, _message(item, at)
        case "reasoning":
            begun, inner = {**item, "summary": []}, _reasoning(item, at)
        case kind:
            begun, inner = {**item, "status": "in_progress", CALLS[kind]: ""}, _call(item, at)
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _message(item: Mapping[str, Any], at: Mapping[str, Any]) -> Iterator[Event]:
    for number, part in enumerate(item["content"]):
        here = {**at, "content_index": number}
        if part["type"] == "refusal":
            yield {"type": "response.content_part.added", **here, "part": {**part, "refusal": ""}}
            for piece in pieces(part["refusal"]):
                yield {"type": "response.refusal.delta", **here, "delta": piece}
            yield {"type": "response.refusal.done", **here, "refusal": part["refusal"]}
        else:
            yield from _text(part, here)
        yield {"type": "response.content_part.done", **here, "part": part}


def _text(part: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Event]:
    logprobs = part.get("logprobs") or []
    begun = {**part, "text": "", "annotations": []}
    yield {
        "type": "response.content_part.added",
        **here,
        "part": {**begun, "logprobs": []} if "logprobs" in part else begun,
    }
    # Positions of tokens and our pieces would not line up: with log probabilities it is one piece.
    for piece in [part["text"]] if logprobs else pieces(part["text"]):
        yield {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": logprobs}
    for number, annotation in enumerate(part.get("annotations") or ()):
        yield {
            "type": "response.output_text.annotation.added",
            **here,
            "annotation_index": number,
            "annotation": annotation,
        }
    yield {"type": "response.output_text.done", **here, "text": part["text"], "logprobs": logprobs}


def _call(item: Mapping[str, Any], at: Mapping[str, Any]) -> Iterator[Event]:
    name, given = _CALL_EVENTS[item["type"]], CALLS[item["type"]]
    yield {"type": f"{name}.delta", **at, "delta": item[given]}
    named = {"name": item.get("name")} if item["type"] == "function_call" else {}
    yield {"type": f"{name}.done", **at, given: item[given], **named}


def _reasoning(item: Mapping[str, Any], at: Mapping[str, Any]) -> Iterator[Event]:
    for number, part in enumerate(item.get("summary") or ()):
        here = {**at, "summary_index": number}
        yield {"type": "response.reasoning_summary_part.added", **here, "part": {**part, "text": ""}}
        for piece in pieces(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **here, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
    for number, part in enumerate(item.get("content") or ()):
        here = {**at, "content_index": number}
        for piece in pieces(part["text"]):
            yield {"type": "response.reasoning_text.delta", **here, "delta": piece}
        yield {"type": "response.reasoning_text.done", **here, "text": part["text"]}
