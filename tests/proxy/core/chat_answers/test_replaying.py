"""Chat answers replayed, as JSON and as streams; nothing is lost from one to the other and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.answers import can_replay, pieces
from proxy.core.models import WireMode
from tests.builders import ANSWER, MODEL, answer_body, assistant, text_chunks, tool_call
from tests.proxy.core.chat_answers.reading import (
    USAGE,
    USAGE_CHUNK,
    counter,
    read_body,
    read_chunks,
    replayed_chunks,
    replayed_json,
)


def without_nulls(value: Any) -> Any:
    """Null and empty fields say nothing, so the two modes may differ in them."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner not in (None, "", [])}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("wire", "as_json", "as_stream"),
    [(WireMode.BOTH, True, True), (WireMode.JSON, True, False), (WireMode.STREAM, False, True)],
)
def test_how_each_kind_can_be_replayed(wire: WireMode, as_json: bool, as_stream: bool) -> None:
    assert (can_replay(wire, as_stream=False), can_replay(wire, as_stream=True)) == (as_json, as_stream)


def test_a_replay_as_json_differs_in_id_and_created_alone() -> None:
    body = answer_body()
    assert replayed_json(read_body(body)) == {**body, "id": "chatcmpl-new", "created": 7}


def test_tool_call_ids_are_minted_anew_in_json() -> None:
    calls = [tool_call("call_a"), tool_call("call_b", "g")]
    replay = replayed_json(read_body(answer_body(assistant(None, tool_calls=calls))), mint=counter())
    minted = replay["choices"][0]["message"]["tool_calls"]
    assert [call["id"] for call in minted] == ["call_new1", "call_new2"]
    assert [call["function"] for call in minted] == [call["function"] for call in calls]


def test_tool_call_ids_are_minted_anew_in_streams() -> None:
    calls = [tool_call("call_a"), tool_call("call_b", "g")]
    replay = replayed_chunks(read_body(answer_body(assistant(None, tool_calls=calls))), mint=counter())
    assert read_chunks(replay).body["choices"][0]["message"]["tool_calls"] == [
        tool_call("call_new1"),
        tool_call("call_new2", "g"),
    ]


def test_a_choice_without_tool_calls_beside_one_with_them_is_left_alone() -> None:
    choices = [{"index": 0, "message": assistant(), "finish_reason": "stop"}]
    choices.append({"index": 1, "message": assistant(None, tool_calls=[tool_call()]), "finish_reason": "tool_calls"})
    replay = replayed_json(read_body(answer_body(choices=choices)), mint=counter())
    assert replay["choices"][0] == choices[0]


def test_a_replayed_stream_has_one_id_and_created_throughout() -> None:
    chunks = replayed_chunks(read_body(answer_body()), include_usage=True)
    assert {(one["id"], one["created"], one["object"], one["model"]) for one in chunks} == {
        ("chatcmpl-new", 7, "chat.completion.chunk", f"{MODEL}-2024-07-18")
    }


def test_usage_is_streamed_only_where_asked() -> None:
    plain = replayed_chunks(read_body(answer_body()))
    assert all("usage" not in one and one["choices"] for one in plain)
    *chunks, last = replayed_chunks(read_body(answer_body()), include_usage=True)
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert all(one["usage"] is None for one in chunks)


def test_a_long_answer_is_streamed_in_pieces() -> None:
    deltas = [one["choices"][0]["delta"] for one in replayed_chunks(read_body(answer_body(assistant(ANSWER * 5))))]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert len(deltas) > 5
    assert deltas[-1] == {}


@given(st.text(max_size=300) | st.text(alphabet="ab ", max_size=300))
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(0 < len(piece) <= 48 for piece in cut)


def test_pieces_end_at_words_where_they_can() -> None:
    assert all(piece == piece.rstrip() for piece in pieces("word " * 50)[:-1])


TEXT = st.none() | st.text(max_size=120)
CALLS = st.lists(
    st.builds(tool_call, st.sampled_from(["call_a", "call_b"]), st.text(min_size=1, max_size=5), st.text(max_size=60)),
    max_size=3,
)
LOGPROBS = st.none() | st.builds(
    lambda tokens: {"content": [{"token": token, "logprob": -1.0} for token in tokens], "refusal": None},
    st.lists(st.text(max_size=3), min_size=1, max_size=3),
)
MESSAGE = st.builds(
    lambda content, refusal, reasoning, thought, calls: assistant(
        content, refusal=refusal, reasoning=reasoning, reasoning_content=thought, tool_calls=calls
    ),
    TEXT, TEXT, TEXT, TEXT, CALLS,
)  # fmt: skip
CHOICES = st.lists(
    st.tuples(MESSAGE, LOGPROBS, st.sampled_from(["stop", "length", "tool_calls"])), min_size=1, max_size=3
)


@given(CHOICES, st.booleans())
def test_an_answer_survives_json_to_stream_to_json(choices: list[tuple[Any, Any, str]], include_usage: bool) -> None:
    body = answer_body(
        choices=[
            {"index": at, "message": message, "logprobs": logprobs, "finish_reason": finish}
            for at, (message, logprobs, finish) in enumerate(choices)
        ],
        system_fingerprint="fp_1",
        service_tier="default",
    )
    plain = read_body(body)
    again = read_chunks(replayed_chunks(plain, include_usage=include_usage))
    if not include_usage:
        assert again.usage_estimated
        again.body["usage"] = USAGE
    assert without_nulls(again.body) == without_nulls(plain.body)
    assert again.wire is plain.wire is WireMode.BOTH
    assert again.has_tool_calls == plain.has_tool_calls
    assert again.finish_reasons == plain.finish_reasons


@given(st.lists(st.text(max_size=20), max_size=6))
def test_an_answer_survives_stream_to_json_to_stream(texts: list[str]) -> None:
    streamed = read_chunks([*text_chunks(*texts), USAGE_CHUNK])
    assert read_body(replayed_json(streamed)).body == streamed.body
    assert read_chunks(replayed_chunks(streamed, include_usage=True)).body == streamed.body
