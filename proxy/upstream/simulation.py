"""The answers of the built-in simulated provider: OpenAI's and Anthropic's wire shapes made from the request alone. Pure.

An answer quotes the last question and carries a hash of the whole request but its streaming fields. Whoever reads it
sees at once whether it was made for this request or for another one: that is what it is for.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.dialects.base import Dialect, Fault
from proxy.errors import RequestError
from proxy.ports import Headers
from proxy.upstream import simulation_dialects

MODELS = ("simulated-small", "simulated-large")
"""What `/models` lists; any other model name is answered just the same."""

EMBEDDING_DIMS = 8
"""Length of an embedding unless the request says `dimensions`: enough to tell texts apart, with no meaning in it."""

QUOTE_CHARS = 300
"""Longest part of a question that an answer repeats, in characters: a long prompt should not come back whole."""

_JSON: Headers = ((b"content-type", b"application/json"),)
_EVENTS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_TOKEN = re.compile(r"\S+\s*|\s+")
_CALL_A_TOOL = re.compile(r"\b(?:call|use|run) (?:the|a|your) (?:tool|function)\b", re.IGNORECASE)
_REMARKS = (
    "In short: it depends on the details you gave, and the usual way works well here.",
    "Begin with the simplest case, check the result, then go on from there.",
    "Most people get this done in three steps, the second of which takes the longest.",
    "There are two common opinions about it, and both have good reasons.",
    "The short answer is yes, with one exception that seldom matters.",
    "It helps to write down what you know first, and to look up what is left.",
)


@dataclass(frozen=True, slots=True)
class Simulated:
    """An answer before any waiting.

    Attributes:
        status: HTTP status.
        headers: lower-case names.
        pieces: the body; a stream has one piece per event, anything else one in all.
        output_tokens: tokens a real model would have had to produce for it; 0 where it produces none.
    """

    status: int
    headers: Headers
    pieces: tuple[bytes, ...]
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the model "said": text or one tool call, already cut to the token limit."""

    tokens: tuple[str, ...]
    finish_reason: str
    tool_call: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def simulate(method: str, path: str, body: bytes, *, call: int, now_s: float) -> Simulated:
    """Answer one request as OpenAI would.

    Args:
        method: upper-case HTTP method.
        path: what follows `/v1`.
        body: the raw request body.
        call: number of this call; makes the `id` unique and nothing else.
        now_s: unix time for `created`.
    """
    if method == "GET" and path == "/models":
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "deja"} for name in MODELS]
        return _json({"object": "list", "data": models})
    dialect = simulation_dialects.PATHS.get(path)
    if method != "POST" or (dialect is None and path not in ("/chat/completions", "/completions", "/embeddings")):
        return failure(404, f"The simulated provider has no {method} {path}.", code="unknown_url")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return failure(400, f"The body is not valid JSON: {error}", code="invalid_json")
    if not isinstance(request, dict):
        return failure(400, "The body has to be a JSON object.", code="invalid_json")
    if path == "/embeddings":
        return _embeddings(request)
    if dialect is not None:
        return _in(dialect, request, call=call, now_s=now_s)
    head = {"created": int(now_s), "model": _model(request)}
    if path == "/completions":
        return _text(request, {"id": f"cmpl-sim-{call:x}", "object": "text_completion", **head})
    return _chat(request, {"id": f"chatcmpl-sim-{call:x}", **head})


def failure(status: int, message: str, *, code: str, param: str | None = None, headers: Headers = ()) -> Simulated:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Simulated(status, (*_JSON, *headers), (orjson.dumps({"error": error}),))


def _chat(request: dict[str, Any], head: dict[str, Any]) -> Simulated:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        return failure(400, "'messages' has to be a list of at least one message.", code="invalid", param="messages")
    reply = _reply(request, messages)
    usage = _usage(sum(4 + _count(_text_of(message)) for message in messages), len(reply.tokens))
    if request.get("stream"):
        deltas = _chat_deltas(reply)
        return _stream(request, {**head, "object": "chat.completion.chunk"}, deltas, usage)
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool_call:
        message["tool_calls"] = [reply.tool_call]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage}, len(reply.tokens))


