"""Streamed chat answers: assembled into what a plain call would give, or refused with the reason."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import sse
from proxy.core.answers import Malformed
from proxy.core.chat_answers import estimate_usage, read_stream
from proxy.core.dialects.base import Fault
from proxy.core.dialects.chat import CHAT
from proxy.core.models import NotStored, WireMode
from tests.builders import ANSWER, answer_body, assistant, chunk, stream_of, text_chunks, tool_call
from tests.proxy.core.chat_answers.reading import USAGE, USAGE_CHUNK, read_body, read_chunks


def test_a_stream_is_assembled_into_the_answer_a_plain_call_would_give() -> None:
    body = answer_body(assistant(ANSWER, refusal=None))
    streamed = read_chunks(
        [*text_chunks("Boil it for seven minutes, ", "then cool it in ", "cold water."), USAGE_CHUNK]
    )
    plain = read_body(body)
    assert streamed.body == plain.body
    assert streamed.finish_reasons == plain.finish_reasons
    assert (streamed.wire, streamed.usage, streamed.usage_estimated) == (WireMode.BOTH, USAGE, False)


def test_every_kind_of_text_is_joined() -> None:
    names = ("content", "refusal", "reasoning_content", "reasoning")
    answer = read_chunks(
        [*(chunk({name: part}) for name in names for part in ("a", None, "", "b")), chunk({}, finish="stop")]
    )
    assert answer.message == {"role": "assistant"} | dict.fromkeys(names, "ab")


def test_tool_calls_are_assembled_from_their_pieces() -> None:
    deltas: list[list[dict[str, Any]]] = [
        [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": ""}}],
        [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"a"'}}, {"index": 1, "function": {"arguments": "{}"}}],
        [{"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": ":1}"}}],
    ]
    answer = read_chunks([*(chunk({"tool_calls": calls}) for calls in deltas), chunk({}, finish="tool_calls")])
    assert answer.message is not None
    assert answer.message["tool_calls"] == [tool_call("call_a", "f", '{"a":1}'), tool_call("call_b", "g", "{}")]
    assert answer.has_tool_calls
    assert answer.finish_reasons == ("tool_calls",)


def test_logprobs_are_joined() -> None:
    first, second = {"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}
    chunks = text_chunks("a", "b")
    chunks[1]["choices"][0]["logprobs"] = {"content": [first], "refusal": None}
    chunks[2]["choices"][0]["logprobs"] = {"content": [second], "refusal": []}
    assert read_chunks(chunks).body["choices"][0]["logprobs"] == {"content": [first, second], "refusal": None}


def test_choices_are_kept_apart_and_put_in_order() -> None:
    chunks = [
        chunk({"content": "b"}, index=1),
        chunk({"content": "a"}),
        chunk({}, finish="stop"),
        chunk({}, finish="length", index=1),
    ]
    answer = read_chunks(chunks)
    assert [choice["message"]["content"] for choice in answer.body["choices"]] == ["a", "b"]
    assert answer.finish_reasons == ("stop", "length")


def test_usage_told_with_every_chunk_is_the_last_one() -> None:
    chunks = [{**one, "usage": {"total_tokens": at}} for at, one in enumerate(text_chunks("a"), start=1)]
    assert read_chunks(chunks).usage == {"total_tokens": 3}


def test_a_stream_without_usage_gets_a_count_of_our_own() -> None:
    answer = read_chunks(text_chunks("a" * 40), prompt_chars=80)
    assert answer.usage_estimated
    assert answer.usage == answer.body["usage"] == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


def test_a_count_of_our_own_reads_tool_arguments_too() -> None:
    call = {"index": 0, **tool_call(arguments='{"city": "Bergen"}  ')}
    usage = read_chunks([chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls")]).usage
    assert usage is not None
    assert usage["completion_tokens"] == 5
    assert estimate_usage(0, 0)["prompt_tokens"] == 1


@pytest.mark.parametrize(
    "end", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n\r\n", b"data: [DONE] \n\n: bye\n\n"]
)
def test_the_closing_event_is_taken_as_providers_write_it(end: bytes) -> None:
    assert read_stream(stream_of(text_chunks("a"), is_done=False) + end, prompt_chars=4).wire is WireMode.BOTH


WHOLE = stream_of([*text_chunks("a", "b"), USAGE_CHUNK])


@pytest.mark.parametrize("cut", range(1, len(b"data: [DONE]\n\n") + 20))
def test_a_stream_cut_short_is_partial(cut: int) -> None:
    """The last two bytes are the empty line that some providers leave out."""
    if cut <= 2:
        assert read_stream(WHOLE[:-cut], prompt_chars=4).wire is WireMode.BOTH
        return
    with pytest.raises(Malformed) as caught:
        read_stream(WHOLE[:-cut], prompt_chars=4)
    assert caught.value.reason is NotStored.PARTIAL


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", NotStored.PARTIAL, id="nothing"),
        pytest.param(sse.event(sse.DONE), NotStored.MALFORMED, id="no chunk"),
        pytest.param(sse.event(b"{") + sse.event(sse.DONE), NotStored.MALFORMED, id="not json"),
        pytest.param(sse.event(b"5") + sse.event(sse.DONE), NotStored.MALFORMED, id="a number"),
        pytest.param(
            CHAT.error_event(Fault(502, "no", "t", "c")) + sse.event(sse.DONE), NotStored.MALFORMED, id="an error event"
        ),
        pytest.param(stream_of(text_chunks("a"), is_done=False), NotStored.PARTIAL, id="no end"),
        pytest.param(WHOLE + sse.event(b"{}"), NotStored.PARTIAL, id="more after the end"),
        pytest.param(stream_of([USAGE_CHUNK]), NotStored.EMPTY, id="usage alone"),
        pytest.param(stream_of([{"choices": ["a"]}]), NotStored.MALFORMED, id="choice a text"),
        pytest.param(stream_of([{"choices": [{"delta": "a"}]}]), NotStored.MALFORMED, id="delta a text"),
        pytest.param(stream_of([chunk({"tool_calls": 5})]), NotStored.MALFORMED, id="calls a number"),
        pytest.param(stream_of([chunk({"content": "a"}, index=[])]), NotStored.MALFORMED, id="index a list"),  # type: ignore[arg-type]
        pytest.param(
            stream_of([chunk({"content": "a"}), {"choices": [{"index": 0, "delta": {}, "logprobs": 5}]}]),
            NotStored.MALFORMED,
            id="logprobs a number",
        ),
        pytest.param(stream_of([{"choices": [{"delta": {"refusal": 5}}]}]), NotStored.MALFORMED, id="refusal a number"),
    ],
)
def test_a_stream_that_is_no_answer_says_why(raw: bytes, reason: NotStored) -> None:
    with pytest.raises(Malformed) as caught:
        read_stream(raw, prompt_chars=4)
    assert caught.value.reason is reason


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_comments_and_line_ends_between_chunks_make_no_difference(cuts: list[int], end: bytes, has_pings: bool) -> None:
    """How the bytes were split cannot matter, since they are joined before they are read."""
    noisy = WHOLE.replace(b"\n\n", b"\n\n: ping\n\n" if has_pings else b"\n\n").replace(b"\n", end)
    at = sorted(min(cut, len(noisy)) for cut in cuts)
    split = [noisy[start:stop] for start, stop in itertools.pairwise([0, *at, len(noisy)])]
    assert read_stream(b"".join(split), prompt_chars=4) == read_stream(WHOLE, prompt_chars=4)
