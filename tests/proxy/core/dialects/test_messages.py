from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.core.dialects.base import Fault
from proxy.core.dialects.messages import MESSAGES, canonical_messages
from proxy.core.models import ChatRequest, NotStored, WireMode
from proxy.core.storability import why_not_stored
from proxy.errors import RequestError
from tests.fake_answers import message, message_events, named, text_block, thinking, tool_use

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}}}
MARKED = {"type": "ephemeral"}


def body(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": list(turns) or [{"role": "user", "content": "Why?"}], **fields}


def canonical(*turns: dict[str, Any], **fields: Any) -> ChatRequest:
    return MESSAGES.canonical(body(*turns, **fields), key_user=True)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_text_is_short_for_a_block() -> None:
    assert canonical(user("Why?"), system="Be brief.") == canonical(
        user([text_block("Why?")]), system=[text_block("Be brief.")]
    )


def test_cache_control_is_in_no_key_wherever_it_stands() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text_block("4")]}
    marked_result = {**result, "cache_control": MARKED, "content": [{**text_block("4"), "cache_control": MARKED}]}
    plain = canonical(user([result, text_block("Why?")]), system=[text_block("S")], tools=[TOOL])
    assert plain == canonical(
        user([marked_result, {**text_block("Why?"), "cache_control": MARKED}]),
        system=[{**text_block("S"), "cache_control": MARKED}],
        tools=[{**TOOL, "cache_control": MARKED}],
        cache_control=MARKED,
    )


def test_what_a_tool_is_given_is_compared_whole() -> None:
    def calling(given: dict[str, Any]) -> ChatRequest:
        return canonical(user("Go"), {"role": "assistant", "content": [tool_use(**given)]}, user("And?"))

    assert calling({"cache_control": 1}) != calling({"cache_control": 2})


def test_ids_of_tools_are_renamed_by_order() -> None:
    def loop(first: str, second: str) -> ChatRequest:
        calls = [{**tool_use(), "id": first}, {**tool_use(), "id": second}]
        results = [{"type": "tool_result", "tool_use_id": each, "content": "4"} for each in (first, second)]
        return canonical(user("Go"), {"role": "assistant", "content": calls}, user(results))

    assert loop("a", "b") == loop("x", "y")
    assert loop("a", "b") != loop("a", "a")


def test_canonicalising_twice_changes_nothing() -> None:
    turns = [
        user([text_block("Go")]),
        {
            "role": "assistant",
            "content": [thinking(), text_block(" a "), text_block("b "), tool_use(), text_block(" ")],
        },
        user([{"type": "tool_result", "tool_use_id": "toolu_of_the_provider", "content": "4"}]),
    ]
    once = canonical_messages(turns)
    assert canonical_messages(once) == once
    assert once[1]["content"][0] == {"type": "text", "text": "a b"}


def test_the_models_own_beginning_is_compared_as_sent() -> None:
    one, other = (canonical(user("Why?"), {"role": "assistant", "content": text}) for text in ("Because", "Because "))
    assert one != other
    assert one.question is None


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "url", "url": "https://x"}}, text_block("What is this?")],
        [{"type": "document", "source": {"type": "text", "data": "d"}}, text_block("Sum it up.")],
        [{"type": "tool_result", "tool_use_id": "t", "content": "4"}],
    ],
    ids=["image", "document", "tool result"],
)
def test_anything_but_text_is_matched_exactly(content: Any) -> None:
    assert canonical(user(content)).question is None


TOOLS = [
    ({"name": "f", "input_schema": {}}, True),
    ({"type": "custom", "name": "f", "input_schema": {}}, True),
    ({"type": "bash_20250124", "name": "bash"}, True),
    ({"type": "text_editor_20250728", "name": "e"}, True),
    ({"type": "web_search_20250305", "name": "w"}, False),
    ({"type": "web_fetch_20250910", "name": "w"}, False),
    ({"type": "code_execution_20250825", "name": "c"}, False),
    ({"type": "of_tomorrow", "name": "t"}, False),
]


@pytest.mark.parametrize(("tool", "is_cacheable"), TOOLS, ids=[str(tool.get("type")) for tool, _ in TOOLS])
def test_tools_of_the_caller_are_cacheable_and_no_others(tool: dict[str, Any], is_cacheable: bool) -> None:
    assert canonical(tools=[tool]).is_cacheable is is_cacheable
    assert canonical(tools=[tool]).has_tools


@pytest.mark.parametrize("fields", [{"mcp_servers": [{"url": "https://x"}]}, {"container": "c_1"}])
def test_what_the_provider_keeps_is_not_cacheable(fields: dict[str, Any]) -> None:
    assert not canonical(**fields).is_cacheable


