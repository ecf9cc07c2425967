"""What every upstream keeps to, as `proxy.ports` says it: one suite over all three kinds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.headers import FRAMING, HOP_BY_HOP
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.simulated import simulated_upstream
from tests.fake_upstream import FakeUpstream

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*using the `ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


def over_http(fake: FakeUpstream) -> Upstream:
    return OpenAIUpstream(fake.base_url, api_key=None, connect_timeout_s=2.0, read_timeout_s=5.0, max_connections=4)


def through_litellm(fake: FakeUpstream) -> Upstream:
    return LiteLLMUpstream({"api_base": fake.base_url, "api_key": "k"}, read_timeout_s=5.0)


def simulated(fake: FakeUpstream) -> Upstream:
    return simulated_upstream()


@pytest.fixture(params=[over_http, through_litellm, simulated], ids=lambda make: make.__name__)
async def upstream(request: pytest.FixtureRequest, fake_upstream: FakeUpstream) -> AsyncIterator[Upstream]:
    made = request.param(fake_upstream)
    yield made
    await made.aclose()


def chat(**fields: Any) -> UpstreamRequest:
    body = {"model": "openai/fake", "messages": [{"role": "user", "content": "What is Redis?"}], **fields}
    return UpstreamRequest("POST", "/chat/completions", b"", (), json.dumps(body).encode(), model="openai/fake")


async def test_a_chat_answer_is_json_with_a_status_and_end_to_end_headers(upstream: Upstream) -> None:
    response = await upstream.send(chat())
    chunks = [chunk async for chunk in response.chunks()]
    await response.aclose()
    assert response.status == 200
    names = [name for name, _ in response.headers]
    assert all(name == name.lower() for name in names)
    assert not set(names) & (HOP_BY_HOP | FRAMING)
    assert all(chunks), "no piece is empty"
    answer = json.loads(b"".join(chunks))
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["total_tokens"] > 0


async def test_a_streamed_answer_is_events_that_end_with_done(upstream: Upstream) -> None:
    response = await upstream.send(chat(stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in response.chunks()]
    await response.aclose()
    assert len(chunks) > 3, "pieces as they come, not the whole at the end"
    *events, done, rest = b"".join(chunks).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    parsed = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"]["total_tokens"] > 0


async def test_an_answer_may_be_closed_unread_half_read_read_and_twice(upstream: Upstream) -> None:
    async def nothing(chunks: AsyncIterator[bytes]) -> None: ...

    async def one(chunks: AsyncIterator[bytes]) -> None:
        await anext(chunks)

    async def all_of_it(chunks: AsyncIterator[bytes]) -> None:
        async for _ in chunks:
            pass

    reads: list[Callable[[AsyncIterator[bytes]], Awaitable[None]]] = [nothing, one, all_of_it]
    for read in reads:
        response = await upstream.send(chat(stream=True))
        await read(response.chunks())
        await response.aclose()
        await response.aclose()


async def test_a_refusal_is_a_normal_return_in_openais_shape(upstream: Upstream) -> None:
    refused = dataclasses.replace(chat(), body=b"{ this is no JSON")
    response = await upstream.send(refused)
    body = b"".join([chunk async for chunk in response.chunks()])
    await response.aclose()
    assert response.status == 400
    assert json.loads(body)["error"]["message"]
