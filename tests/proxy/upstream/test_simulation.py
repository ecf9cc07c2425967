from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.simulation import EMBEDDING_DIMS, MODELS, QUOTE_CHARS, Simulated, simulate

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer"}},
            "required": ["city", "unit"],
        },
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def chat(*turns: str, **fields: Any) -> Simulated:
    """Answer a conversation: user and assistant take turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(turns)]
    body = {"model": "simulated-small", "messages": messages, **fields}
    return simulate("POST", "/chat/completions", json.dumps(body).encode(), call=1, now_s=1_700_000_000.5)


def text_of(answer: Simulated) -> str:
    assert answer.status == 200, answer.pieces
    return str(json.loads(answer.pieces[0])["choices"][0]["message"]["content"])


def events_of(answer: Simulated) -> list[dict[str, Any]]:
    assert answer.pieces[-1] == b"data: [DONE]\n\n"
    return [json.loads(piece.removeprefix(b"data: ")) for piece in answer.pieces[:-1]]


def test_an_answer_quotes_the_last_question_and_the_one_before() -> None:
    said = text_of(chat("What is Redis?", "A server.", "And what does it cost?"))
    assert "you asked “And what does it cost?”" in said
    assert "after “What is Redis?”" in said


def test_equal_requests_get_equal_words_whatever_the_call_streamed_or_not() -> None:
    whole = text_of(chat("Hello?"))
    streamed = events_of(chat("Hello?", stream=True, stream_options={"include_usage": True}))
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in streamed[:-1]) == whole


@pytest.mark.parametrize(
    "other",
    [
        chat("Hello there"),
        chat("Hi", "Hi!", "Hello?"),
        chat("Hello?", temperature=0.5),
        chat("Hello?", model="other"),
        chat("Hello?", an_unknown_field=1),
    ],
    ids=["question", "history", "temperature", "model", "unknown field"],
)
def test_another_request_gets_an_answer_that_shows_it(other: Simulated) -> None:
    assert text_of(other).split(":")[0] != text_of(chat("Hello?")).split(":")[0]


def test_a_stream_opens_with_the_role_and_ends_with_reason_usage_and_done() -> None:
    events = events_of(chat("Hello?", stream=True, stream_options={"include_usage": True}))
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == len(events) - 3
    assert all(event["usage"] is None for event in events[:-1])


def test_a_stream_carries_no_usage_unless_it_was_asked_for() -> None:
    assert all("usage" not in event for event in events_of(chat("Hello?", stream=True)))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_cuts_the_answer_and_says_so(field: str) -> None:
    body = json.loads(chat("Hello?", **{field: 5}).pieces[0])
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 5
    assert body["choices"][0]["message"]["content"].endswith(": you asked ")


@pytest.mark.parametrize(
    ("question", "choice", "is_called"),
    [
        ("Please call the tool.", "auto", True),
        ("What is a tool call?", "auto", False),
        ("What is a tool call?", "required", True),
        ("Please call the tool.", "none", False),
        ("Hello", {"type": "function", "function": {"name": "get_weather"}}, True),
    ],
)
def test_a_tool_is_called_when_asked_or_forced(question: str, choice: Any, is_called: bool) -> None:
    choice_made = json.loads(chat(question, tools=[TOOL], tool_choice=choice).pieces[0])["choices"][0]
    assert (choice_made["finish_reason"] == "tool_calls") is is_called
    if is_called:
        function = choice_made["message"]["tool_calls"][0]["function"]
        assert function["name"] == "get_weather"
        assert json.loads(function["arguments"]) == {"city": "simulated", "unit": "C"}


def test_a_streamed_tool_call_has_an_index_and_the_same_arguments() -> None:
    events = events_of(chat("Please call the tool.", tools=[TOOL], stream=True))
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert {call["index"] for call in calls} == {0}
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "simulated", "unit": "C"}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_json_is_answered_where_json_was_asked_for() -> None:
    assert list(json.loads(text_of(chat("Hello?", response_format={"type": "json_object"})))) == ["answer"]


def test_a_long_prompt_is_quoted_only_in_part() -> None:
    assert len(text_of(chat("x" * 10_000))) < QUOTE_CHARS + 300


def test_embeddings_are_of_length_one_and_the_same_in_both_encodings() -> None:
    def embed(**fields: Any) -> list[Any]:
        body = json.dumps({"model": "m", "input": ["a", "b", "a"], **fields}).encode()
        answer = simulate("POST", "/embeddings", body, call=1, now_s=0)
        return [row["embedding"] for row in json.loads(answer.pieces[0])["data"]]

    plain = embed()
    assert plain[0] == plain[2] != plain[1]
    assert sum(value * value for value in plain[0]) == pytest.approx(1.0)
    packed = struct.unpack(f"<{EMBEDDING_DIMS}f", base64.b64decode(embed(encoding_format="base64")[0]))
    assert packed == pytest.approx(plain[0], abs=1e-6)
    assert len(embed(dimensions=256)[0]) == 256


def test_models_are_listed() -> None:
    answer = simulate("GET", "/models", b"", call=1, now_s=0)
    assert [model["id"] for model in json.loads(answer.pieces[0])["data"]] == list(MODELS)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("GET", "/chat/completions", b"", 404, None),
        ("POST", "/nowhere", b"{}", 404, None),
        ("POST", "/chat/completions", b"{", 400, None),
        ("POST", "/chat/completions", b"[]", 400, None),
        ("POST", "/chat/completions", b"{}", 400, "messages"),
        ("POST", "/completions", b"{}", 400, "prompt"),
        ("POST", "/embeddings", b'{"input": 5}', 400, "input"),
    ],
)
def test_a_wrong_request_gets_an_error_in_openais_shape(
    method: str, path: str, body: bytes, status: int, param: str | None
) -> None:
    answer = simulate(method, path, body, call=1, now_s=0)
    assert answer.status == status
    assert json.loads(answer.pieces[0])["error"]["param"] == param


@given(st.fixed_dictionaries({"role": JSON, "content": JSON}), JSON, JSON, JSON, JSON)
def test_no_json_breaks_the_simulation(message: Any, tools: Any, choice: Any, limit: Any, stream: Any) -> None:
    function = {"type": "function", "function": tools if isinstance(tools, dict) else {"parameters": tools}}
    answer = chat(messages=[message], tools=[function], tool_choice=choice, max_tokens=limit, stream=stream)
    assert answer.status == 200


@given(JSON, st.sampled_from(["/chat/completions", "/completions", "/embeddings"]))
def test_no_body_breaks_the_simulation(body: Any, path: str) -> None:
    assert simulate("POST", path, json.dumps(body).encode(), call=1, now_s=0).status in (200, 400)