def _text(request: dict[str, Any], head: dict[str, Any]) -> Simulated:
    prompt = request.get("prompt")
    if not isinstance(prompt, str):
        return failure(400, "'prompt' has to be a string.", code="invalid", param="prompt")
    reply = _reply(request, [{"role": "user", "content": prompt}])
    usage = _usage(_count(prompt), len(reply.tokens))
    if request.get("stream"):
        parts: Iterator[dict[str, Any]] = (
            {"index": 0, "text": token, "logprobs": None, "finish_reason": None} for token in reply.tokens
        )
        last = {"index": 0, "text": "", "logprobs": None, "finish_reason": reply.finish_reason}
        return _stream(request, head, [*parts, last], usage)
    choice = {"index": 0, "text": reply.text, "logprobs": None, "finish_reason": reply.finish_reason}
    return _json({**head, "choices": [choice], "usage": usage}, len(reply.tokens))


def _in(dialect: Dialect, request: dict[str, Any], *, call: int, now_s: float) -> Simulated:
    """An answer in another dialect than chat's."""
    try:
        asked = simulation_dialects.in_chat(dialect, request)
    except RequestError as error:
        told = Fault(error.status, error.message, error.kind, error.code, error.param)
        return Simulated(error.status, _JSON, (dialect.error_body(told),))
    reply = _reply(asked, asked["messages"])
    tokens = (sum(4 + _count(_text_of(message)) for message in asked["messages"]), len(reply.tokens))
    pieces = simulation_dialects.written(
        dialect,
        request,
        said=reply.text,
        tool_call=reply.tool_call,
        finish=reply.finish_reason,
        tokens=tokens,
        call=call,
        now_s=now_s,
    )
    return Simulated(200, _EVENTS if request.get("stream") else _JSON, pieces, tokens[1])


def _embeddings(request: dict[str, Any]) -> Simulated:
    given = request.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return failure(400, "'input' has to be a string or a list of strings.", code="invalid", param="input")
    dims = request.get("dimensions", EMBEDDING_DIMS)
    if not isinstance(dims, int) or not 1 <= dims <= 4096:
        return failure(400, "'dimensions' has to be 1 to 4096.", code="invalid", param="dimensions")
    vectors = [_vector(text, dims) for text in texts]
    if request.get("encoding_format") == "base64":
        written: list[Any] = [base64.b64encode(struct.pack(f"<{dims}f", *vector)).decode() for vector in vectors]
    else:
        written = list(vectors)
    tokens = sum(_count(text) for text in texts)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(written)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": _model(request), "usage": usage})


def _reply(request: Mapping[str, Any], messages: list[dict[str, Any]]) -> _Reply:
    digest = hashlib.sha256(
        orjson.dumps(
            {key: value for key, value in request.items() if key not in ("stream", "stream_options")},
            option=orjson.OPT_SORT_KEYS,
        )
    ).digest()
    if tool := _wanted_tool(request, messages[-1]):
        arguments = orjson.dumps(_arguments(tool.get("parameters"))).decode()
        function = {"name": str(tool.get("name", "")), "arguments": arguments}
        tool_call = {"id": f"call_{digest.hex()[:24]}", "type": "function", "function": function}
        return _Reply((), "tool_calls", tool_call)
    text = _sentences(messages, digest)
    if _object(request.get("response_format")).get("type") in ("json_object", "json_schema"):
        text = orjson.dumps({"answer": text}).decode()
    tokens = tuple(_TOKEN.findall(text))
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < len(tokens):
        return _Reply(tokens[:limit], "length")
    return _Reply(tokens, "stop")


