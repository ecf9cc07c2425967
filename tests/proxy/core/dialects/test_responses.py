from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.core import follow_ups
from proxy.core.dialects.response_answers import identity, replayed
from proxy.core.dialects.responses import RESPONSES
from proxy.core.models import ChatRequest, NotStored, WireMode
from proxy.core.storability import why_not_stored
from proxy.errors import RequestError
from tests.fake_answers import function_call, named, output_text, reasoning, response, response_events


def canonical(given: Any = "Why?", **fields: Any) -> ChatRequest:
    return RESPONSES.canonical({"model": "m", "input": given, **fields}, key_user=True)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


RESULT = {"type": "function_call_output", "call_id": "call_of_the_provider", "output": "4"}


def test_a_text_is_short_for_a_users_message() -> None:
    parts = [{"type": "input_text", "text": "Why?"}]
    assert canonical("Why?") == canonical([user("Why?")]) == canonical([{"type": "message", **user(parts)}])
    assert canonical().question == "Why?"


def test_ids_and_states_of_the_provider_make_no_difference() -> None:
    def going_on(*items: dict[str, Any]) -> ChatRequest:
        return canonical([user("Go"), *items, user("And?")])

    assert going_on(output_text("Yes.")) == going_on({"role": "assistant", "content": "Yes."})
    assert going_on(reasoning(), output_text("Yes.")) == going_on(output_text("Yes."))
    renamed = {**function_call(), "call_id": "call_x", "id": "fc_x"}
    assert going_on(function_call(), RESULT) == going_on(renamed, {**RESULT, "call_id": "call_x"})
    assert going_on(function_call(), RESULT) != going_on(renamed, RESULT), "the result of another call"


def test_a_turn_of_the_model_is_one_turn() -> None:
    request = canonical([user("Go"), reasoning(), output_text("I will. "), function_call(), RESULT])
    assert len(request.prefix) == 2
    turn = request.prefix[1]["turn"]
    assert turn[0] == {"type": "text", "text": "I will."}
    assert (turn[1]["type"], turn[1]["call_id"]) == ("function_call", "call_0")
    assert request.question is None


def test_an_answer_with_calls_is_the_turn_that_comes_back() -> None:
    before = [user("Go"), function_call(), RESULT]
    again = {**function_call(city="Bergen"), "call_id": "call_2"}
    answer = RESPONSES.read_json(orjson.dumps(response(output_text("One more."), again)))
    turns = RESPONSES.turns(canonical(before), answer)
    following = canonical([*before, output_text("One more."), again, {**RESULT, "call_id": "call_2"}])
    assert list(following.prefix) == turns


def test_instructions_and_leading_system_messages_stand_before_the_conversation() -> None:
    lead = {"role": "developer", "content": "Be brief."}
    request = canonical([lead, user("Why?")], instructions="Be kind.")
    assert len(request.instructions) == 2
    assert request.prefix == ()
    assert request != canonical([lead, user("Why?")])


def test_a_refusal_sent_back_is_kept_as_it_is() -> None:
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert canonical([user("Go"), refused, user("And?")]) != canonical([user("Go"), user("And?")])


@pytest.mark.parametrize(
    ("fields", "is_cacheable"),
    [
        ({}, True),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}, True),
        ({"tools": [{"type": "web_search_preview"}]}, False),
        ({"tools": [{"type": "mcp", "server_label": "s"}]}, False),
        ({"background": True}, False),
        ({"background": False}, True),
        ({"conversation": {"id": "conv_1"}}, False),
        ({"prompt": {"id": "p"}}, False),
        ({"prompt": {"id": "p", "version": "2"}}, True),
    ],
)
def test_what_depends_on_more_than_the_request_is_not_cacheable(fields: dict[str, Any], is_cacheable: bool) -> None:
    assert canonical(**fields).is_cacheable is is_cacheable


def test_only_answers_that_nobody_keeps_are_shared() -> None:
    assert canonical(store=False).is_shareable
    assert not canonical().is_shareable
    assert not canonical(store=False, metadata={"a": "1"}).is_shareable


BAD = [
    ({"input": 5}, "input"),
    ({"input": ["hi"]}, "input"),
    ({"input": [{"content": "hi"}]}, "input[0].role"),
    ({"tools": {}, "input": "x"}, None),
    ({"tools": "all"}, "tools"),
    ({"model": ""}, "model"),
]


@pytest.mark.parametrize(("fields", "param"), BAD)
def test_a_field_that_cannot_be_understood_is_named(fields: dict[str, Any], param: str | None) -> None:
    if param is None:
        assert canonical(**fields)
        return
    with pytest.raises(RequestError) as caught:
        canonical(**fields)
    assert caught.value.param == param


