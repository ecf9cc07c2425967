from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.canonical import canonical_chat, canonical_messages, plain_text
from proxy.core.keys import prefix_hash_of
from proxy.errors import RequestError
from tests.builders import assistant, chat_body, chat_request, system, tool_call, tool_result, user

# Every field of OpenAI's chat completion request, as documented, with a value other than its default.
KEYED_FIELDS: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 100,
    "modalities": ["text"],
    "model": "gpt-4o",
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "seed": 7,
    "stop": ["\n"],
    "temperature": 0.2,
    "tool_choice": "required",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_logprobs": 3,
    "top_p": 0.9,
    "user": "user-1",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}
IGNORED_FIELDS: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "metadata": {"trace": "1"},
    "store": True,
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "deja": {"mode": "exact"},
    "cache": {"ttl": 5},
}


@pytest.mark.parametrize("name", KEYED_FIELDS)
def test_every_documented_field_that_shapes_answers_is_keyed(name: str) -> None:
    value = KEYED_FIELDS[name]
    assert chat_request(**{name: value}).keyed[name] == value


@pytest.mark.parametrize("name", IGNORED_FIELDS)
def test_every_field_that_does_not_shape_answers_is_ignored(name: str) -> None:
    assert chat_request(**{name: IGNORED_FIELDS[name]}).keyed == chat_request().keyed


@pytest.mark.parametrize("name", ["enable_thinking", "top_k", "guided_json", "Stream", "prompt_cache_retention"])
def test_a_field_nobody_has_heard_of_is_keyed(name: str) -> None:
    assert chat_request(**{name: 1}).keyed[name] == 1


def test_messages_are_keyed_in_parts_and_not_as_a_field() -> None:
    assert "messages" not in chat_request().keyed


def test_the_user_field_can_be_left_out_of_the_key() -> None:
    body = chat_body(user="user-1", temperature=0)
    assert canonical_chat(body, key_user=False).keyed == {"model": body["model"], "temperature": 0}


def test_the_request_itself_is_not_changed() -> None:
    body = chat_body(system(), user(), assistant(None, tool_calls=[tool_call()]), tool_result(), stream=True)
    before = copy.deepcopy(body)
    canonical_chat(body)
    assert body == before


def test_a_conversation_is_taken_apart() -> None:
    request = chat_request(
        system(), {"role": "developer", "content": "x"}, user("a"), assistant("b"), user(" c ", name="Al")
    )
    assert [message["role"] for message in request.instructions] == ["system", "developer"]
    assert list(request.prefix) == [user("a"), assistant("b")]
    assert request.last == user(" c ", name="Al")
    assert request.question == "c"
    assert not request.has_tools


def test_a_system_message_later_on_belongs_to_the_conversation() -> None:
    request = chat_request(system("1"), user("a"), system("2"), user("b"))
    assert list(request.instructions) == [system("1")]
    assert list(request.prefix) == [user("a"), system("2")]


def test_a_lone_system_message_is_the_last_turn_and_no_question() -> None:
    request = chat_request(system())
    assert request.instructions == ()
    assert request.last == system()
    assert request.question is None


@pytest.mark.parametrize("field", ["tools", "functions"])
def test_tools_on_offer_are_noticed(field: str) -> None:
    assert chat_request(**{field: [{"name": "f"}]}).has_tools
    assert not chat_request(**{field: []}).has_tools


def test_stream_options_are_read() -> None:
    assert not chat_request().is_stream
    assert not chat_request(stream=None, stream_options=None, n=None).is_stream
    assert chat_request(stream=True).is_stream
    assert not chat_request(stream=True).include_usage
    assert not chat_request(stream=True, stream_options={"include_usage": None}).include_usage
    assert chat_request(stream=True, stream_options={"include_usage": True}).include_usage
    assert (chat_request().choices, chat_request(n=None).choices, chat_request(n=3).choices) == (1, 1, 3)


TEXT_PART = {"type": "text", "text": "hello"}