BAD = [
    ({"messages": "hi"}, "messages"),
    ({"messages": [user(5)]}, "messages[0].content"),
    ({"messages": [user(["hi"])]}, "messages[0].content"),
    ({"system": 5}, "system"),
    ({"tools": "all"}, "tools"),
    ({"stream": "yes"}, "stream"),
    ({"model": None}, "model"),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[case[1] for case in BAD])
def test_a_field_that_cannot_be_understood_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        canonical(**fields)
    assert caught.value.param == param


def test_in_chats_shape_a_conversation_has_its_tools() -> None:
    sent = body(
        user("Go"),
        {"role": "assistant", "content": [text_block("I will."), tool_use(city="Oslo")]},
        user([{"type": "tool_result", "tool_use_id": "toolu_of_the_provider", "content": "4"}, text_block("And?")]),
        system="Be brief.",
    )
    system, _, called, result, asked = MESSAGES.conversation(sent)
    assert system == {"role": "system", "content": "Be brief."}
    assert called["content"] == "I will."
    assert called["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":"Oslo"}'}
    assert result == {"role": "tool", "tool_call_id": "toolu_of_the_provider", "content": "4"}
    assert asked == {"role": "user", "content": "And?"}


def test_memories_stand_after_the_users_last_words() -> None:
    sent = body(user("Which pet?"), {"role": "assistant", "content": [tool_use()]}, user([{"type": "tool_result"}]))
    told = MESSAGES.with_memories(sent, "<memories>")
    assert told["messages"][0]["content"] == [text_block("Which pet?"), text_block("<memories>")]
    assert told["messages"][1:] == sent["messages"][1:]
    assert sent["messages"][0]["content"] == "Which pet?"


# --- answers ---------------------------------------------------------------------------------------------------------------------


def test_thinking_and_its_signature_survive_in_both_modes_and_serve_exactly_alone() -> None:
    content = [thinking("Step one, step two.", "abc"), text_block("42.")]
    whole = MESSAGES.read_json(orjson.dumps(message(*content)))
    streamed = MESSAGES.read_stream(b"".join(named(message_events(*content))), prompt_chars=9)
    assert streamed.body == whole.body
    assert whole.body["content"][0]["signature"] == "abc"
    assert whole.is_exact_only
    assert whole.wire is WireMode.BOTH


def test_citations_survive_a_stream() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0}
    events = message_events({**text_block("Yes."), "citations": []})
    events.insert(
        4, {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}}
    )
    answer = MESSAGES.read_stream(b"".join(named(events)), prompt_chars=9)
    assert answer.body["content"][0]["citations"] == [citation]
    assert answer.wire is WireMode.BOTH


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        ("end_turn", None),
        ("stop_sequence", None),
        ("tool_use", None),
        ("max_tokens", NotStored.FINISH_REASON),
        ("pause_turn", NotStored.FINISH_REASON),
        ("refusal", NotStored.FINISH_REASON),
        ("of_tomorrow", NotStored.FINISH_REASON),
    ],
)
def test_only_answers_that_came_to_their_end_are_stored(reason: str, stored: NotStored | None) -> None:
    assert why_not_stored(MESSAGES.read_json(orjson.dumps(message(text_block("a"), stop_reason=reason)))) == stored


def test_what_is_not_known_keeps_an_answer_to_its_mode() -> None:
    block = {"type": "of_tomorrow", "data": "x"}
    assert MESSAGES.read_json(orjson.dumps(message(block))).wire is WireMode.JSON
    assert MESSAGES.read_json(orjson.dumps(message(text_block("a"), mood="grim"))).wire is WireMode.JSON
    assert MESSAGES.read_json(orjson.dumps(message(text_block("a"), mood=None))).wire is WireMode.BOTH
    events = message_events(text_block("a"), block)
    answer = MESSAGES.read_stream(b"".join(named(events)), prompt_chars=9)
    assert answer.wire is WireMode.STREAM
    assert answer.is_exact_only
    assert [event["type"] for event in answer.body["events"]] == [e["type"] for e in events if e["type"] != "ping"]


def test_a_tool_call_whose_input_is_no_json_is_no_answer() -> None:
    events = message_events(tool_use(city="Oslo"))
    broken = [event for event in events if event.get("delta", {}).get("partial_json") != '{"cit']
    with pytest.raises(ValueError, match="malformed"):
        MESSAGES.read_stream(b"".join(named(broken)), prompt_chars=9)


ERRORS = [(400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found_error"), (502, "api_error"),
          (503, "overloaded_error"), (504, "timeout_error"), (422, "invalid_request_error")]  # fmt: skip


@pytest.mark.parametrize(("status", "kind"), ERRORS)
def test_errors_are_worded_as_anthropic_does(status: int, kind: str) -> None:
    error = orjson.loads(MESSAGES.error_body(Fault(status, "Mend it.", "k", "our_word", "model")))
    assert error == {
        "type": "error",
        "error": {"type": kind, "message": "Mend it.", "code": "our_word", "param": "model"},
    }
