"""Every model API through LiteLLM: to a provider that speaks it, and to one that knows chats alone."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import numpy as np
import openai
import pytest

from proxy.core import sse
from proxy.core.dialects import BY_PATH, DIALECTS
from proxy.core.dialects.base import Dialect
from proxy.core.dialects.completions import COMPLETIONS
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES
from proxy.core.follow_ups import is_ours
from proxy.core.storability import why_not_stored
from proxy.core.usage import usage_of
from proxy.errors import UpstreamBrokenError, UpstreamTimeoutError
from proxy.ports import UpstreamRequest
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.litellm_dialects import APIS
from tests import fake_upstream as fakes
from tests.fake_answers import (
    completion_events,
    function_call,
    named,
    output_text,
    response_events,
    responses_api,
    saying,
)
from tests.fake_upstream import Behaviour, FakeUpstream

# as in test_litellm
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*using the `ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LiteLLM leaves sessions of aiohttp behind; see `leavings` in conftest.py
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SAID = "Redis is a server of data structures."
QUESTION = "What is Redis?"
ASKED: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": [{"role": "user", "content": QUESTION}]},
    "/completions": {"prompt": QUESTION},
    "/embeddings": {"input": [QUESTION, "And Valkey?"]},
    "/responses": {"input": QUESTION, "metadata": {"run": "1"}},
    "/messages": {"max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]},
}
SPEAKS_IT, CHATS_ALONE = "openai/", "mistral/"
IMAGE = "http://169.254.169.254/latest/meta-data"

either = pytest.mark.parametrize("model", [SPEAKS_IT, CHATS_ALONE])
each = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.family)


@pytest.fixture
async def upstream(fake_upstream: FakeUpstream) -> AsyncIterator[LiteLLMUpstream]:
    """LiteLLM's real providers, pointed at the fake one."""
    made = LiteLLMUpstream({"api_base": fake_upstream.base_url, "api_key": "ours"}, read_timeout_s=5.0)
    yield made
    await made.aclose()


def asking(path: str, model: str, **fields: Any) -> UpstreamRequest:
    """Fields that are None are left out."""
    if model in (SPEAKS_IT, CHATS_ALONE):
        model += (
            "gpt-4o-mini" if path == "/responses" else "fake"
        )  # LiteLLM streams no responses of models it does not know
    given = {name: value for name, value in {"model": model, **ASKED[path], **fields}.items() if value is not None}
    headers = ((b"authorization", b"Bearer the-callers"),)
    return UpstreamRequest("POST", path, b"", headers, json.dumps(given).encode(), model=model)


async def ask(
    upstream: LiteLLMUpstream, path: str, model: str = CHATS_ALONE, **fields: Any
) -> tuple[int, dict[str, str], bytes]:
    response = await upstream.send(asking(path, model, **fields))
    try:
        body = b"".join([piece async for piece in response.chunks()])
    finally:
        await response.aclose()
    return response.status, {name.decode(): value.decode() for name, value in response.headers}, body


async def refused(upstream: LiteLLMUpstream, path: str, **fields: Any) -> tuple[int, str, str]:
    """Status, code and param of a refusal."""
    status, _, body = await ask(upstream, path, **fields)
    error = json.loads(body)["error"]
    return status, error["code"], error["param"]


