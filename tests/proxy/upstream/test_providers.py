"""Providers behind LiteLLM, against servers of ours that speak their wire formats: answers, streams, tools, errors, usage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.core.dialects.base import Dialect
from proxy.core.dialects.chat import CHAT
from proxy.core.dialects.completions import COMPLETIONS
from proxy.core.dialects.messages import MESSAGES as MESSAGES_API
from proxy.core.dialects.responses import RESPONSES
from proxy.core.usage import Usage, usage_of
from proxy.errors import UpstreamError
from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.registry import UpstreamRegistry, build_registry
from tests import fake_upstream as fakes
from tests.fake_upstream import Behaviour, Exchange, FakeUpstream

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*using the `ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LiteLLM leaves sessions of aiohttp behind; see `leavings` in conftest.py
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SAID = "The tallest mountain in Wales is Yr Wyddfa."
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is it?"}]


@dataclass(frozen=True)
class Wire:
    """How one provider is configured, and how it speaks.

    Attributes:
        model: LiteLLM's name.
        params: beside model and address.
        path: where its requests come in; a `*` stands for anything.
        text, call: the whole answer in words, and the one that calls the tool.
        pieces: the same words as a stream.
        content_type: of the stream.
        usage: what both tell.
        refusal: the body of an error.
        suffix: of the address in the configuration.
    """

    model: str
    path: str
    text: dict[str, Any]
    call: dict[str, Any]
    pieces: Sequence[bytes]
    refusal: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    usage: Usage = field(default_factory=lambda: Usage(20, 7))
    suffix: str = ""


def events(*datas: dict[str, Any] | str) -> list[bytes]:
    """Server-sent events; Anthropic's carry their type as the event's name."""
    made = []
    for data in datas:
        name = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
        made.append(f"{name}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())
    return made


def openai_wire(model: str, path: str, *, suffix: str = "", **params: Any) -> Wire:
    """What speaks OpenAI's format, Azure's among them."""
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    head: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": "served", "object": "chat.completion"}
    function = {"name": "weather", "arguments": '{"place": "Wales"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]

    def whole(message: dict[str, Any], why: str) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": why}
        return {**head, "choices": [choice], "usage": usage}

    def chunk(delta: dict[str, Any], why: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": why}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    return Wire(
        model=model,
        params=params,
        path=path,
        suffix=suffix,
        text=whole({"content": SAID}, "stop"),
        call=whole({"content": None, "tool_calls": calls}, "tool_calls"),
        pieces=events(
            chunk({"role": "assistant", "content": SAID[:9]}),
            chunk({"content": SAID[9:]}),
            chunk({}, "stop"),
            {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage},
            "[DONE]",
        ),
        refusal={"error": {"message": "too fast", "type": "rate_limit_error", "param": None, "code": "slow_down"}},
    )


def anthropic_wire() -> Wire:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5, "output_tokens": 7}
    head: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Wales"}}
    start = {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}

    def delta(text: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    return Wire(
        model="anthropic/claude-sonnet-4-5",
        path="/v1/messages",
        text={**head, "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "usage": usage},
        call={**head, "content": [tool], "stop_reason": "tool_use", "usage": usage},
        pieces=events(
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            delta(SAID[:9]),
            delta(SAID[9:]),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ),
        refusal={"type": "error", "error": {"type": "rate_limit_error", "message": "too fast"}},
        usage=Usage(20, 7, cached_tokens=10, written_tokens=5),
    )


def gemini_wire() -> Wire:
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 7, "totalTokenCount": 27}

    def answer(*parts: dict[str, Any], why: str | None = "STOP") -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
        finish = {"finishReason": why} if why else {}
        return {"candidates": [{**candidate, **finish}], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}

    return Wire(
        model="gemini/gemini-2.5-flash",
        path="*:generateContent",
        text=answer({"text": SAID}),
        call=answer({"functionCall": {"name": "weather", "args": {"place": "Wales"}}}),
        pieces=events(answer({"text": SAID[:9]}, why=None), answer({"text": SAID[9:]})),
        refusal={"error": {"code": 429, "message": "too fast", "status": "RESOURCE_EXHAUSTED"}},
    )


def ollama_wire() -> Wire:
    head: dict[str, Any] = {"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z"}
    counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 7}
    function = {"name": "weather", "arguments": {"place": "Wales"}}

    def line(message: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False, **more}

    return Wire(
        model="ollama_chat/llama3.2",
        path="/api/chat",
        text=line({"content": SAID}, **counts),
        call=line({"tool_calls": [{"function": function}]}, **counts),
        pieces=[
            json.dumps(each).encode() + b"\n"
            for each in (line({"content": SAID[:9]}), line({"content": SAID[9:]}), line({}, **counts))
        ],
        content_type="application/x-ndjson",
        refusal={"error": "too fast"},
    )


WIRES = {
    "anthropic": anthropic_wire(),
    "gemini": gemini_wire(),
    "ollama": ollama_wire(),
    "azure": openai_wire(
        "azure/my-deployment", "/openai/deployments/my-deployment/chat/completions", api_version="2025-01-01"
    ),
    "vllm": openai_wire("hosted_vllm/qwen", "/v1/chat/completions", suffix="/v1"),
    "vllm through LiteLLM": openai_wire("hosted_vllm/qwen", "/v1/chat/completions", suffix="/v1", drop_params=True),
}


@pytest.fixture(params=WIRES.values(), ids=WIRES.keys())
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found


@pytest.fixture
async def registry(wire: Wire, fake_upstream: FakeUpstream) -> AsyncIterator[UpstreamRegistry]:
    async with opened(wire, fake_upstream) as made:
        yield made


@asynccontextmanager
async def opened(wire: Wire, fake: FakeUpstream) -> AsyncIterator[UpstreamRegistry]:
    address = fake.base_url.removesuffix("/v1") + wire.suffix
    params = {"model": wire.model, "api_base": address, "api_key": "ours", **wire.params}
    made = build_registry(
        None,
        [{"model_name": "m", "litellm_params": params}],
        environ={},
        connect_timeout_s=2,
        read_timeout_s=5,
        max_connections=4,
    )
    yield made
    await made.aclose()


def only_at(path: str, behave: Behaviour) -> Behaviour:
    """What answers there; anything else is a 404, as LiteLLM asks some providers about a model first."""

    async def checked(exchange: Exchange) -> None:
        came = exchange.request.path
        is_there = came.endswith(path[1:]) if path.startswith("*") else came == path
        await (behave if is_there else fakes.error(404))(exchange)

    return checked


async def send(registry: UpstreamRegistry, **fields: Any) -> tuple[int, dict[str, str], bytes]:
    return await send_to(registry, "/chat/completions", messages=MESSAGES, **fields)


async def send_to(registry: UpstreamRegistry, path: str, **fields: Any) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"model": "m", **fields}).encode()
    headers = ((b"authorization", b"Bearer the-callers"), (b"content-type", b"application/json"))
    route = registry.resolve("m")
    request = UpstreamRequest("POST", path, b"", headers, body, "m", bool(fields.get("stream")))
    upstream: Upstream = route.upstream
    response = await upstream.send(route.rewrite(request))
    whole = b"".join([piece async for piece in response.chunks()])
    await response.aclose()
    return response.status, {name.decode(): value.decode() for name, value in response.headers}, whole


async def test_a_whole_answer_comes_back_in_openais_shape(
    wire: Wire, registry: UpstreamRegistry, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(only_at(wire.path, fakes.answer(wire.text)))
    status, _, body = await send(registry, max_tokens=50)
    assert status == 200, body
    answer = CHAT.read_json(body)
    assert answer.message["content"] == SAID
    assert answer.finish_reasons == ("stop",)
    assert counts(usage_of(answer.usage, body=answer.body)) == counts(wire.usage)
    sent = json.dumps([request.json for request in fake_upstream.requests])
    assert "What is it?" in sent
    assert all("the-callers" not in str(request.headers) for request in fake_upstream.requests)


async def test_a_stream_comes_back_as_openais_events(
    wire: Wire, registry: UpstreamRegistry, fake_upstream: FakeUpstream
) -> None:
    headers = (("content-type", wire.content_type),)
    path = wire.path.replace(":generateContent", ":streamGenerateContent")
    fake_upstream.script(only_at(path, sent_as(wire.pieces, headers)))
    status, told, body = await send(registry, stream=True, stream_options={"include_usage": True})
    assert status == 200, body
    assert told["content-type"].startswith("text/event-stream")
    answer = CHAT.read_stream(body, prompt_chars=10)
    assert answer.message["content"] == SAID
    assert answer.finish_reasons == ("stop",)
    assert not answer.usage_estimated
    assert counts(usage_of(answer.usage, body=answer.body)) == counts(wire.usage)


async def test_a_tool_call_comes_back_with_its_arguments(
    wire: Wire, registry: UpstreamRegistry, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(only_at(wire.path, fakes.answer(wire.call)))
    status, _, body = await send(registry, tools=[TOOL])
    assert status == 200, body
    answer = CHAT.read_json(body)
    (call,) = answer.message["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"place": "Wales"})
    assert answer.finish_reasons == ("tool_calls",)
    assert any("weather" in json.dumps(request.json) for request in fake_upstream.requests)


OTHER_APIS: dict[Dialect, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "What is it?"},
    RESPONSES: {"input": "What is it?"},
    MESSAGES_API: {"messages": MESSAGES[1:], "max_tokens": 50},
}


@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama"])
@pytest.mark.parametrize("dialect", OTHER_APIS, ids=lambda dialect: dialect.family)
async def test_every_api_asks_a_provider_that_speaks_none_of_openais(
    name: str, dialect: Dialect, fake_upstream: FakeUpstream
) -> None:
    wire = WIRES[name]
    async with opened(wire, fake_upstream) as registry:
        fake_upstream.script(only_at(wire.path, fakes.answer(wire.text)))
        status, _, whole = await send_to(registry, dialect.path, **OTHER_APIS[dialect])
        assert status == 200, whole
        path = wire.path.replace(":generateContent", ":streamGenerateContent")
        fake_upstream.script(only_at(path, sent_as(wire.pieces, (("content-type", wire.content_type),))))
        options = {"stream_options": {"include_usage": True}} if dialect is COMPLETIONS else {}
        status, _, stream = await send_to(registry, dialect.path, **OTHER_APIS[dialect], stream=True, **options)
        assert status == 200, stream
    for answer in (dialect.read_json(whole), dialect.read_stream(stream, prompt_chars=10)):
        assert answer.message["content"] == SAID
        assert answer.finish_reasons == ("stop",)
        assert not answer.usage_estimated
        assert counts(usage_of(answer.usage, body=answer.body)) == counts(wire.usage)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama"])
@pytest.mark.parametrize("dialect", OTHER_APIS, ids=lambda dialect: dialect.family)
async def test_a_rate_limit_is_one_in_every_api(
    name: str, dialect: Dialect, is_stream: bool, fake_upstream: FakeUpstream
) -> None:
    wire = WIRES[name]
    fake_upstream.script(fakes.answer(wire.refusal, status=429, headers=(("retry-after", "3"),)))
    async with opened(wire, fake_upstream) as registry:
        stream = {"stream": True} if is_stream else {}
        status, _, body = await send_to(registry, dialect.path, **OTHER_APIS[dialect], **stream)
    assert status == 429
    assert "too fast" in json.loads(body)["error"]["message"]
    assert json.loads(body).get("type") == ("error" if dialect is MESSAGES_API else None)
    assert len(fake_upstream.requests) == 1


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_rate_limit_keeps_its_status_and_retry_after(
    wire: Wire, registry: UpstreamRegistry, fake_upstream: FakeUpstream, is_stream: bool
) -> None:
    fake_upstream.script(fakes.answer(wire.refusal, status=429, headers=(("retry-after", "3"),)))
    status, headers, body = await send(registry, **({"stream": True} if is_stream else {}))
    assert (status, headers.get("retry-after")) == (429, "3")
    assert "too fast" in json.loads(body)["error"]["message"]


async def test_a_provider_that_is_not_there_was_sent_nothing(wire: Wire) -> None:
    params = {"model": wire.model, "api_base": f"http://127.0.0.1:1{wire.suffix}", "api_key": "ours", **wire.params}
    registry = build_registry(
        None,
        [{"model_name": "m", "litellm_params": params}],
        environ={},
        connect_timeout_s=2,
        read_timeout_s=5,
        max_connections=4,
    )
    try:
        with pytest.raises(UpstreamError) as caught:
            await send(registry)
        assert not caught.value.was_sent, "another deployment may be asked"
    finally:
        await registry.aclose()


def counts(usage: Usage | None) -> tuple[int, ...]:
    """What is compared: providers answer under names of their own."""
    assert usage is not None
    return (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.written_tokens)


def sent_as(pieces: Sequence[bytes], headers: tuple[tuple[str, str], ...]) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, headers)
        for piece in pieces:
            await exchange.write(piece)
        await exchange.end()

    return behave


async def test_bedrock_is_asked_with_a_signature_and_answers_in_openais_shape(fake_upstream: FakeUpstream) -> None:
    content = [{"text": SAID}]
    usage = {"inputTokens": 20, "outputTokens": 7, "totalTokens": 27}
    answer = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "end_turn",
        "usage": usage,
    }
    fake_upstream.script(only_at("*/converse", fakes.answer(answer)))
    params = {
        "model": "bedrock/converse/anthropic.claude-haiku-4-5-20251001-v1:0",
        "aws_bedrock_runtime_endpoint": fake_upstream.base_url.removesuffix("/v1"),
        "aws_access_key_id": "AKIAOURS",
        "aws_secret_access_key": "ours",
        "aws_region_name": "eu-central-1",
    }
    opened = build_registry(
        None,
        [{"model_name": "m", "litellm_params": params}],
        environ={},
        connect_timeout_s=2,
        read_timeout_s=5,
        max_connections=4,
    )
    try:
        assert "ours" not in opened.resolve("m").identity
        status, _, body = await send(opened)
    finally:
        await opened.aclose()
    assert status == 200, body
    read = CHAT.read_json(body)
    assert (read.message["content"], counts(usage_of(read.usage, body=read.body))) == (SAID, (20, 7, 0, 0))
    (request,) = fake_upstream.requests
    assert "AWS4-HMAC-SHA256 Credential=AKIAOURS/" in (request.header("authorization") or "")