def _sentences(messages: list[dict[str, Any]], digest: bytes) -> str:
    asked = [_text_of(message) for message in messages if message.get("role") == "user"]
    said = f"Simulated answer #{digest.hex()[:8]}: "
    if messages[-1].get("role") == "tool":
        said += f"the tool said “{_quote(_text_of(messages[-1]))}”. "
    said += f"you asked “{_quote(asked[-1])}”" if asked else "you asked nothing yet"
    if len(asked) > 1:
        said += f" (question {len(asked)} of this conversation, after “{_quote(asked[-2])}”)"
    first, second = digest[0] % len(_REMARKS), digest[1] % (len(_REMARKS) - 1)
    return f"{said}. {_REMARKS[first]} {_REMARKS[(first + 1 + second) % len(_REMARKS)]}"


def _wanted_tool(request: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any] | None:
    """The function to call: a forced one, or the first when the user says "call the tool"."""
    tools = request.get("tools")
    offered = [tool["function"] for tool in tools if _is_function(tool)] if isinstance(tools, list) else []
    choice = request.get("tool_choice")
    if not offered or choice == "none" or last.get("role") != "user":
        return None
    if isinstance(choice, dict):
        named = _object(choice.get("function")).get("name")
        return next((tool for tool in offered if tool.get("name") == named), None)
    return offered[0] if choice == "required" or _CALL_A_TOOL.search(_text_of(last)) else None


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function"), dict)


def _arguments(schema: object) -> dict[str, Any]:
    """The smallest plausible object: the required properties, each with the simplest value of its type."""
    properties, required = _object(_object(schema).get("properties")), _object(schema).get("required")
    simplest = {"string": "simulated", "number": 1.5, "integer": 1, "boolean": True, "array": [], "object": {}}
    made = {}
    for name in required if isinstance(required, list) else ():
        described = _object(properties.get(str(name)))
        options = described.get("enum")
        if isinstance(options, list) and options:
            made[str(name)] = options[0]
        else:
            made[str(name)] = simplest.get(str(described.get("type")), "simulated")
    return made


def _chat_deltas(reply: _Reply) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if reply.tool_call else "", "refusal": None}]
    if call := reply.tool_call:
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": 0, "function": {**function, "arguments": ""}}]})
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": function["arguments"]}}]})
    deltas += ({"content": token} for token in reply.tokens)
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    return [*choices, {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reply.finish_reason}]


def _stream(
    request: Mapping[str, Any], head: dict[str, Any], choices: list[dict[str, Any]], usage: dict[str, Any]
) -> Simulated:
    with_usage = bool(_object(request.get("stream_options")).get("include_usage"))
    extra = {"usage": None} if with_usage else {}
    events = [{**head, "choices": [choice], **extra} for choice in choices]
    if with_usage:
        events.append({**head, "choices": [], "usage": usage})
    pieces = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events]
    return Simulated(200, _EVENTS, (*pieces, b"data: [DONE]\n\n"), usage["completion_tokens"])


def _model(request: Mapping[str, Any]) -> str:
    return str(request.get("model") or MODELS[0])


def _object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one: a malformed tool must not break the simulation."""
    return value if isinstance(value, dict) else {}


def _json(value: dict[str, Any], output_tokens: int = 0) -> Simulated:
    return Simulated(200, _JSON, (orjson.dumps(value),), output_tokens)


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def _vector(text: str, dims: int) -> list[float]:
    """float (dims,), length 1: the bytes of a hash, so equal texts and only those have equal vectors."""
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dims)
    values = [number / 32768.0 + 2**-17 for number in struct.unpack(f"<{dims}h", raw)]  # the shift keeps 0 away
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict)).strip()


def _quote(text: str) -> str:
    return text if len(text) <= QUOTE_CHARS else text[: QUOTE_CHARS - 1] + "…"


def _count(text: str) -> int:
    return len(_TOKEN.findall(text))
