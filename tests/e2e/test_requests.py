"""What a caller sees when the request, or the provider's answer, is not as it should be."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import openai
import pytest

from tests.deja_process import DejaProcess
from tests.e2e.asking import ask
from tests.fake_upstream import (
    FakeUpstream,
    answer,
    chat,
    chat_completion,
    cut_after,
    error,
    garbage,
    gzipped,
    huge,
    too_many_requests,
)

HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello there, how do magnets work?"}]}


def post(deja: DejaProcess, content: bytes, **headers: str) -> httpx.Response:
    headers.setdefault("Authorization", f"Bearer sk-{uuid.uuid4()}")
    return httpx.post(f"{deja.base_url}/chat/completions", content=content, headers=headers, timeout=20)


BAD_BODIES: list[tuple[str, bytes, int, str | None]] = [
    ("not JSON", b"{nope", 400, None),
    ("empty", b"", 400, None),
    ("not an object", b"[]", 400, None),
    ("invalid UTF-8", b'{"model": "m", "messages": [{"role": "user", "content": "\xff\xfe"}]}', 400, None),
    ("lone surrogate", b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, None),
    ("too deep to parse", b"[" * 2000 + b"]" * 2000, 400, None),
    (
        "too deep to key",
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":' + b"[" * 400 + b"]" * 400 + b"}",
        400,
        None,
    ),
    (
        "too deep to pass on",
        b'{"deja":{},"model":"m","messages":[{"role":"user","content":"x"}],"y":' + b"[" * 400 + b"]" * 400 + b"}",
        400,
        None,
    ),
    ("no model", b'{"messages": [{"role": "user", "content": "x"}]}', 400, "model"),
    ("no messages", b'{"model": "m"}', 400, "messages"),
    ("messages not a list", b'{"model": "m", "messages": {}}', 400, "messages"),
    ("message not an object", b'{"model": "m", "messages": ["x"]}', 400, "messages[0]"),
    ("role missing", b'{"model": "m", "messages": [{"content": "x"}]}', 400, "messages[0].role"),
    (
        "stream not a flag",
        b'{"model": "m", "stream": "yes", "messages": [{"role": "user", "content": "x"}]}',
        400,
        "stream",
    ),
    ("n not a number", b'{"model": "m", "n": "two", "messages": [{"role": "user", "content": "x"}]}', 400, "n"),
]


@pytest.mark.parametrize(
    ("body", "status", "param"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES]
)
def test_a_bad_body_is_an_openai_error_that_says_what_to_mend(
    deja: DejaProcess, upstream: FakeUpstream, body: bytes, status: int, param: str | None
) -> None:
    told = post(deja, body)
    assert told.status_code == status
    found = told.json()["error"]
    assert found["param"] == param
    assert found["type"] == "invalid_request_error"
    assert len(found["message"]) > 20
    assert told.headers["x-deja-request-id"].startswith("req_")
    assert not upstream.requests


def test_a_huge_body_is_413_before_it_is_read(deja: DejaProcess, upstream: FakeUpstream) -> None:
    told = post(deja, b"x" * (11 << 20))
    assert told.status_code == 413
    assert told.json()["error"]["code"] == "request_too_large"
    assert not upstream.requests


def test_a_compressed_body_is_passed_on_unread(deja: DejaProcess, upstream: FakeUpstream) -> None:
    import gzip

    body = gzip.compress(json.dumps(HELLO).encode())
    upstream.script(answer(chat_completion("Understood."), status=200))
    told = post(deja, body, **{"Content-Encoding": "gzip"})
    assert told.headers["cache-status"] == "deja; fwd=bypass; detail=not-cacheable"
    assert upstream.requests[-1].body == body


def test_unknown_fields_are_forwarded(deja: DejaProcess, upstream: FakeUpstream) -> None:
    post(deja, json.dumps(HELLO | {"brand_new_option": {"deep": [1, 2.5, None]}}).encode())
    assert upstream.requests[-1].json["brand_new_option"] == {"deep": [1, 2.5, None]}


def test_a_rate_limit_keeps_status_body_and_retry_after(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(too_many_requests(retry_after_s=7))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "Am I too fast?")
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-deja-not-stored"] == "status"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 502, 503])
def test_an_upstream_error_passes_unchanged_and_is_not_stored(
    client: openai.OpenAI, upstream: FakeUpstream, status: int
) -> None:
    upstream.script(error(status), chat("Better now."))
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "Does it work yet?")
    assert caught.value.status_code == status
    assert ask(client, "Does it work yet?").text == "Better now."


@pytest.mark.parametrize("behaviour", [cut_after(), garbage()], ids=["connection dropped", "not HTTP"])
def test_a_provider_that_breaks_before_its_answer_is_502(
    client: openai.OpenAI, upstream: FakeUpstream, behaviour: Any
) -> None:
    upstream.script(behaviour)
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "Are you there, provider?")
    assert caught.value.status_code == 502
    assert caught.value.type == "upstream_error"


def _finished(reason: str, **message: Any) -> dict[str, Any]:
    made = chat_completion("Text.")
    made["choices"][0]["finish_reason"] = reason
    made["choices"][0]["message"].update(message)
    return made


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
UNSTORABLE: list[tuple[str, dict[str, Any], str]] = [
    ("truncated", _finished("length"), "finish-reason"),
    ("filtered", _finished("content_filter"), "finish-reason"),
    ("refused", _finished("stop", refusal="No.", content=None), "refusal"),
    ("refused in words", _finished("stop", content="I'm sorry, but I can't help with that."), "refusal"),
    ("empty", _finished("stop", content=""), "empty"),
    (
        "broken tool call",
        _finished("tool_calls", tool_calls=[CALL | {"function": {"name": "f", "arguments": '{"a"'}}]),
        "malformed",
    ),
    ("not a completion", {"hello": "world"}, "malformed"),
]


@pytest.mark.parametrize(("payload", "reason"), [case[1:] for case in UNSTORABLE], ids=[case[0] for case in UNSTORABLE])
def test_an_answer_that_must_not_be_stored_says_why(
    deja: DejaProcess, upstream: FakeUpstream, payload: dict[str, Any], reason: str
) -> None:
    upstream.script(answer(payload))
    key = f"Bearer sk-{uuid.uuid4()}"
    for _ in range(2):
        told = post(deja, json.dumps(HELLO).encode(), Authorization=key)
        assert told.json() == payload
        assert told.headers["x-deja-not-stored"] == reason
    assert len(upstream.requests) == 2


def test_malformed_json_from_the_provider_passes_and_is_not_stored(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(answer(b'{"choices": [oops'))
    told = post(deja, json.dumps(HELLO).encode())
    assert told.content == b'{"choices": [oops'
    assert told.headers["x-deja-not-stored"] == "malformed"


def test_a_compressed_answer_passes_and_is_not_stored(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(gzipped(chat_completion("Small.")))
    told = post(deja, json.dumps(HELLO).encode())
    assert told.json()["choices"][0]["message"]["content"] == "Small."
    assert told.headers["x-deja-not-stored"] == "encoded"


def test_an_answer_larger_than_the_limit_passes_whole_and_is_not_stored(
    deja: DejaProcess, upstream: FakeUpstream
) -> None:
    upstream.script(huge(6 << 20))
    told = post(deja, json.dumps(HELLO).encode())
    assert len(told.content) == 6 << 20
    assert told.headers["x-deja-not-stored"] == "too-large"


def test_tool_calls_replay_on_an_exact_match_with_fresh_ids(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(answer(_finished("tool_calls", content=None, tool_calls=[CALL])))
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    def call(question: str, stream: bool = False) -> Any:
        return client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": question}], tools=tools, stream=stream
        )

    call("Which tool lists my open tickets?")
    replays = [call("Which tool lists my open tickets?").choices[0].message.tool_calls[0] for _ in range(2)]
    assert [replay.function.arguments for replay in replays] == ['{"a": 1}'] * 2
    assert len({replay.id for replay in replays} | {"call_1"}) == 3
    streamed = [
        chunk for chunk in call("Which tool lists my open tickets?", stream=True) if chunk.choices[0].delta.tool_calls
    ]
    assert streamed[0].choices[0].delta.tool_calls[0].function.name == "f"
    assert len(upstream.requests) == 1
    call("Which tool is it that lists my open tickets?")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
            "not-user-text",
        ),
        ("word " * 400, "text-too-long"),
        ("What does the sign 🜨 stand for?", "unknown-tokens"),
    ],
    ids=["image", "long text", "a sign the model does not know"],
)
def test_what_cannot_be_matched_by_meaning_is_matched_exactly(
    client: openai.OpenAI, upstream: FakeUpstream, content: Any, reason: str
) -> None:
    messages = [{"role": "user", "content": content}]
    assert ask(client, messages).status == f"deja; fwd=miss; stored; detail={reason}"
    assert ask(client, messages).hit == "exact"


def test_two_long_texts_that_begin_alike_never_match(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    start = "Summarise this report about the harvest of apples in the valley. " * 40
    ask(client, start + "The last line says up.")
    assert ask(client, start + "The last line says down.").hit is None


@pytest.mark.parametrize("n", [2, 3])
def test_several_choices_are_matched_exactly(client: openai.OpenAI, upstream: FakeUpstream, n: int) -> None:
    assert ask(client, "Name a colour you like", n=n).status.endswith("detail=multiple-choices")
    assert ask(client, "Name a colour you like", n=n).hit == "exact"


def test_other_paths_pass_through_unchanged(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(answer({"object": "list", "data": []}, headers=[("x-provider", "yes")]))
    sent = b'{"input":  "spaces kept",  "model": "e"}'
    told = httpx.post(
        f"{deja.base_url}/embeddings?a=b%2Fc",
        content=sent,
        headers={"Authorization": "Bearer sk-me", "X-Other": "kept"},
    )
    assert told.json() == {"object": "list", "data": []}
    assert told.headers["x-provider"] == "yes"
    request = upstream.requests[-1]
    assert (request.target, request.body) == ("/v1/embeddings?a=b%2Fc", sent)
    assert request.header("authorization") == "Bearer sk-me"
    assert request.header("x-other") == "kept"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
def test_every_method_passes_through(deja: DejaProcess, upstream: FakeUpstream, method: str) -> None:
    upstream.script(answer({"ok": True}))
    told = httpx.request(
        method, f"{deja.base_url}/files/file-1", content=b"data" if method in ("PUT", "PATCH") else None
    )
    assert told.json() == {"ok": True}
    assert upstream.requests[-1].method == method


def test_models_are_the_providers(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(
        answer({"object": "list", "data": [{"id": "m-1", "object": "model", "created": 1, "owned_by": "x"}]})
    )
    assert [model.id for model in client.models.list()] == ["m-1"]


def test_an_unknown_path_outside_v1_is_404(deja: DejaProcess) -> None:
    told = httpx.get(f"{deja.root}/nothing")
    assert told.status_code == 404
    assert told.json()["error"]["code"] == "not_found"
    assert told.headers["x-deja-request-id"].startswith("req_")


def test_a_method_a_route_does_not_have_is_405(deja: DejaProcess) -> None:
    told = httpx.post(f"{deja.root}/health")
    assert told.status_code == 405
    assert told.headers["allow"] == "GET"
    assert told.json()["error"]["code"] == "method_not_allowed"


def test_health_ready_and_metrics_tell_the_state(deja: DejaProcess, upstream: FakeUpstream) -> None:
    assert httpx.get(f"{deja.root}/health").json() == {"status": "ok"}
    heads = [httpx.head(f"{deja.root}{path}") for path in ("/health", "/ready")]
    assert [(head.status_code, head.content) for head in heads] == [(200, b"")] * 2
    ready = httpx.get(f"{deja.root}/ready").json()
    assert ready["parts"].keys() == {"redis", "index", "embedder", "recorder", "upstream"}
    post(deja, json.dumps(HELLO).encode())
    metrics = httpx.get(f"{deja.root}/metrics").text
    assert 'deja_requests_total{outcome="miss",reason="no-candidate",route="chat"}' in metrics


def test_only_loopback_listens(deja: DejaProcess) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{deja.port}/health", timeout=2)
