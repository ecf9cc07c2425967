"""Providers over HTTP, and the simulated one, speak every dialect: one suite over both, and over whole answers and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy.core.answers import Answer
from proxy.core.dialects import DIALECTS
from proxy.core.dialects.base import Dialect
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES
from proxy.core.storability import why_not_stored
from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.simulated import simulated_upstream
from tests.fake_answers import saying
from tests.fake_upstream import FakeUpstream

ASKED = {
    "chat": {"messages": [{"role": "user", "content": "What is Redis?"}]},
    "completions": {"prompt": "What is Redis?"},
    "messages": {"max_tokens": 100, "messages": [{"role": "user", "content": "What is Redis?"}]},
    "responses": {"input": "What is Redis?"},
}


def over_http(fake: FakeUpstream) -> Upstream:
    fake.script(saying("Redis is a server of data structures."))
    return OpenAIUpstream(fake.base_url, api_key=None, connect_timeout_s=2.0, read_timeout_s=5.0, max_connections=4)


def simulated(_: FakeUpstream) -> Upstream:
    return simulated_upstream()


Make = Callable[[FakeUpstream], Upstream]


@pytest.fixture(params=[over_http, simulated], ids=lambda make: make.__name__)
async def upstream(request: pytest.FixtureRequest, fake_upstream: FakeUpstream) -> AsyncIterator[Upstream]:
    make: Make = request.param
    made = make(fake_upstream)
    yield made
    await made.aclose()


async def ask(upstream: Upstream, dialect: Dialect, **fields: Any) -> tuple[int, bytes]:
    body = {"model": "m", **ASKED[dialect.family], **fields}
    request = UpstreamRequest("POST", dialect.path, b"", (), json.dumps(body).encode(), model="m")
    response = await upstream.send(request)
    pieces = [piece async for piece in response.chunks()]
    await response.aclose()
    assert not fields.get("stream") or len(pieces) > 3, "pieces as they come, not the whole at the end"
    return response.status, b"".join(pieces)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.family)
async def test_an_answer_can_be_read_and_stored_whole_and_streamed(upstream: Upstream, dialect: Dialect) -> None:
    whole = dialect.read_json((await ask(upstream, dialect))[1])
    raw = (await ask(upstream, dialect, stream=True))[1]
    streamed = dialect.read_stream(raw, prompt_chars=9)
    assert dialect.ending().feed(raw)
    assert whole.message["content"] == streamed.message["content"]
    for answer in (whole, streamed):
        assert "Redis" in answer.message["content"]
        assert why_not_stored(answer) is None
        assert answer.usage


async def simulated_answer(dialect: Dialect, **fields: Any) -> Answer:
    upstream = simulated_upstream()
    status, raw = await ask(upstream, dialect, **fields)
    await upstream.aclose()
    assert status == 200, raw
    return dialect.read_stream(raw, prompt_chars=9) if fields.get("stream") else dialect.read_json(raw)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_simulated_provider_calls_tools_and_keeps_to_limits(stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    cases: list[tuple[Dialect, dict[str, Any], dict[str, Any]]] = [
        (
            MESSAGES,
            {"tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "any"}},
            {"max_tokens": 3},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "function", "name": "f", "parameters": schema}], "tool_choice": "required"},
            {"max_output_tokens": 3},
        ),
    ]
    for dialect, tools, limit in cases:
        called = await simulated_answer(dialect, stream=stream, **tools)
        assert called.has_tool_calls
        assert json.loads(called.message["tool_calls"][0]["function"]["arguments"]) == {"city": "simulated"}
        assert (await simulated_answer(dialect, stream=stream, **limit)).finish_reasons == ("length",)


@pytest.mark.parametrize("dialect", [MESSAGES, RESPONSES], ids=lambda dialect: dialect.family)
async def test_the_simulated_provider_words_its_errors_in_the_dialect(dialect: Dialect) -> None:
    upstream = simulated_upstream()
    status, raw = await ask(upstream, dialect, model=None)
    await upstream.aclose()
    assert status == 400
    assert "model" in json.loads(raw)["error"]["message"]
    assert ("type" in json.loads(raw)) is (dialect is MESSAGES)
