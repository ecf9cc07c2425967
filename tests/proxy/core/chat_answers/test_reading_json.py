"""Whole chat answers: what is read of them, which can be streamed, too, and which are none."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.answers import Malformed
from proxy.core.chat_answers import read_json
from proxy.core.models import NotStored, WireMode
from tests.builders import answer_body, assistant, tool_call
from tests.proxy.core.chat_answers.reading import USAGE, read_body


def test_a_whole_answer_is_taken_apart() -> None:
    answer = read_body(answer_body())
    assert answer.wire is WireMode.BOTH
    assert answer.message == assistant()
    assert answer.finish_reasons == ("stop",)
    assert answer.usage == USAGE
    assert not answer.usage_estimated
    assert not answer.has_tool_calls
    assert answer.body.keys().isdisjoint({"id", "created"})


def test_several_choices_each_have_their_finish_reason() -> None:
    choices = [
        {"index": at, "message": assistant(str(at)), "finish_reason": end} for at, end in enumerate(["stop", "length"])
    ]
    answer = read_body(answer_body(choices=choices))
    assert answer.finish_reasons == ("stop", "length")
    assert answer.message == assistant("0")


@pytest.mark.parametrize(
    "message", [assistant(None, tool_calls=[tool_call()]), assistant(None, function_call={"name": "f"})]
)
def test_a_tool_call_is_noticed(message: dict[str, Any]) -> None:
    assert read_body(answer_body(message)).has_tool_calls


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(answer_body(citations=["u"]), id="top"),
        pytest.param(
            answer_body(choices=[{"message": assistant(), "finish_reason": "stop", "content_filter": {}}]), id="choice"
        ),
        pytest.param(answer_body(assistant(annotations=[{"type": "url_citation"}])), id="message"),
        pytest.param(answer_body(assistant([{"type": "text", "text": "a"}])), id="content in parts"),
        pytest.param(answer_body(assistant(None, tool_calls=[{**tool_call(), "extra": 1}])), id="call"),
        pytest.param(
            answer_body(
                assistant(None, tool_calls=[{"id": "a", "type": "function", "function": {"name": "f", "strict": 1}}])
            ),
            id="function",
        ),
        pytest.param(
            answer_body(assistant(None, tool_calls=[{"id": "a", "type": "custom", "custom": {}}])), id="custom call"
        ),
        pytest.param(answer_body(assistant(None, tool_calls=[{"id": "a", "function": None}])), id="function null"),
        pytest.param(answer_body(assistant(None, tool_calls=["a"])), id="call a text"),
    ],
)
def test_an_unknown_field_keeps_the_answer_to_json(body: dict[str, Any]) -> None:
    assert read_body(body).wire is WireMode.JSON


def test_null_and_empty_fields_say_nothing() -> None:
    message = assistant(annotations=[], audio=None, function_call=None, name="")
    assert read_body(answer_body(message)).wire is WireMode.BOTH


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b'"text"',
        b"[]",
        b"{}",
        b'{"error":{"message":"no"}}',
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":{}}',
        b'{"choices":["a"]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":"hi"}]}',
        b'{"choices":[{"message":{"content":"a","tool_calls":5}}]}',
        b'{"choices":[{"message":{"content":"a"}}],"x":' + b"[" * 600 + b"]" * 600 + b"}",
        b"\xff\xfe",
    ],
)
def test_what_is_no_chat_answer_is_malformed_and_never_an_exception_of_another_kind(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read_json(raw)
    assert caught.value.reason is NotStored.MALFORMED


@pytest.mark.parametrize("usage", [None, "many", []])
def test_a_usage_that_is_none_is_absent(usage: Any) -> None:
    assert read_body(answer_body(usage=usage)).usage is None