@either
@each
async def test_an_answer_can_be_read_and_stored_whole_and_streamed(
    dialect: Dialect, model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(saying(SAID))
    options = {"stream_options": {"include_usage": True}} if dialect.path.endswith("completions") else {}
    _, _, whole = await ask(upstream, dialect.path, model)
    status, headers, stream = await ask(upstream, dialect.path, model, stream=True, **options)
    assert (status, headers["content-type"][:17]) == (200, "text/event-stream")
    assert dialect.ending().feed(stream)
    for answer in (dialect.read_json(whole), dialect.read_stream(stream, prompt_chars=9)):
        assert answer.message["content"] == SAID
        assert answer.finish_reasons == ("stop",)
        assert why_not_stored(answer) is None
        assert not answer.usage_estimated
        counted = usage_of(answer.usage, body=answer.body)
        assert counted is not None
        assert counted.output_tokens > 0
    assert all(request.header("authorization") == "Bearer ours" for request in fake_upstream.requests)
    asked = {request.path for request in fake_upstream.requests}
    assert asked == {f"/v1{dialect.path if model == SPEAKS_IT and dialect is not MESSAGES else '/chat/completions'}"}


@either
async def test_the_sdks_read_what_comes(model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(saying(SAID))
    response = json.loads((await ask(upstream, "/responses", model))[2])
    openai.types.responses.ResponseOutputMessage.model_validate(response["output"][0])
    assert (response["object"], response["status"], response["metadata"]) == ("response", "completed", {"run": "1"})
    assert (response["store"], response["usage"]["input_tokens_details"]["cached_tokens"]) == (True, 0)
    completion = openai.types.Completion.model_validate_json((await ask(upstream, "/completions", model))[2])
    assert (completion.choices[0].text, completion.object) == (SAID, "text_completion")
    message = anthropic.types.Message.model_validate_json((await ask(upstream, "/messages", model))[2])
    assert (message.content[0].type, message.stop_reason, message.role) == ("text", "end_turn", "assistant")


@either
@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_calls_functions(
    model: str, stream: bool, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    chats = model == CHATS_ALONE
    fake_upstream.script(calling(call) if chats else responses_api(function_call("weather", city="Oslo")))
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    _, _, body = await ask(upstream, "/responses", model, tools=[tool], stream=stream)
    answer = RESPONSES.read_stream(body, prompt_chars=9) if stream else RESPONSES.read_json(body)
    (made,) = answer.message["tool_calls"]
    assert made["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert answer.finish_reasons == ("tool_calls",)


def calling(call: dict[str, Any]) -> Behaviour:
    """A chat in which a tool is called."""

    async def behave(exchange: fakes.Exchange) -> None:
        if not exchange.request.json.get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            await fakes.answer(fakes.chat_completion("", choices=[choice]))(exchange)
            return
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
        deltas = [({"role": "assistant", "tool_calls": [{**call, "index": 0}]}, None), ({}, "tool_calls")]
        chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]} for delta, why in deltas]
        await fakes.sse([f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"])(
            exchange
        )

    return behave


# --- embeddings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [None, "float", "base64"])
async def test_vectors_come_as_they_are_wanted(
    wanted: str | None, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    """The provider knows decimals alone, as most do; SDKs ask for base64 unless told otherwise."""
    vectors = [[0.5, -0.25, 1 / 3], [1.0, 2.0, 3.0]]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    fake_upstream.script(fakes.answer({"object": "list", "data": data, "model": "fake", "usage": usage}))
    status, _, body = await ask(upstream, "/embeddings", encoding_format=wanted, dimensions=None)
    assert status == 200, body
    told = json.loads(body)
    assert (told["object"], told["usage"]) == ("list", usage)
    found = [one["embedding"] for one in told["data"]]
    if wanted == "base64":
        found = [np.frombuffer(base64.b64decode(vector), dtype="<f4").tolist() for vector in found]
    assert np.allclose(found, vectors)
    assert [one["index"] for one in told["data"]] == [0, 1]
    assert fake_upstream.requests[0].json["input"] == ASKED["/embeddings"]["input"]


# --- errors ----------------------------------------------------------------------------------------------------------------------


@either
@pytest.mark.parametrize("path", APIS)
async def test_a_rate_limit_keeps_its_status_and_is_worded_as_the_api_does(
    path: str, model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(fakes.too_many_requests(retry_after_s=7))
    streams = (False,) if path == "/embeddings" else (False, True)
    for stream in streams:
        status, headers, body = await ask(upstream, path, model, stream=stream or None)
        assert (status, headers["retry-after"]) == (429, "7")
        told = json.loads(body)
        assert told["error"]["type"] == "rate_limit_error"
        assert "fake error 429" in told["error"]["message"]
        assert told.get("type") == ("error" if path == "/messages" else None)
    assert len(fake_upstream.requests) == len(streams), "nothing is tried again behind the caller's back"


@either
@each
async def test_a_stream_that_is_cut_is_broken(
    dialect: Dialect, model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(begins(dialect, model, fakes.cut_after))
    with pytest.raises(UpstreamBrokenError):
        await ask(upstream, dialect.path, model, stream=True)


@either
@each
async def test_closing_a_stream_reaches_the_provider(
    dialect: Dialect, model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(begins(dialect, model, fakes.hang_after))
    response = await upstream.send(asking(dialect.path, model, stream=True))
    chunks = response.chunks()
    assert await anext(chunks)
    await response.aclose()
    del response, chunks
    await fake_upstream.seen(lambda fake: fake.disconnects == 1)


def begins(dialect: Dialect, model: str, then: Any) -> Behaviour:
    """The first pieces of a stream, and what comes then."""
    if model == SPEAKS_IT and dialect is COMPLETIONS:
        return then(completion_events(SAID)[:3])  # type: ignore[no-any-return]
    if model == SPEAKS_IT and dialect is RESPONSES:
        return then(named(response_events(output_text(SAID)))[:5])  # type: ignore[no-any-return]
    return then(fakes.sse_chat(SAID)[:3])  # type: ignore[no-any-return]


@either
@pytest.mark.parametrize("path", APIS)
async def test_silence_is_a_timeout(path: str, model: str, fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(fakes.hang())
    impatient = LiteLLMUpstream({"api_base": fake_upstream.base_url, "api_key": "ours"}, read_timeout_s=0.2)
    with pytest.raises(UpstreamTimeoutError):
        await impatient.send(asking(path, model))
    await impatient.aclose()


async def test_litellm_logs_nothing_of_what_a_provider_says(
    upstream: LiteLLMUpstream, fake_upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """It might repeat a prompt; of a message that breaks off LiteLLM would tell with a traceback."""
    fake_upstream.script(begins(MESSAGES, CHATS_ALONE, fakes.cut_after))
    with pytest.raises(UpstreamBrokenError):
        await ask(upstream, MESSAGES.path, stream=True)
    assert not [record for record in caplog.records if record.name.startswith("LiteLLM")]


# --- what is not handed over -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize(
    "field", ["api_base", "api_key", "custom_llm_provider", "extra_headers", "mock_response", "timeout"]
)
async def test_no_control_of_litellms_is_taken_from_a_caller(
    path: str, field: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    found = await refused(upstream, path, **{field: "http://127.0.0.1:1"})
    assert found == (400, "unknown_parameter", field)


async def test_an_address_is_not_fetched_in_any_api(upstream: LiteLLMUpstream, fake_upstream: FakeUpstream) -> None:
    part = {"type": "input_image", "image_url": IMAGE}
    items = [{"role": "user", "content": [part]}]
    assert await refused(upstream, "/responses", input=items) == (400, "remote_content", "input[0].content[0]")
    output = [{"type": "function_call_output", "call_id": "c", "output": [part]}]
    assert await refused(upstream, "/responses", input=output) == (400, "remote_content", "input[0].output[0]")
    block = {"type": "image", "source": {"type": "url", "url": IMAGE}}
    messages = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]}]
    assert (await refused(upstream, "/messages", messages=messages))[1] == "remote_content"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/responses", {"tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}, "tools[0]"),
        ("/responses", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools[0]"),
        ("/messages", {"tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}, "tools[0]"),
        ("/responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("/responses", {"conversation": "conv_1"}, "conversation"),
        ("/responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
        ("/responses", {"background": True}, "background"),
        ("/completions", {"prompt": ["one", "two"]}, "prompt"),
        ("/completions", {"prompt": [[1, 2, 3]]}, "prompt"),
        ("/completions", {"suffix": "the end"}, "suffix"),
        ("/completions", {"echo": True}, "echo"),
    ],
)
async def test_what_litellm_would_do_itself_or_leave_out_is_refused(
    path: str, fields: dict[str, Any], param: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    assert await refused(upstream, path, **fields) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("path", "field"), [(path, field) for path, api in APIS.items() for field in ("model", *api.needed)]
)
async def test_what_is_missing_is_named(
    path: str, field: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    assert await refused(upstream, path, **{field: None}) == (400, "invalid_request", field)


@either
async def test_responses_come_under_ids_of_deja(
    model: str, upstream: LiteLLMUpstream, fake_upstream: FakeUpstream
) -> None:
    """Each under its own, the same in all events: under LiteLLM's nobody could go on."""
    fake_upstream.script(saying(SAID))
    whole = json.loads((await ask(upstream, "/responses", model))[2])["id"]
    events = sse.events((await ask(upstream, "/responses", model, stream=True))[2])
    streamed = {json.loads(event)["response"]["id"] for event in events if b'"response":' in event}
    assert len(streamed) == 1
    assert is_ours(whole)
    assert is_ours(*streamed)
    assert whole not in streamed


async def test_one_prompt_in_a_list_is_one_prompt(upstream: LiteLLMUpstream, fake_upstream: FakeUpstream) -> None:
    fake_upstream.script(saying(SAID))
    status, _, _ = await ask(upstream, "/completions", prompt=[QUESTION], echo=False, suffix=None)
    assert status == 200
    assert fake_upstream.requests[0].json["messages"] == [{"role": "user", "content": QUESTION}]
    assert "echo" not in fake_upstream.requests[0].json


def test_every_cached_api_goes_through_litellm() -> None:
    assert set(APIS) == {*BY_PATH, "/embeddings"}
