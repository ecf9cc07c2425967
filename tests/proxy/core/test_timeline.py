from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import timeline
from tests.builders import assistant, tool_call, tool_result, user

BASE = timeline.head("deja.completion", event_id="evt_1", at=20.0, tenant="t", session="s", agent="a") | {
    "request_id": "req_1"
}


def calls(message: dict[str, Any] | None) -> list[dict[str, str]]:
    return timeline.tool_calls(message, base=BASE)


def results(*messages: dict[str, Any]) -> list[dict[str, str]]:
    return timeline.tool_results(messages, base=BASE, at=10.0)


def test_a_tool_call_is_an_event_with_name_id_and_size() -> None:
    assert calls(assistant(None, tool_calls=[tool_call("call_1", "get_weather", '{"city":"Oslo"}')])) == [
        {
            "schema": "1",
            "event_id": "evt_1.c0",
            "type": "deja.tool.call",
            "at": "20.000",
            "tenant": "t",
            "session": "s",
            "agent": "a",
            "request_id": "req_1",
            "tool": "get_weather",
            "tool_call_id": "call_1",
            "bytes": "15",
        }
    ]


def test_results_since_the_last_answer_are_events_named_after_the_call() -> None:
    asked = assistant(None, tool_calls=[tool_call("call_1", "f"), tool_call("call_2", "g")])
    earlier = [assistant(None, tool_calls=[tool_call("call_0", "old")]), tool_result("call_0")]
    found = results(*earlier, asked, tool_result("call_2", "wet"), tool_result("call_1", "dry"), user("And?"))
    assert [(event["tool"], event["tool_call_id"], event["bytes"]) for event in found] == [
        ("g", "call_2", "3"),
        ("f", "call_1", "3"),
    ]
    assert [(event["event_id"], event["at"]) for event in found] == [("evt_1.r0", "10.000"), ("evt_1.r1", "10.000")]


@pytest.mark.parametrize(
    "messages",
    [[user()], [assistant(), user()], [tool_result()]],
    ids=["no answer yet", "no tool", "a result of nothing"],
)
def test_without_tools_there_are_no_tool_events(messages: list[dict[str, Any]]) -> None:
    assert results(*messages) == []


def test_the_older_function_call_is_understood() -> None:
    asked = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    assert [(event["tool"], event["bytes"]) for event in calls(asked)] == [("f", "2")]
    (result,) = results(asked, {"role": "function", "name": "f", "content": "done"})
    assert (result["tool"], result["bytes"]) == ("f", "4")


def test_there_are_only_so_many_and_names_only_so_long() -> None:
    found = calls(assistant(None, tool_calls=[tool_call("i" * 999, "n" * 999) for _ in range(200)]))
    assert len(found) == timeline.MAX_TOOL_EVENTS
    assert {(len(event["tool"]), len(event["tool_call_id"])) for event in found} == {(256, 256)}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
odd_message = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "name", "function_call"]),
    anything | st.just("assistant") | st.just("tool") | st.just([{"function": {"name": 7, "arguments": {}}}]),
)


@given(messages=st.lists(odd_message, max_size=5))
def test_messages_of_any_shape_make_flat_events(messages: list[dict[str, Any]]) -> None:
    found = results(*messages) + [event for message in messages for event in calls(message)]
    for event in found:
        assert all(isinstance(value, str) for value in event.values())


def test_a_note_has_its_own_fields_and_cannot_take_the_heads() -> None:
    made = timeline.note(
        "deja.task.completed",
        {"task": "t1", "tenant": "another", "event_id": "x", "long": "x" * 999},
        event_id="evt_9",
        at=1.5,
        tenant="t",
        session="s",
        agent=None,
    )
    assert (made["task"], made["tenant"], made["event_id"], len(made["long"])) == ("t1", "t", "evt_9", 256)


def test_a_timeline_shows_what_is_filled_and_no_tenant() -> None:
    assert timeline.shown("5-0", BASE | {"reason": ""}) == {
        "id": "5-0",
        "schema": "1",
        "event_id": "evt_1",
        "type": "deja.completion",
        "at": 20.0,
        "session": "s",
        "agent": "a",
        "request_id": "req_1",
    }
