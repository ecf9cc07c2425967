"""OpenAI's Responses API through the real SDK: cached, streamed, gone on from by an id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from tests.deja_process import DejaProcess
from tests.fake_answers import (
    RESPONSE_USAGE,
    function_call,
    named,
    output_text,
    reasoning,
    response,
    response_events,
    responses_api,
)
from tests.fake_upstream import FakeUpstream, answer, cut_after

NewClient = Callable[..., openai.OpenAI]
MODEL = "gpt-5-mini"
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@dataclass(frozen=True)
class Told:
    """What came back."""

    response: Any
    status: str
    headers: Any

    @property
    def text(self) -> str:
        return str(self.response.output_text)

    @property
    def hit(self) -> str | None:
        if "; hit" not in self.status:
            return None
        return next(part.removeprefix("detail=") for part in self.status.split("; ") if part.startswith("detail="))


def ask(
    client: openai.OpenAI, given: Any, *, stream: bool = False, headers: dict[str, str] | None = None, **fields: Any
) -> Told:
    """Ask one question, or send items; a stream is read to its end, event by event, in order."""
    raw = client.responses.with_raw_response.create(
        model=MODEL, input=given, stream=stream, extra_headers=headers, **fields
    )
    parsed: Any = raw.parse()
    if stream:
        events = list(parsed)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == events[-1].response.output_text
        parsed = events[-1].response
    return Told(parsed, raw.headers["cache-status"], raw.headers)


@pytest.mark.parametrize("stored_as_stream", [False, True])
@pytest.mark.parametrize("asked_as_stream", [False, True])
@pytest.mark.parametrize("asked", ["What's the boiling point of ethanol?", "What is the boiling point of ethanol?"])
def test_one_entry_serves_streamed_and_whole(
    client: openai.OpenAI, upstream: FakeUpstream, stored_as_stream: bool, asked_as_stream: bool, asked: str
) -> None:
    first = ask(client, "What is the boiling point of ethanol?", stream=stored_as_stream)
    told = ask(client, asked, stream=asked_as_stream)
    assert told.hit == ("exact" if asked == "What is the boiling point of ethanol?" else "semantic"), told.status
    assert told.text == first.text
    assert told.response.id != first.response.id
    assert told.response.usage.total_tokens == RESPONSE_USAGE["total_tokens"]
    assert len(upstream.requests) == 1


def test_a_stream_passes_byte_for_byte(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(responses_api(output_text("Seven minutes.")))
    with client.responses.with_streaming_response.create(model=MODEL, input="How long for an egg?", stream=True) as got:
        assert b"".join(got.iter_bytes()) == b"".join(named(response_events(output_text("Seven minutes."))))


WALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("instructions", {"instructions": "You work for a bank."}, {"instructions": "You work for a school."}),
    ("temperature", {"temperature": 0}, {"temperature": 1}),
    ("structured output", {}, {"text": {"format": {"type": "json_object"}}}),
    ("tools", {}, {"tools": [TOOL]}),
    ("reasoning", {}, {"reasoning": {"effort": "high"}}),
    ("previous response", {"previous_response_id": "resp_1"}, {"previous_response_id": "resp_2"}),
    ("user", {"user": "ann"}, {"user": "bob"}),
    ("include", {}, {"include": ["message.output_text.logprobs"]}),
]


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in WALLS], ids=[case[0] for case in WALLS])
def test_nothing_is_served_across_a_wall(client: openai.OpenAI, first: dict[str, Any], second: dict[str, Any]) -> None:
    stored = ask(client, "How can I reset my password?", **first)
    asked = ask(client, "How can I reset my password?", **second)
    assert asked.hit is None
    assert asked.text != stored.text


def test_a_replay_repeats_its_own_request_and_no_other(client: openai.OpenAI) -> None:
    ask(client, "Why is the sky blue?", metadata={"ticket": "1"}, safety_identifier="hash-of-ann")
    told = ask(client, "Why is the sky blue?", metadata={"ticket": "2"}).response
    assert told.metadata == {"ticket": "2"}
    assert told.safety_identifier is None


NOT_CACHEABLE: list[tuple[str, dict[str, Any]]] = [
    ("web search", {"tools": [{"type": "web_search"}]}),
    ("code interpreter", {"tools": [TOOL, {"type": "code_interpreter", "container": {"type": "auto"}}]}),
    ("a conversation", {"conversation": "conv_1"}),
    ("in the background", {"background": True}),
    ("a stored prompt", {"prompt": {"id": "pmpt_1"}}),
]


@pytest.mark.parametrize("fields", [case[1] for case in NOT_CACHEABLE], ids=[case[0] for case in NOT_CACHEABLE])
def test_what_depends_on_more_than_the_request_is_never_cached(
    client: openai.OpenAI, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    for _ in range(2):
        assert ask(client, "Who won the match?", **fields).status == "deja; fwd=bypass; detail=not-cacheable"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_of_tool_calls_is_found_again_with_fresh_ids(
    client: openai.OpenAI, upstream: FakeUpstream, stream: bool
) -> None:
    def run() -> list[Told]:
        items: list[Any] = [{"role": "user", "content": "What is Oslo's climate like?"}]
        asked = ask(client, items, tools=[TOOL], stream=stream)
        call = asked.response.output[0]
        items += [
            call.model_dump(exclude_none=True),
            {"type": "function_call_output", "call_id": call.call_id, "output": "Cold."},
        ]
        return [asked, ask(client, items, tools=[TOOL], stream=stream)]

    upstream.script(responses_api(function_call()), responses_api(output_text("It is cold in Oslo.")))
    first, second = run(), run()
    assert [told.hit for told in first + second] == [None, None, "exact", "exact"]
    before, call = first[0].response.output[0], second[0].response.output[0]
    assert (call.name, call.arguments) == (before.name, before.arguments)
    assert call.call_id != before.call_id


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_comes_back_on_an_exact_match_alone(
    client: openai.OpenAI, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(responses_api(reasoning(), output_text("42.")))
    first = ask(client, "What is the answer to everything?", stream=not stream)
    again = ask(client, "What is the answer to everything?", stream=stream)
    assert again.hit == "exact"
    assert again.response.output == first.response.output
    assert ask(client, "What's the answer to everything?").hit is None


def test_conversations_whose_answers_came_from_one_entry_go_on_together(client: openai.OpenAI) -> None:
    def chat(first: str, second: str) -> list[Told]:
        opening = ask(client, first, store=False)
        said = [item.model_dump(exclude_none=True) for item in opening.response.output]
        turns = [{"role": "user", "content": first}, *said, {"role": "user", "content": second}]
        return [opening, ask(client, turns, store=False)]

    stored = chat("How do I reset my password?", "And how long does that take?")
    again = chat("How can I reset my password?", "And how long does that take?")
    assert [told.hit for told in again] == ["semantic", "semantic"], [told.status for told in again]
    assert again[1].text == stored[1].text


# --- going on by an id -----------------------------------------------------------------------------------------------------------


def test_the_providers_own_id_goes_up_as_it_is(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    first = ask(client, "Why is the sky blue?")
    ask(client, "And at night?", previous_response_id=first.response.id)
    assert upstream.requests[1].json["previous_response_id"] == first.response.id


def test_who_goes_on_from_a_replay_is_answered_with_all_that_was_said(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    first = ask(client, "Why is the sky blue?")
    replay = ask(client, "Why is the sky blue?")
    assert replay.hit == "exact"
    after = ask(client, "And at night?", previous_response_id=replay.response.id)
    assert after.hit is None
    sent = upstream.requests[1].json
    assert "previous_response_id" not in sent
    assert sent["input"] == [
        {"role": "user", "content": "Why is the sky blue?"},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "And at night?"},
    ]
    assert first.response.id not in str(sent)
    third = ask(client, "And at night?", previous_response_id=replay.response.id)
    assert (third.hit, third.text) == ("exact", after.text)
    ask(client, "Thanks. Why is that?", previous_response_id=third.response.id)
    assert [item["role"] for item in upstream.requests[2].json["input"]] == ["user", "assistant"] * 2 + ["user"]


def test_a_replay_of_what_went_on_from_the_provider_goes_on_from_there(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    ask(client, "And at night?", previous_response_id="resp_of_mine")
    replay = ask(client, "And at night?", previous_response_id="resp_of_mine")
    assert replay.hit == "exact"
    assert replay.response.previous_response_id == "resp_of_mine"
    ask(client, "Thanks. Why is that?", previous_response_id=replay.response.id)
    sent = upstream.requests[1].json
    assert sent["previous_response_id"] == "resp_of_mine"
    assert len(sent["input"]) == 3


def test_a_tool_loop_goes_on_from_a_replay(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(responses_api(function_call()), responses_api(output_text("It is cold in Oslo.")))
    for _ in range(2):
        asked = ask(client, "What is Oslo's climate like?", tools=[TOOL])
    call = asked.response.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Cold."}
    ask(client, [result], tools=[TOOL], previous_response_id=asked.response.id)
    said = upstream.requests[1].json["input"]
    assert [item.get("call_id") for item in said] == [None, call.call_id, call.call_id]


def test_a_replay_can_be_read_and_deleted_by_its_caller_alone(
    client: openai.OpenAI, new_client: NewClient, upstream: FakeUpstream
) -> None:
    for _ in range(2):
        told = ask(client, "Why is the sea salty?")
    assert client.responses.retrieve(told.response.id).output_text == told.text
    stranger = new_client()
    with pytest.raises(openai.NotFoundError):
        stranger.responses.retrieve(told.response.id)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(stranger, "And at night?", previous_response_id=told.response.id)
    assert caught.value.code == "previous_response_not_found"
    client.responses.delete(told.response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(told.response.id)
    assert len(upstream.requests) == 1


def test_the_providers_responses_are_read_from_the_provider(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(answer(response(output_text("Here."))))
    assert client.responses.retrieve("resp_of_the_provider").output_text == "Here."
    assert (upstream.requests[0].method, upstream.requests[0].path) == ("GET", "/v1/responses/resp_of_the_provider")


def test_what_the_provider_is_not_to_keep_nobody_keeps(client: openai.OpenAI) -> None:
    for _ in range(2):
        told = ask(client, "Why is the grass green?", store=False)
    assert told.hit == "exact"
    assert not told.response.id.startswith("resp_deja")


def test_erasing_a_session_takes_its_replays(client: openai.OpenAI, deja: DejaProcess) -> None:
    import httpx

    session = {"X-Deja-Session": "to-be-erased"}
    for _ in range(2):
        told = ask(client, "Why is the moon round?", headers=session)
    key = {"Authorization": f"Bearer {client.api_key}"}
    assert httpx.delete(f"{deja.base_url}/sessions/to-be-erased", headers=key).status_code == 200
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(told.response.id)


def test_a_stream_that_breaks_off_is_an_error_the_sdk_raises(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script(cut_after(named(response_events(output_text("Once upon a time"))[:5])))
    with pytest.raises(openai.APIError, match="broke off"):
        ask(client, "Tell me a tale.", stream=True)


def test_an_answer_that_was_cut_short_is_not_stored(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    cut: Any = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    upstream.script(responses_api(output_text("It was a dark and"), **cut))
    for _ in range(2):
        assert "stored" not in ask(client, "Tell me a story.").status