@pytest.mark.parametrize(
    ("message", "question"),
    [
        pytest.param(user("  hello\n"), "hello", id="trimmed"),
        pytest.param(user("cafe\u0301"), "caf\u00e9", id="nfc"),
        pytest.param(user([TEXT_PART]), "hello", id="one part"),
        pytest.param(user([TEXT_PART, {"type": "text", "text": "you"}]), "hello\nyou", id="parts joined"),
        pytest.param(user([TEXT_PART, {"type": "image_url", "image_url": {"url": "u"}}]), None, id="image"),
        pytest.param(user([{"type": "input_audio", "input_audio": {}}]), None, id="audio"),
        pytest.param(user([{**TEXT_PART, "cache_control": {"type": "ephemeral"}}]), None, id="part with more"),
        pytest.param(user([{"type": "text", "text": 5}]), None, id="text that is none"),
        pytest.param(user(["hello"]), None, id="bare strings"),
        pytest.param(user([]), None, id="no parts"),
        pytest.param(user("  "), None, id="blank"),
        pytest.param(user(None), None, id="null"),
        pytest.param({"role": "user"}, None, id="no content"),
        pytest.param(tool_result(), None, id="tool result"),
        pytest.param(assistant("hello"), None, id="assistant"),
    ],
)
def test_only_a_users_plain_text_is_matched_by_meaning(message: dict[str, Any], question: str | None) -> None:
    assert chat_request(user("first"), message).question == question


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"model": None}, "model", id="no model"),
        pytest.param({"model": ""}, "model", id="empty model"),
        pytest.param({"model": 5}, "model", id="model a number"),
        pytest.param({"messages": None}, "messages", id="no messages"),
        pytest.param({"messages": []}, "messages", id="empty messages"),
        pytest.param({"messages": "hi"}, "messages", id="messages a text"),
        pytest.param({"messages": [user(), "hi"]}, "messages[1]", id="message a text"),
        pytest.param({"messages": [{"content": "hi"}]}, "messages[0].role", id="no role"),
        pytest.param({"messages": [{"role": 1}]}, "messages[0].role", id="role a number"),
        pytest.param({"stream": "true"}, "stream", id="stream a text"),
        pytest.param({"stream": 1}, "stream", id="stream a number"),
        pytest.param({"stream_options": []}, "stream_options", id="stream_options a list"),
        pytest.param({"n": 0}, "n", id="n zero"),
        pytest.param({"n": True}, "n", id="n a boolean"),
        pytest.param({"n": 1.5}, "n", id="n a fraction"),
        pytest.param({"n": "2"}, "n", id="n a text"),
    ],
)
def test_a_bad_shape_is_refused_and_the_field_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        canonical_chat(chat_body() | change)
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message
    assert caught.value.status == 400


# --- the assistant's turns, as clients send them back -----------------------------------------------------------------------------

SPELLINGS: dict[str, dict[str, Any]] = {
    "as stored": assistant("It is café time.", refusal=None),
    "bare": assistant("It is café time."),
    "parts": assistant([{"type": "text", "text": "It is café time."}]),
    "nfd": assistant("It is cafe\u0301 time."),
    "outer white space": assistant("\n It is café time.  \n"),
    "nulls": assistant("It is café time.", refusal=None, audio=None, function_call=None, tool_calls=None, name=None),
    "empties": assistant("It is café time.", tool_calls=[], annotations=[], name=""),
    "reasoning": assistant("It is café time.", reasoning_content="because", reasoning="because"),
    "annotations": assistant("It is café time.", annotations=[{"type": "url_citation"}]),
    "other key order": {"content": "It is café time.", "role": "assistant"},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_an_assistant_turn_is_one_prefix(name: str) -> None:
    assert hash_after(SPELLINGS[name]) == hash_after(assistant("It is café time."))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(assistant("It is cafe time."), id="accent"),
        pytest.param(assistant("It is café time"), id="punctuation"),
        pytest.param(assistant("It is  café time."), id="inner white space"),
        pytest.param(assistant("it is café time."), id="case"),
        pytest.param(assistant(None), id="no text"),
        pytest.param(assistant("It is café time.", refusal="No."), id="refusal"),
        pytest.param(assistant("It is café time.", name="Al"), id="name"),
        pytest.param(assistant("It is café time.", tool_calls=[tool_call()]), id="tool call"),
        pytest.param(assistant("It is café time.", function_call={"name": "f", "arguments": "{}"}), id="function call"),
        pytest.param(assistant([{"type": "text", "text": "It is café time."}, {"type": "image_url"}]), id="image"),
        pytest.param(user("It is café time."), id="role"),
    ],
)
def test_any_change_of_what_was_said_is_another_prefix(other: dict[str, Any]) -> None:
    assert hash_after(other) != hash_after(assistant("It is café time."))


def test_parts_are_joined_by_a_line_break() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert hash_after(assistant(parts)) == hash_after(assistant("one\ntwo"))
    assert hash_after(assistant(parts)) != hash_after(assistant("onetwo"))


