"""Valid defaults, so that a test shows only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.canonical import canonical_chat
from proxy.core.keys import Place, place_of
from proxy.core.models import About, Candidate, ChatRequest, Entry, WireMode

NOW_S = 1_700_000_000.0
ABOUT = About(owner="0a", namespace="", model="gpt-4o-mini", family="chat")
MODEL = "gpt-4o-mini"
QUESTION = "How do I boil an egg?"
ANSWER = "Boil it for seven minutes, then cool it in cold water."


def user(content: Any = QUESTION, **fields: Any) -> dict[str, Any]:
    """A user turn."""
    return {"role": "user", "content": content, **fields}


def system(content: str = "You are terse.") -> dict[str, Any]:
    """A system message."""
    return {"role": "system", "content": content}


def assistant(content: Any = ANSWER, **fields: Any) -> dict[str, Any]:
    """An assistant turn."""
    return {"role": "assistant", "content": content, **fields}


def tool_call(
    call_id: str = "call_abc", name: str = "get_weather", arguments: str = '{"city":"Oslo"}'
) -> dict[str, Any]:
    """A tool call as a whole message carries it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_result(call_id: str = "call_abc", content: str = "4 degrees") -> dict[str, Any]:
    """A tool's turn."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def chat_body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat completion request."""
    return {"model": MODEL, "messages": list(messages) or [user()], **fields}


def chat_request(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    """The same in canonical form."""
    return canonical_chat(chat_body(*messages, **fields))


def place(body: Mapping[str, Any] | None = None, **where: Any) -> Place:
    """Where a request belongs."""
    defaults: dict[str, Any] = {
        "tenant": "anonymous",
        "namespace": "",
        "upstream": ("https://api.openai.com/v1",),
        "family": "chat",
    }
    return place_of(canonical_chat(body or chat_body()), **(defaults | where))


def answer_body(message: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A provider's whole answer."""
    choice = {"index": 0, "message": message or assistant(), "logprobs": None, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-of-the-provider",
        "object": "chat.completion",
        "created": 1_600_000_000,
        "model": f"{MODEL}-2024-07-18",
        "choices": [choice],
        "usage": {"prompt_tokens": 12, "completion_tokens": 13, "total_tokens": 25},
        **fields,
    }


def chunk(
    delta: Mapping[str, Any] | None = None, *, finish: str | None = None, index: int = 0, **fields: Any
) -> dict[str, Any]:
    """One chunk of a provider's stream; `delta=None` for one without choices."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-of-the-provider",
        "object": "chat.completion.chunk",
        "created": 1_600_000_000,
        "model": f"{MODEL}-2024-07-18",
        "choices": [] if delta is None else [choice],
        **fields,
    }


def stream_of(chunks: Sequence[Mapping[str, Any]], *, is_done: bool = True) -> bytes:
    """A provider's stream."""
    return b"".join(sse.event(orjson.dumps(one)) for one in chunks) + (sse.event(sse.DONE) if is_done else b"")


def text_chunks(*texts: str) -> list[dict[str, Any]]:
    """The chunks of a plain answer."""
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in texts),
        chunk({}, finish="stop"),
    ]


def entry(**fields: Any) -> Entry:
    """A stored answer, a minute old, fresh for an hour."""
    defaults: dict[str, Any] = {
        "entry_id": "ent_0123456789abcdef0123456789abcdef",
        "question": QUESTION,
        "body": orjson.dumps({"choices": [{"index": 0, "message": assistant(), "finish_reason": "stop"}]}),
        "wire": WireMode.BOTH,
        "created_at": NOW_S - 60,
        "ttl_s": 3600,
    }
    return Entry(**(defaults | fields))


def candidate(**fields: Any) -> Candidate:
    """A neighbour, a minute old, fresh for an hour."""
    defaults: dict[str, Any] = {
        "redis_key": "deja:v1:entry:e:{room}:ent_1",
        "entry_id": "ent_1",
        "question": QUESTION,
        "distance": 0.05,
        "created_at": NOW_S - 60,
        "ttl_s": 3600,
    }
    return Candidate(**(defaults | fields))
