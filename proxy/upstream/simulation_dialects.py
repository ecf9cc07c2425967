"""The simulated provider in Anthropic's and in OpenAI's Responses dialect: asked in chat's shape, answered in their own. Pure.

What is said is `simulation.py`'s; how it is written are the dialects' replays, so a stream comes in pieces of a few words.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.core.dialects.base import Dialect, Replay
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES
from proxy.core.models import Entry, WireMode

PATHS: Mapping[str, Dialect] = {dialect.path: dialect for dialect in (MESSAGES, RESPONSES)}


def in_chat(dialect: Dialect, request: Mapping[str, Any]) -> dict[str, Any]:
    """A request as chat would make it: the messages, the tools, the limit.

    Raises:
        RequestError: it cannot be understood.
    """
    dialect.canonical(request, key_user=True)
    kept = {name: value for name, value in request.items() if name not in ("input", "messages", "tools", "tool_choice")}
    asked = {**kept, "messages": list(dialect.conversation(request))}
    if dialect is MESSAGES:
        choice = request.get("tool_choice")
        asked["tools"] = [_function(tool, "input_schema") for tool in request.get("tools") or ()]
        asked["tool_choice"] = _choice(choice) if isinstance(choice, Mapping) else None
    else:
        asked["max_tokens"] = request.get("max_output_tokens")
        text = request.get("text")
        asked["response_format"] = text.get("format") if isinstance(text, Mapping) else None
        asked["tools"] = [_function(tool, "parameters") for tool in request.get("tools") or ()]
        choice = request.get("tool_choice")
        asked["tool_choice"] = {"function": choice} if isinstance(choice, Mapping) else choice
    return asked


def _function(tool: Mapping[str, Any], schema: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.get("name"), "parameters": tool.get(schema)}}


def _choice(choice: Mapping[str, Any]) -> Any:
    if choice.get("type") == "tool":
        return {"function": {"name": choice.get("name")}}
    return {"any": "required", "none": "none"}.get(str(choice.get("type")))


def written(
    dialect: Dialect,
    request: Mapping[str, Any],
    *,
    said: str,
    tool_call: Mapping[str, Any] | None,
    finish: str,
    tokens: tuple[int, int],
    call: int,
    now_s: float,
) -> tuple[bytes, ...]:
    """An answer in a dialect: one piece, or one for each event.

    Args:
        dialect: one of `PATHS`.
        request: as it was sent.
        said: the text.
        tool_call: in chat's shape, None where no tool is called.
        finish: why it ended, in chat's words.
        tokens: of input and output.
        call: makes the ids unique.
        now_s: unix time.
    """
    body = (_message if dialect is MESSAGES else _response)(request, said, tool_call, finish, tokens)
    entry = Entry(
        entry_id="",
        question="",
        body=orjson.dumps(body),
        wire=WireMode.BOTH,
        created_at=now_s,
        ttl_s=1,
        has_tool_calls=tool_call is not None,
    )
    count = itertools.count()
    asked = dialect.canonical(request, key_user=True)
    replay = Replay(
        lambda prefix: f"{prefix}sim{call:x}{next(count):02x}", int(now_s), asked, request, f"{_id(dialect)}sim{call:x}"
    )
    if asked.is_stream:
        return tuple(dialect.render_stream(entry, replay))
    return (dialect.render_json(entry, replay),)


def _id(dialect: Dialect) -> str:
    return "msg_" if dialect is MESSAGES else "resp_"


def _message(
    request: Mapping[str, Any], said: str, tool_call: Mapping[str, Any] | None, finish: str, tokens: tuple[int, int]
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said}]
    if tool_call is not None:
        function = tool_call["function"]
        given = orjson.loads(function["arguments"])
        content = [{"type": "tool_use", "id": tool_call["id"], "name": function["name"], "input": given}]
    return {
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": content,
        "stop_reason": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens[0],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens[1],
        },
    }


def _response(
    request: Mapping[str, Any], said: str, tool_call: Mapping[str, Any] | None, finish: str, tokens: tuple[int, int]
) -> dict[str, Any]:
    part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    item: dict[str, Any] = {"type": "message", "status": "completed", "role": "assistant", "content": [part]}
    if tool_call is not None:
        item = {"type": "function_call", "status": "completed", "call_id": tool_call["id"], **tool_call["function"]}
    is_cut = finish == "length"
    return {
        "object": "response",
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": request.get("instructions"),
        "model": request.get("model"),
        "output": [item],
        "parallel_tool_calls": True,
        "temperature": request.get("temperature", 1.0),
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools") or [],
        "top_p": request.get("top_p", 1.0),
        "usage": {
            "input_tokens": tokens[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": tokens[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(tokens),
        },
    }