def test_empty_and_missing_content_beside_tool_calls_are_one() -> None:
    calls = [tool_call()]
    bare = {"role": "assistant", "tool_calls": calls}
    for content in (None, "", "  ", []):
        assert hash_after(assistant(content, tool_calls=calls)) == hash_after(bare)


def test_a_turn_that_is_to_be_continued_is_compared_as_sent() -> None:
    """White space at the end of a prefill changes what the model writes next."""
    assert (
        chat_request(user(), assistant("The answer is ")).last != chat_request(user(), assistant("The answer is")).last
    )


def hash_after(turn: dict[str, Any]) -> str:
    """Hash of the prefix user, turn."""
    return prefix_hash_of(chat_request(user("first"), turn, user("next")).prefix)


# --- tool-call ids ----------------------------------------------------------------------------------------------------------------


def loop(first: str, second: str, *, results: tuple[str, ...] | None = None, **change: Any) -> str:
    """Hash of an agent's prefix with two calls of these ids."""
    calls = [tool_call(first), tool_call(second, **({"arguments": '{"city":"Rome"}'} | change))]
    answered = [tool_result(call_id) for call_id in results or (first, second)]
    return prefix_hash_of(
        chat_request(user(), assistant(None, tool_calls=calls), *answered, assistant("ok"), user()).prefix
    )


def test_tool_call_ids_are_renamed_by_order() -> None:
    assert loop("call_a", "call_b") == loop("toolu_1", "toolu_2") == loop("call_1", "call_0")


def test_which_result_answers_which_call_matters() -> None:
    assert loop("a", "b", results=("b", "a")) != loop("a", "b")


@pytest.mark.parametrize(
    "change", [{"name": "get_time"}, {"arguments": '{"city":"Bonn"}'}, {"arguments": '{"city": "Rome"}'}]
)
def test_a_tool_calls_name_and_arguments_matter(change: dict[str, Any]) -> None:
    assert loop("a", "b", **change) != loop("a", "b")


def test_a_calls_position_in_a_stream_is_no_part_of_it() -> None:
    with_index = [{**tool_call(), "index": 0}]
    assert hash_after(assistant(None, tool_calls=with_index)) == hash_after(assistant(None, tool_calls=[tool_call()]))


@pytest.mark.parametrize("calls", [["x"], [{"type": "function"}], [{"id": 5}], "x", {"id": "a"}])
def test_tool_calls_of_an_odd_shape_are_compared_as_sent(calls: Any) -> None:
    request = chat_request(user(), assistant(None, tool_calls=calls), user())
    assert request.prefix[1]["tool_calls"] == calls


def test_a_result_for_no_call_is_never_taken_for_the_result_of_one() -> None:
    calls = assistant(None, tool_calls=[tool_call("x")])
    orphan = chat_request(user(), calls, tool_result("call_0"), user())
    answered = chat_request(user(), calls, tool_result("x"), user())
    assert orphan.prefix != answered.prefix


@given(st.permutations(["call_0", "call_1", "call_2", "zz"]), st.lists(st.integers(0, 3), max_size=6))
def test_ids_have_no_meaning_beyond_which_is_which(names: list[str], order: list[int]) -> None:
    def conversation(ids: list[str]) -> list[dict[str, Any]]:
        calls = [assistant(None, tool_calls=[tool_call(call_id)]) for call_id in ids[:3]]
        return canonical_messages([*calls, *(tool_result(ids[at]) for at in order)])

    assert conversation(names) == conversation(["a", "b", "c", "d"])


MESSAGES = st.lists(
    st.one_of(
        st.builds(assistant, st.one_of(st.none(), st.text(max_size=8)), refusal=st.none() | st.text(max_size=3)),
        st.builds(
            lambda ids: assistant(None, tool_calls=[tool_call(call_id) for call_id in ids]),
            st.lists(st.sampled_from(["call_0", "call_1", "call_2", "x", "y"]), max_size=3),
        ),
        st.builds(tool_result, st.sampled_from(["call_0", "call_1", "x", "y", "z"])),
        st.builds(user, st.text(max_size=8)),
    ),
    max_size=8,
)


@given(MESSAGES)
def test_canonicalising_twice_changes_nothing(messages: list[dict[str, Any]]) -> None:
    once = canonical_messages(messages)
    assert canonical_messages(once) == once


@given(st.text(max_size=20))
def test_plain_text_is_the_same_taken_twice(text: str) -> None:
    once = plain_text(text)
    assert plain_text(once) == once
