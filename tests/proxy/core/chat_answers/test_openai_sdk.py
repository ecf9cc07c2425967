"""The judge of replayed chat answers: OpenAI's own SDK reads them."""

from __future__ import annotations

import httpx
import openai
import orjson
import pytest

from proxy.core.chat_answers import render_json
from proxy.core.dialects.base import Fault
from proxy.core.dialects.chat import CHAT
from tests.builders import ANSWER, MODEL, answer_body, assistant, stream_of, text_chunks, tool_call
from tests.proxy.core.chat_answers.reading import counter, read_body, replayed_events


def sdk(content_type: str, body: bytes) -> openai.OpenAI:
    """OpenAI's client in front of one canned reply."""

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": content_type}, content=body)

    return openai.OpenAI(
        api_key="k",
        base_url="http://deja/v1",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(reply)),
    )


SPOKEN = assistant("Let me look.", tool_calls=[tool_call("call_a"), tool_call("call_b", "get_time", "{}")])


def test_openais_sdk_reads_a_replayed_stream() -> None:
    body = b"".join(replayed_events(read_body(answer_body(SPOKEN)), include_usage=True, mint=counter()))
    with sdk("text/event-stream", body) as client:
        chunks = list(
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
        )
    assert {one.id for one in chunks} == {"chatcmpl-new"}
    deltas = [choice.delta for one in chunks for choice in one.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Let me look."
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [(call.index, call.id, call.function and call.function.name) for call in calls] == [
        (0, "call_new1", "get_weather"),
        (1, "call_new2", "get_time"),
    ]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 25


def test_openais_sdk_accumulates_a_replayed_stream_into_the_answer() -> None:
    body = b"".join(replayed_events(read_body(answer_body(SPOKEN)), mint=counter()))
    with (
        sdk("text/event-stream", body) as client,
        client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me look."
    assert [call.function.arguments for call in message.tool_calls or []] == ['{"city":"Oslo"}', "{}"]


def test_openais_sdk_reads_a_replayed_answer() -> None:
    body = render_json(orjson.dumps(read_body(answer_body()).body), answer_id="chatcmpl-new", created=7, mint=None)
    with sdk("application/json", body) as client:
        completion = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert (completion.id, completion.created) == ("chatcmpl-new", 7)
    assert completion.choices[0].message.content == ANSWER


def test_openais_sdk_raises_the_error_that_ends_a_broken_stream() -> None:
    broken = Fault(502, "It broke off.", "upstream_error", "upstream_broken")
    body = stream_of(text_chunks("a")[:2], is_done=False) + CHAT.error_event(broken)
    with sdk("text/event-stream", body) as client:
        stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
        with pytest.raises(openai.APIError, match=r"It broke off\."):
            list(stream)
