from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.errors import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.ports import UpstreamRequest
from proxy.upstream.litellm import LiteLLMUpstream
from tests import fake_upstream as fakes
from tests.fake_upstream import FakeUpstream

# pydantic about LiteLLM's own code; LiteLLM would turn the error into a broken stream
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*using the `ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LiteLLM leaves sessions of aiohttp behind; see `leavings` in conftest.py
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CALL = {"model": "openai/fake", "messages": [{"role": "user", "content": "hi"}]}


def request(path: str = "/chat/completions", *, body: bytes | None = None, **fields: Any) -> UpstreamRequest:
    made = json.dumps({**CALL, **fields}).encode() if body is None else body
    headers = ((b"authorization", b"Bearer the-callers"),)
    return UpstreamRequest("POST", path, b"", headers, made, model="openai/fake")


@asynccontextmanager
async def litellm_for(fake: FakeUpstream, **params: Any) -> AsyncIterator[LiteLLMUpstream]:
    """LiteLLM's real `openai/` provider, pointed at the fake one."""
    upstream = LiteLLMUpstream({"api_base": fake.base_url, "api_key": "ours", **params}, read_timeout_s=5.0)
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def call(upstream: LiteLLMUpstream, sent: UpstreamRequest) -> tuple[int, dict[str, str], bytes]:
    response = await upstream.send(sent)
    body = b"".join([chunk async for chunk in response.chunks()])
    await response.aclose()
    return response.status, {name.decode(): value.decode() for name, value in response.headers}, body


async def test_a_whole_answer_has_openais_shape(fake_upstream: FakeUpstream) -> None:
    async with litellm_for(fake_upstream) as upstream:
        status, headers, body = await call(upstream, request(temperature=0.5, metadata={"trace": "x"}))
    answer = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello from the fake provider."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == 14
    (seen,) = fake_upstream.requests
    assert seen.json == {"model": "fake", "messages": CALL["messages"], "temperature": 0.5}
    assert seen.header("authorization") == "Bearer ours"


async def test_a_stream_is_sent_as_events_that_end_with_done(fake_upstream: FakeUpstream) -> None:
    async with litellm_for(fake_upstream) as upstream:
        _, headers, body = await call(upstream, request(stream=True, stream_options={"include_usage": True}))
    *events, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    assert headers["content-type"].startswith("text/event-stream")
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]]
    assert "".join(deltas) == "Hello from the fake provider."
    assert chunks[0]["choices"][0]["finish_reason"] is None
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 14)


async def test_events_are_handed_on_as_they_come_and_closing_reaches_the_provider(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.hang_after(fakes.sse_chat("a b c")[:3]))
    async with litellm_for(fake_upstream) as upstream:
        response = await upstream.send(request(stream=True))
        assert b'"role":"assistant"' in await anext(response.chunks())
        await response.aclose()
        await fake_upstream.seen(lambda fake: fake.disconnects == 1)


async def test_cancelling_the_caller_cancels_the_call(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.hang())
    async with litellm_for(fake_upstream) as upstream:
        task = asyncio.get_running_loop().create_task(call(upstream, request()))
        await fake_upstream.seen(lambda fake: fake.in_flight == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake_upstream.seen(lambda fake: fake.disconnects == 1)


@pytest.mark.parametrize(
    "field",
    ["api_base", "base_url", "api_key", "custom_llm_provider", "extra_headers", "proxies", "callbacks", "fallbacks"],
)
async def test_no_control_of_litellms_is_taken_from_a_caller(fake_upstream: FakeUpstream, field: str) -> None:
    async with litellm_for(fake_upstream) as upstream:
        status, _, body = await call(upstream, request(**{field: "http://127.0.0.1:1"}))
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, "unknown_parameter", field)
    assert not fake_upstream.requests


async def test_an_image_by_its_address_is_not_fetched(fake_upstream: FakeUpstream) -> None:
    """LiteLLM would, for providers that do not: from Deja's own network."""
    image = {"type": "image_url", "image_url": {"url": fake_upstream.base_url}}
    async with litellm_for(fake_upstream) as upstream:
        status, _, body = await call(upstream, request(messages=[{"role": "user", "content": [image]}]))
    assert (status, json.loads(body)["error"]["code"]) == (400, "remote_content")
    assert not fake_upstream.requests


async def test_a_rate_limit_keeps_its_status_message_and_retry_after(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.too_many_requests(retry_after_s=7))
    async with litellm_for(fake_upstream) as upstream:
        status, headers, body = await call(upstream, request())
    assert (status, headers["retry-after"]) == (429, "7")
    error = json.loads(body)["error"]
    assert "fake error 429" in error["message"]
    assert error["type"] == "rate_limit_error"
    assert len(fake_upstream.requests) == 1, "a refusal is not tried again behind the caller's back"


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_a_refusal_is_an_answer_with_the_providers_status(status: int, fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.error(status))
    async with litellm_for(fake_upstream) as upstream:
        got, _, body = await call(upstream, request())
    assert got == status
    assert f"fake error {status}" in json.loads(body)["error"]["message"]


async def test_silence_is_a_timeout(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.hang())
    async with litellm_for(fake_upstream, timeout=0.2) as upstream:
        with pytest.raises(UpstreamTimeoutError):
            await upstream.send(request())


async def test_a_stream_that_is_cut_is_broken_and_never_gets_done(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.cut_after(fakes.sse_chat("a b c")[:3]))
    received = []
    async with litellm_for(fake_upstream) as upstream:
        response = await upstream.send(request(stream=True))

        async def read() -> None:
            async for chunk in response.chunks():
                received.append(chunk)

        with pytest.raises(UpstreamBrokenError):
            await read()
        await response.aclose()
    assert b"[DONE]" not in b"".join(received)


async def test_another_provider_is_rendered_the_same() -> None:
    params = {"api_key": "ours", "mock_response": "A mocked answer."}
    upstream = LiteLLMUpstream(params, read_timeout_s=5.0)
    status, _, body = await call(upstream, request(model="anthropic/claude-3-haiku-20240307"))
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "A mocked answer."


@pytest.mark.parametrize("field", ["api_base", "base_url", "api_key", "mock_response", "fallbacks", "extra_headers"])
async def test_a_caller_cannot_set_litellms_own_controls(field: str, fake_upstream: FakeUpstream) -> None:
    async with litellm_for(fake_upstream) as upstream:
        status, _, body = await call(upstream, request(**{field: "http://attacker.invalid"}))
    assert status == 400
    assert json.loads(body)["error"]["param"] == field
    assert fake_upstream.requests == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/audio/speech", b"{}", 400),
        ("/images/generations", b"{}", 400),
        ("/chat/completions", b"{", 400),
        ("/chat/completions", b"[]", 400),
    ],
)
async def test_what_cannot_go_through_litellm_is_refused_in_openais_shape(path: str, body: bytes, status: int) -> None:
    upstream = LiteLLMUpstream({}, read_timeout_s=5.0)
    got, _, answer = await call(upstream, request(path, body=body))
    assert got == status
    assert json.loads(answer)["error"]["message"]


async def test_after_closing_nobody_is_given_a_closed_client(fake_upstream: FakeUpstream) -> None:
    for _ in range(2):
        async with litellm_for(fake_upstream) as upstream:
            assert (await call(upstream, request()))[0] == 200


async def test_a_provider_that_litellm_cannot_reach_is_an_upstream_error() -> None:
    upstream = LiteLLMUpstream({"api_base": "http://127.0.0.1:1"}, read_timeout_s=5.0)
    with pytest.raises(UpstreamError):
        await upstream.send(request(model="ollama/llama3"))


def test_the_identity_tells_places_and_parameters_apart_and_not_keys() -> None:
    def identity(**params: Any) -> str:
        return LiteLLMUpstream(params, read_timeout_s=5.0).identity

    base = identity(api_base="https://a.example/v1", api_version="1", api_key="sk-one")
    assert base == identity(api_base="https://a.example/v1", api_version="1", api_key="sk-two")
    others = {
        identity(api_base="https://b.example/v1", api_version="1"),
        identity(api_base="https://a.example/v1", api_version="2"),
        identity(api_base="https://a.example/v1", api_version="1", temperature=0.1),
        identity(),
    }
    assert len(others | {base}) == 5
    assert "sk-" not in base


def test_litellm_is_not_imported_with_the_module() -> None:
    code = "import sys, proxy.upstream.registry; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