def test_in_chats_shape_a_conversation_has_its_tools() -> None:
    sent = {"instructions": "Be kind.", "input": [user("Go"), output_text("I will."), function_call(), RESULT]}
    system, _, called, result = RESPONSES.conversation(sent)
    assert system == {"role": "system", "content": "Be kind."}
    assert (called["content"], called["tool_calls"][0]["function"]["name"]) == ("I will.", "get_weather")
    assert result == {"role": "tool", "tool_call_id": "call_of_the_provider", "content": "4"}


def test_memories_stand_after_the_users_last_words() -> None:
    told = RESPONSES.with_memories({"input": "Which pet?"}, "<memories>")
    assert [part["text"] for part in told["input"][0]["content"]] == ["Which pet?", "<memories>"]


# --- answers ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "stored"),
    [
        ({}, None),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, NotStored.FINISH_REASON),
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, NotStored.FINISH_REASON),
        ({"status": "in_progress"}, NotStored.FINISH_REASON),
        ({"status": "completed", "error": {"code": "c"}}, NotStored.FINISH_REASON),
    ],
)
def test_only_answers_that_came_to_their_end_are_stored(fields: dict[str, Any], stored: NotStored | None) -> None:
    whole = response(output_text("a"), **fields)
    assert why_not_stored(RESPONSES.read_json(orjson.dumps(whole))) == stored


def test_a_stream_with_an_unknown_event_is_kept_as_it_came() -> None:
    events = response_events(output_text("a"))
    events.insert(2, {"type": "response.of_tomorrow", "sequence_number": 2})
    answer = RESPONSES.read_stream(b"".join(named(events)), prompt_chars=9)
    assert answer.wire is WireMode.STREAM
    assert [event["type"] for event in answer.body["events"]] == [event["type"] for event in events]
    assert "resp_of_the_provider" not in str(answer.body)


def test_what_a_response_repeats_of_its_request_is_not_stored() -> None:
    whole = response(
        output_text("a"), metadata={"secret": "zoe-1"}, safety_identifier="zoe-1", prompt_cache_key="zoe-1"
    )
    streamed = b"".join(named(response_events(output_text("a"), metadata={"secret": "zoe-1"}, user="zoe-1")))
    for answer in (RESPONSES.read_json(orjson.dumps(whole)), RESPONSES.read_stream(streamed, prompt_chars=9)):
        assert "zoe-1" not in str(answer.body)


# --- going on --------------------------------------------------------------------------------------------------------------------


def served(*output: dict[str, Any], **sent: Any) -> dict[str, Any]:
    stored = RESPONSES.read_json(orjson.dumps(response(*output))).body
    return replayed(stored, identity(sent, answer_id="resp_deja00ff", created=7))


def test_who_goes_on_sends_what_was_said_and_no_id_of_anybody_else() -> None:
    asked = {"model": "m", "input": "Go", "previous_response_id": "resp_mine"}
    replay = served(reasoning(), output_text("I will."), function_call(), **asked)
    kept = follow_ups.from_wire(follow_ups.to_wire(follow_ups.kept_of(asked, replay)))
    whole = follow_ups.continued({"model": "m", "input": [RESULT], "previous_response_id": "resp_deja00ff"}, kept)
    assert whole["previous_response_id"] == "resp_mine"
    assert [item.get("role") or item["type"] for item in whole["input"]] == [
        "user", "assistant", "function_call", "function_call_output",
    ]  # fmt: skip
    assert not any("id" in item for item in whole["input"])


def test_reasoning_goes_on_where_all_of_it_is_there() -> None:
    whole = {**reasoning(), "encrypted_content": "gAAA"}
    kept = follow_ups.kept_of({"input": "Go"}, served(whole, output_text("Yes.")))
    assert [item.get("encrypted_content") for item in kept.items] == [None, "gAAA", None]
    assert kept.previous is None
    assert "previous_response_id" not in follow_ups.continued({"input": "x", "previous_response_id": "r"}, kept)


def test_ids_of_a_replays_parts_are_its_own_and_the_same_each_time() -> None:
    one, again = (served(output_text("a"), function_call())["output"] for _ in range(2))
    assert one == again
    assert {item["id"] for item in one} == {"msg_00ff00", "fc_00ff01"}


@pytest.mark.parametrize(("value", "is_ours"), [("resp_deja1", True), ("resp_1", False), (None, False), (5, False)])
def test_ids_of_ours_are_told_apart(value: object, is_ours: bool) -> None:
    assert follow_ups.is_ours(value) is is_ours
