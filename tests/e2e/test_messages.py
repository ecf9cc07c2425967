"""Anthropic's API through the real SDK: cached like chat, in its own shapes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest

from tests.deja_process import DejaProcess
from tests.fake_answers import MESSAGE_USAGE, message_events, messages_api, named, text_block, thinking, tool_use
from tests.fake_upstream import FakeUpstream, answer, cut_after

MODEL = "claude-of-the-fake-provider"
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@dataclass(frozen=True)
class Told:
    """What came back."""

    message: Any
    status: str
    headers: Any

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.message.content if block.type == "text")

    @property
    def hit(self) -> str | None:
        if "; hit" not in self.status:
            return None
        return next(part.removeprefix("detail=") for part in self.status.split("; ") if part.startswith("detail="))


NewClaude = Callable[..., anthropic.Anthropic]


@pytest.fixture
def new_claude(deja: DejaProcess, upstream: FakeUpstream) -> Iterator[NewClaude]:
    made: list[anthropic.Anthropic] = []

    def make(api_key: str | None = None) -> anthropic.Anthropic:
        made.append(
            anthropic.Anthropic(
                base_url=deja.root, api_key=api_key or f"sk-ant-{uuid.uuid4()}", max_retries=0, timeout=20
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def claude(new_claude: NewClaude) -> anthropic.Anthropic:
    return new_claude()


def ask(
    client: anthropic.Anthropic,
    question: Any,
    *,
    stream: bool = False,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Told:
    """Ask one question, or send a whole conversation."""
    turns: Any = [{"role": "user", "content": question}] if isinstance(question, str) else question
    sent: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": turns, "extra_headers": headers, **fields}
    if stream:
        with client.messages.stream(**sent) as events:
            return Told(events.get_final_message(), events.response.headers["cache-status"], events.response.headers)
    raw = client.messages.with_raw_response.create(**sent)
    return Told(raw.parse(), raw.headers["cache-status"], raw.headers)


@pytest.mark.parametrize("stored_as_stream", [False, True])
@pytest.mark.parametrize("asked_as_stream", [False, True])
@pytest.mark.parametrize("asked", ["What's the boiling point of ethanol?", "What is the boiling point of ethanol?"])
def test_one_entry_serves_streamed_and_whole(
    claude: anthropic.Anthropic, upstream: FakeUpstream, stored_as_stream: bool, asked_as_stream: bool, asked: str
) -> None:
    first = ask(claude, "What is the boiling point of ethanol?", stream=stored_as_stream)
    told = ask(claude, asked, stream=asked_as_stream)
    assert told.hit == ("exact" if asked == "What is the boiling point of ethanol?" else "semantic"), told.status
    assert told.text == first.text
    assert told.message.id != first.message.id
    assert told.message.stop_reason == "end_turn"
    assert told.message.usage.cache_read_input_tokens == MESSAGE_USAGE["cache_read_input_tokens"]
    assert told.message.usage.output_tokens == MESSAGE_USAGE["output_tokens"]
    assert len(upstream.requests) == 1


def test_a_stream_passes_byte_for_byte(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    pieces = named(message_events(text_block("Seven minutes.")))
    upstream.script(messages_api(text_block("Seven minutes.")))
    with claude.messages.with_streaming_response.create(
        model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "How long for an egg?"}], stream=True
    ) as response:
        assert b"".join(response.iter_bytes()) == b"".join(pieces)


WALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("system", {"system": "You work for a bank."}, {"system": "You work for a school."}),
    ("max_tokens", {"max_tokens": 10}, {"max_tokens": 20}),
    ("temperature", {"extra_body": {"temperature": 0}}, {"extra_body": {"temperature": 1}}),
    ("tools", {}, {"tools": [TOOL]}),
    ("thinking", {}, {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    ("user", {"metadata": {"user_id": "ann"}}, {"metadata": {"user_id": "bob"}}),
    ("beta", {}, {"headers": {"anthropic-beta": "context-1m-2025-08-07"}}),
    ("version", {}, {"headers": {"anthropic-version": "2099-01-01"}}),
    ("unknown field", {}, {"extra_body": {"mood": "grim"}}),
]


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in WALLS], ids=[case[0] for case in WALLS])
def test_nothing_is_served_across_a_wall(
    claude: anthropic.Anthropic, first: dict[str, Any], second: dict[str, Any]
) -> None:
    stored = ask(claude, "How can I reset my password?", **first)
    asked = ask(claude, "How can I reset my password?", **second)
    assert asked.hit is None
    assert asked.text != stored.text


def test_another_tenants_answer_is_never_served(new_claude: NewClaude) -> None:
    ask(new_claude("sk-ant-one"), "How do I reset my password?")
    assert ask(new_claude("sk-ant-two"), "How do I reset my password?").hit is None
    assert ask(new_claude("sk-ant-one"), "How do I reset my password?").hit == "exact"


def test_what_chat_stored_is_not_served_here(new_claude: NewClaude, new_client: Callable[..., Any]) -> None:
    turns: Any = [{"role": "user", "content": "How do I reset my password?"}]
    new_client("sk-both").chat.completions.create(model=MODEL, messages=turns, max_tokens=100)
    assert ask(new_claude("sk-both"), turns).hit is None


def test_cache_control_travels_and_makes_no_difference(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    marked = {"type": "ephemeral"}
    system = [{"type": "text", "text": "You are terse.", "cache_control": marked}]
    first = ask(claude, "Why is the sky blue?", system=system, tools=[{**TOOL, "cache_control": marked}])
    sent = upstream.requests[0].json
    assert sent["system"][0]["cache_control"] == sent["tools"][0]["cache_control"] == marked
    again = ask(
        claude,
        [{"role": "user", "content": [{"type": "text", "text": "Why is the sky blue?", "cache_control": marked}]}],
        system="You are terse.",
        tools=[TOOL],
    )
    assert (again.hit, again.text) == ("exact", first.text)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_replays_on_an_exact_match_alone_with_a_fresh_id(
    claude: anthropic.Anthropic, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(messages_api(text_block("I will look."), tool_use(city="Oslo")))
    first = ask(claude, "What is Oslo's climate like?", tools=[TOOL])
    again = ask(claude, "What is Oslo's climate like?", tools=[TOOL], stream=stream)
    assert again.hit == "exact"
    assert again.message.stop_reason == "tool_use"
    call, before = again.message.content[1], first.message.content[1]
    assert (call.name, call.input) == ("get_weather", {"city": "Oslo"})
    assert call.id.startswith("toolu_")
    assert call.id != before.id
    assert ask(claude, "What's Oslo's climate like?", tools=[TOOL]).hit is None


def test_a_loop_of_tool_calls_is_found_again_with_its_replayed_ids(
    claude: anthropic.Anthropic, upstream: FakeUpstream
) -> None:
    def run() -> list[str | None]:
        turns: list[Any] = [{"role": "user", "content": "What is Oslo's climate like?"}]
        asked = ask(claude, turns, tools=[TOOL])
        call = asked.message.content[0]
        turns += [
            {"role": "assistant", "content": asked.message.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Cold."}]},
        ]
        return [asked.hit, ask(claude, turns, tools=[TOOL]).hit]

    upstream.script(messages_api(tool_use(city="Oslo")), messages_api(text_block("It is cold in Oslo.")))
    assert run() == [None, None]
    assert run() == ["exact", "exact"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_back_signed_on_an_exact_match_alone(
    claude: anthropic.Anthropic, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(messages_api(thinking(), text_block("It is 42.")))
    wish: Any = {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    first = ask(claude, "What is the answer to everything?", stream=not stream, **wish)
    again = ask(claude, "What is the answer to everything?", stream=stream, **wish)
    assert again.hit == "exact"
    assert again.message.content[0] == first.message.content[0]
    assert again.text == first.text
    assert again.message.content[0].signature == "c2lnbmVk"
    assert ask(claude, "What's the answer to everything?", **wish).hit is None


def test_conversations_whose_answers_came_from_one_entry_go_on_together(claude: anthropic.Anthropic) -> None:
    def chat(first: str, second: str) -> list[Told]:
        opening = ask(claude, first)
        turns = [
            {"role": "user", "content": first},
            {"role": "assistant", "content": opening.message.content},
            {"role": "user", "content": second},
        ]
        return [opening, ask(claude, turns)]

    stored = chat("How do I reset my password?", "And how long does that take?")
    again = chat("How can I reset my password?", "And how long does that take?")
    assert [told.hit for told in again] == ["semantic", "semantic"], [told.status for told in again]
    assert again[1].text == stored[1].text


def test_tools_that_the_provider_runs_are_never_cached(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    for _ in range(2):
        told = ask(claude, "Who won the match?", tools=[SEARCH])
        assert told.status == "deja; fwd=bypass; detail=not-cacheable"
    assert len(upstream.requests) == 2


def test_an_answer_that_was_cut_short_is_not_stored(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    upstream.script(messages_api(text_block("It was a dark and"), stop_reason="max_tokens"))
    for _ in range(2):
        assert "stored" not in ask(claude, "Tell me a story.").status


def test_errors_of_deja_have_anthropics_shape(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(claude, "Hello?", headers={"X-Deja-Mode": "sometimes"})
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert "X-Deja-Mode" in body["error"]["message"]
    with pytest.raises(anthropic.APIStatusError) as missing:
        ask(claude, "Who built the Pantheon?", headers={"Cache-Control": "only-if-cached"})
    assert missing.value.status_code == 504
    assert not upstream.requests


def test_errors_of_the_provider_pass_unchanged(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    upstream.script(answer(error, status=529))
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(claude, "Hello there?")
    assert (caught.value.status_code, caught.value.body) == (529, error)


def test_a_stream_that_breaks_off_ends_with_an_error_the_sdk_raises(
    claude: anthropic.Anthropic, upstream: FakeUpstream
) -> None:
    upstream.script(cut_after(named(message_events(text_block("Once upon a time"))[:4])))
    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        ask(claude, "Tell me a tale.", stream=True)


def test_counting_tokens_passes_through(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    upstream.script(answer({"input_tokens": 14}))
    counted = claude.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert counted.input_tokens == 14
    assert upstream.requests[0].path == "/v1/messages/count_tokens"
