"""Chat streams with fields we do not know: kept chunk by chunk as they came."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.models import WireMode
from tests.builders import chunk, text_chunks, tool_call
from tests.proxy.core.chat_answers.reading import USAGE, USAGE_CHUNK, counter, read_chunks, replayed_chunks

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
