from __future__ import annotations

import json

import pytest

from proxy.ports import UpstreamRequest
from proxy.upstream.anthropic import native_request
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.registry import build_registry
from tests.fake_answers import message, messages_api, text_block
from tests.fake_upstream import FakeUpstream

SENT = {"model": "anthropic/claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def request(
    path: str = "/messages", *, headers: tuple[tuple[bytes, bytes], ...] = (), **fields: object
) -> UpstreamRequest:
    body = {**SENT, **fields}
    return UpstreamRequest("POST", path, b"", headers, json.dumps(body).encode(), model=str(body["model"]))


async def test_anthropics_own_dialect_goes_to_anthropic_unchanged(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(messages_api(text_block("Hello.")))
    root = fake_upstream.base_url.removesuffix("/v1")
    upstream = LiteLLMUpstream({"api_base": root, "api_key": "ours"}, read_timeout_s=5.0)
    theirs = ((b"x-api-key", b"theirs"), (b"anthropic-beta", b"b-1"))
    response = await upstream.send(request(headers=theirs, thinking={"type": "enabled"}))
    answer = json.loads(b"".join([piece async for piece in response.chunks()]))
    await response.aclose()
    await upstream.aclose()
    assert answer == message(text_block("Hello."))
    (seen,) = fake_upstream.requests
    assert seen.path == "/v1/messages"
    assert seen.json == {**SENT, "model": "claude-x", "thinking": {"type": "enabled"}}
    assert (seen.header("x-api-key"), seen.header("anthropic-version")) == ("ours", "2023-06-01")
    assert seen.header("anthropic-beta") == "b-1"


@pytest.mark.parametrize(
    "asked",
    [
        request("/chat/completions"),
        request(model="bedrock/claude-x"),
        UpstreamRequest("POST", "/messages", b"", (), b"{"),
    ],
    ids=["another path", "another provider", "no JSON"],
)
def test_what_is_not_for_anthropic_is_left_alone(asked: UpstreamRequest) -> None:
    assert native_request(asked) is None


def test_a_callers_credential_stays_here() -> None:
    credentials = ((b"authorization", b"Bearer theirs"), (b"x-api-key", b"theirs"), (b"anthropic-version", b"v"))
    native = native_request(request(headers=credentials))
    assert native is not None
    assert native.headers == ((b"anthropic-version", b"v"),)


async def test_for_another_provider_litellm_is_asked_and_what_it_is_not_given_is_said_in_anthropics_shape() -> None:
    upstream = LiteLLMUpstream({"api_key": "ours"}, read_timeout_s=5.0)
    response = await upstream.send(request(model="gemini/gemini-x", mcp_servers=[]))
    error = json.loads(b"".join([piece async for piece in response.chunks()]))
    await upstream.aclose()
    assert response.status == 400
    assert error["type"] == "error"
    assert error["error"]["param"] == "mcp_servers"


async def test_a_model_of_the_list_is_asked_in_either_dialect(fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(messages_api(text_block("Hello.")))
    given = {"model": "anthropic/claude-*", "api_base": fake_upstream.base_url.removesuffix("/v1"), "api_key": "ours"}
    registry = build_registry(
        None,
        [{"model_name": "claude-*", "litellm_params": given}],
        environ={},
        connect_timeout_s=2,
        read_timeout_s=5,
        max_connections=5,
    )
    route = registry.resolve("claude-x")
    response = await route.upstream.send(route.rewrite(request(model="claude-x")))
    assert response.status == 200
    await response.aclose()
    await registry.aclose()
    (seen,) = fake_upstream.requests
    assert (seen.path, seen.json["model"]) == ("/v1/messages", "claude-x")
