"""Bodies of requests, and the same with something else in each of their spots."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.builders import tool_call

CALL = {"role": "assistant", "content": None, "tool_calls": [tool_call()]}
PARTS = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            CALL,
            {"role": "tool", "tool_call_id": "call_1", "content": "x"},
            {"role": "user", "content": PARTS},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 1,
        "deja": {"query": "q", "context": "c", "session": "s", "tags": ["t"]},
        "response_format": {"type": "json_object"},
    },
    "completions": {"model": "m", "prompt": ["a", "b"], "n": 1, "best_of": 1, "echo": False, "stream": False},
    "responses": {
        "model": "m",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "s"}]},
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": []},
                    {"type": "output_text", "text": "b"},
                ],
            },
            {"role": "user", "content": "more"},
        ],
        "instructions": "i",
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"},
        "store": True,
    },
    "messages": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "text", "text": "a", "citations": None},
                    {"type": "text", "text": "b"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
                    {"type": "text", "text": "and"},
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "stream": False,
        "metadata": {"user_id": "u"},
        "thinking": {"type": "disabled"},
    },
}

OF_EVERY_KIND: tuple[Any, ...] = (None, True, 3, 1.5, "x", "", [], {}, [[]], [{}], [None], {"a": []})


def spots(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a JSON value but itself."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, each in inside for path in ((*above, key), *spots(each, (*above, key)))]


def with_other_values(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A JSON object with each of its spots in turn without what it holds, and with something of every kind there."""
    for *path, last in spots(value):
        for other in (..., *OF_EVERY_KIND):
            changed = copy.deepcopy(value)
            inside: Any = changed
            for step in path:
                inside = inside[step]
            if other is ...:
                del inside[last]
            else:
                inside[last] = other
            yield changed
