"""What a stored answer says, of whatever model API it is: by this a replay is compared with what was answered then.

Texts exactly, the tools it calls without their ids, why it ended. Ids are minted anew at each replay; usage, model revision, log
probabilities and reasoning are about the answer, not in it. The shape of the stored form tells its API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.dialects import message_answers, response_answers
from proxy.core.dialects.response_items import turn_in_chat
from proxy.core.keys import digest


def answer_digest(body: Mapping[str, Any]) -> str:
    """Digest of what an answer says: the same for each replay of it, streamed or not."""
    return digest("answer", meaning(body))


def meaning(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an answer says, choice by choice.

    Args:
        body: stored form, whole or as a provider's chunks or events.
    """
    if "chunks" in body:
        return [_said(message, finish) for message, finish in _joined(body["chunks"])]
    if "events" in body:
        return _of_events(body["events"])
    if body.get("object") == "response":
        return [_said(turn_in_chat(body["output"]), body.get("status"))]
    if body.get("type") == "message":
        return [_said(message_answers.in_chat(body["content"]), body.get("stop_reason"))]
    return [_said(_message(choice), choice.get("finish_reason")) for choice in body.get("choices") or ()]


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of a chat's choice, or a text completion's text as one."""
    return choice.get("message") or {"content": choice.get("text")}


def _of_events(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of a response whose last event holds the whole of it, or of a message that its events make up."""
    if events[-1].get("type") in response_answers.FINAL:
        return meaning({**events[-1]["response"], "object": "response"})
    raw = b"".join(sse.named_event(event["type"], orjson.dumps(event)) for event in events)
    reasons = [event["delta"].get("stop_reason") for event in events if event["type"] == "message_delta"]
    return [_said(message_answers.read_stream(raw, prompt_chars=0).message, reasons[-1] if reasons else None)]


def _said(message: Mapping[str, Any], finish: Any) -> dict[str, Any]:
    calls = [
        {name: call[name] for name in call if name not in ("id", "index")} for call in message.get("tool_calls") or ()
    ]
    said = {
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "tool_calls": calls,
        "function_call": message.get("function_call"),
        "finish_reason": finish,
    }
    return {name: value for name, value in said.items() if value not in (None, "", [])}


def _joined(chunks: Sequence[Mapping[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    """(message, finish_reason) of each choice of a stream that was kept as its chunks."""
    choices: dict[int, tuple[dict[str, Any], dict[int, dict[str, Any]], list[Any]]] = {}
    for piece in (piece for chunk in chunks for piece in chunk.get("choices") or ()):
        message, calls, finish = choices.setdefault(piece.get("index", 0), ({}, {}, []))
        delta = piece.get("delta") or {"content": piece.get("text")}
        for name in ("content", "refusal"):
            if isinstance(delta.get(name), str):
                message[name] = message.get(name, "") + delta[name]
        for call in delta.get("tool_calls") or ():
            kept = calls.setdefault(
                call.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}}
            )
            for name, text in (call.get("function") or {}).items():
                kept["function"][name] = kept["function"].get(name, "") + (text or "")
        if piece.get("finish_reason") is not None:
            finish[:] = [piece["finish_reason"]]
    return [
        ({**message, "tool_calls": [calls[at] for at in sorted(calls)]}, finish[0] if finish else None)
        for _, (message, calls, finish) in sorted(choices.items())
    ]
