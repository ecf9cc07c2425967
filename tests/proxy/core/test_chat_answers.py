from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import sse
from proxy.core.answers import Answer, Malformed, can_replay, pieces
from proxy.core.chat_answers import estimate_usage, read_json, read_stream, render_json, render_stream
from proxy.core.dialects.base import Fault
from proxy.core.dialects.chat import CHAT
from proxy.core.models import NotStored, WireMode
from tests.builders import ANSWER, MODEL, answer_body, assistant, chunk, stream_of, text_chunks, tool_call

USAGE = {"prompt_tokens": 12, "completion_tokens": 13, "total_tokens": 25}
USAGE_CHUNK = chunk(None, usage=USAGE)


def read_body(body: Any) -> Answer:
    return read_json(orjson.dumps(body))


def read_chunks(chunks: Iterable[dict[str, Any]], *, prompt_chars: int = 40) -> Answer:
    return read_stream(stream_of(list(chunks)), prompt_chars=prompt_chars)


def replayed_json(answer: Answer, mint: Callable[[], str] | None = None) -> Any:
    return orjson.loads(render_json(orjson.dumps(answer.body), answer_id="chatcmpl-new", created=7, mint=mint))


def replayed_events(
    answer: Answer, *, include_usage: bool = False, mint: Callable[[], str] | None = None
) -> list[bytes]:
    return render_stream(
        orjson.dumps(answer.body), answer_id="chatcmpl-new", created=7, include_usage=include_usage, mint=mint
    )


def replayed_chunks(answer: Answer, **how: Any) -> list[dict[str, Any]]:
    datas = sse.events(b"".join(replayed_events(answer, **how)))
    assert datas[-1] == sse.DONE
    return [orjson.loads(data) for data in datas[:-1]]


def counter() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"call_new{next(numbers)}"


def without_nulls(value: Any) -> Any:
    """Null and empty fields say nothing, so the two modes may differ in them."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner not in (None, "", [])}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


# --- reading JSON -----------------------------------------------------------------------------------------------------------------


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


# --- assembling streams -----------------------------------------------------------------------------------------------------------


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


# --- streams kept as they came ----------------------------------------------------------------------------------------------------

AZURE_FIRST = {**chunk(None), "prompt_filter_results": [{"prompt_index": 0}]}


def test_an_unknown_field_keeps_a_stream_to_its_own_mode_and_chunks() -> None:
    chunks = [AZURE_FIRST, *text_chunks("a", "b")]
    answer = read_chunks([*chunks, USAGE_CHUNK])
    assert answer.wire is WireMode.STREAM
    assert answer.message == {"role": "assistant", "content": "ab", "refusal": None}
    assert answer.finish_reasons == ("stop",)
    assert (answer.usage, answer.usage_estimated) == (USAGE, False)
    identity = {"id": "chatcmpl-new", "created": 7}
    assert replayed_chunks(answer) == [{**one, **identity} for one in chunks]
    assert replayed_chunks(answer, include_usage=True) == [{**one, **identity} for one in [*chunks, USAGE_CHUNK]]


def test_a_kept_stream_without_usage_is_replayed_with_our_count_where_asked() -> None:
    answer = read_chunks([AZURE_FIRST, *text_chunks("a" * 8)], prompt_chars=8)
    assert answer.usage_estimated
    assert "usage" not in str(replayed_chunks(answer))
    last = replayed_chunks(answer, include_usage=True)[-1]
    assert last["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert (last["choices"], last["object"], last["id"]) == ([], "chat.completion.chunk", "chatcmpl-new")


@pytest.mark.parametrize(
    ("delta", "calls", "refusal"),
    [
        ({"tool_calls": [{"index": 0, **tool_call()}], "x": 1}, True, None),
        ({"function_call": {"name": "f"}}, True, None),
        ({"refusal": "No.", "x": 1}, False, "No."),
        ({"content": ["part"]}, False, None),
    ],
)
def test_what_storing_must_know_of_a_kept_stream_is_known(
    delta: dict[str, Any], calls: bool, refusal: str | None
) -> None:
    answer = read_chunks([chunk(delta), chunk({}, finish="stop"), chunk(None)])
    assert answer.wire is WireMode.STREAM
    assert answer.has_tool_calls is calls
    assert answer.message is not None
    assert answer.message["refusal"] == refusal


def test_a_call_whose_id_is_told_in_every_piece_keeps_one_id() -> None:
    parts = ['{"a":', "1}"]
    calls: list[dict[str, Any]] = [
        {"index": index, **tool_call("call_a", arguments=part)} for index in (0, 1) for part in parts
    ]
    calls.append({"index": 1, "function": {"arguments": " "}})
    answer = read_chunks([*(chunk({"tool_calls": [call]}, x=1) for call in calls), chunk({}, finish="tool_calls")])
    replay = replayed_chunks(answer, mint=counter())
    ids = [
        call.get("id") for one in replay for choice in one["choices"] for call in choice["delta"].get("tool_calls", [])
    ]
    assert ids == ["call_new1", "call_new1", "call_new2", "call_new2", None]


# --- replaying --------------------------------------------------------------------------------------------------------------------


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


# --- the judge: OpenAI's own SDK ---------------------------------------------------------------------------------------------------


def sdk(content_type: str, body: bytes) -> openai.OpenAI:
    """OpenAI's client in front of one canned reply."""

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": content_type}, content=body)

    return openai.OpenAI(
        api_key="k",
        base_url="http://deja/v1",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(reply)),
    )


SPOKEN = assistant("Let me look.", tool_calls=[tool_call("call_a"), tool_call("call_b", "get_time", "{}")])


def test_openais_sdk_reads_a_replayed_stream() -> None:
    body = b"".join(replayed_events(read_body(answer_body(SPOKEN)), include_usage=True, mint=counter()))
    with sdk("text/event-stream", body) as client:
        chunks = list(
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
        )
    assert {one.id for one in chunks} == {"chatcmpl-new"}
    deltas = [choice.delta for one in chunks for choice in one.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Let me look."
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [(call.index, call.id, call.function and call.function.name) for call in calls] == [
        (0, "call_new1", "get_weather"),
        (1, "call_new2", "get_time"),
    ]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 25


def test_openais_sdk_accumulates_a_replayed_stream_into_the_answer() -> None:
    body = b"".join(replayed_events(read_body(answer_body(SPOKEN)), mint=counter()))
    with (
        sdk("text/event-stream", body) as client,
        client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me look."
    assert [call.function.arguments for call in message.tool_calls or []] == ['{"city":"Oslo"}', "{}"]


def test_openais_sdk_reads_a_replayed_answer() -> None:
    body = render_json(orjson.dumps(read_body(answer_body()).body), answer_id="chatcmpl-new", created=7, mint=None)
    with sdk("application/json", body) as client:
        completion = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert (completion.id, completion.created) == ("chatcmpl-new", 7)
    assert completion.choices[0].message.content == ANSWER


def test_openais_sdk_raises_the_error_that_ends_a_broken_stream() -> None:
    broken = Fault(502, "It broke off.", "upstream_error", "upstream_broken")
    body = stream_of(text_chunks("a")[:2], is_done=False) + CHAT.error_event(broken)
    with sdk("text/event-stream", body) as client:
        stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
        with pytest.raises(openai.APIError, match=r"It broke off\."):
            list(stream)
