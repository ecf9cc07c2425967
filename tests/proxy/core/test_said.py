from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from proxy.core import chat_answers
from proxy.core.dialects import DIALECTS
from proxy.core.dialects.base import Dialect, Replay
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES
from proxy.core.models import Entry
from proxy.core.said import answer_digest, meaning
from tests.builders import answer_body, assistant, tool_call
from tests.fake_answers import (
    completion,
    function_call,
    message,
    message_events,
    named,
    output_text,
    reasoning,
    response,
    response_events,
    text_block,
    thinking,
    tool_use,
)
from tests.fake_upstream import chat_completion

ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hm?"}]},
    "completions": {"prompt": "Hm?"},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hm?"}]},
    "responses": {"input": "Hm?"},
}
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "chat": [chat_completion("Seven.")],
    "completions": [completion("Seven.", "Eight.")],
    "messages": [message(text_block("Seven.")), message(thinking(), text_block("Let me see."), tool_use(city="Oslo"))],
    "responses": [
        response(output_text("Seven.")),
        response(reasoning(), output_text("Let me see."), function_call(city="Oslo")),
    ],
}
EACH = [(dialect, raw) for dialect in DIALECTS for raw in ANSWERS[dialect.family]]


def stored(**message: Any) -> dict[str, Any]:
    body = answer_body(assistant(**message))
    return {name: body[name] for name in body if name not in ("id", "created")}


@pytest.mark.parametrize(
    "body",
    [stored(), stored(content=None, tool_calls=[tool_call(), tool_call("call_x", "f", "{}")]), stored(refusal="No.")],
    ids=["text", "tools", "refusal"],
)
def test_each_replay_of_an_answer_means_the_same_however_it_travels(body: dict[str, Any]) -> None:
    minted = iter(f"call_new_{number}" for number in range(100))
    raw = orjson.dumps(body)
    whole = chat_answers.read_json(
        chat_answers.render_json(raw, answer_id="x", created=1, mint=lambda: next(minted))
    ).body
    events = chat_answers.render_stream(raw, answer_id="x", created=1, include_usage=False, mint=lambda: next(minted))
    streamed = chat_answers.read_stream(b"".join(events), prompt_chars=1).body
    assert answer_digest(whole) == answer_digest(streamed) == answer_digest(body)


def test_a_stream_kept_as_its_chunks_means_what_it_says() -> None:
    def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def piece(arguments: str, **more: Any) -> dict[str, Any]:
        return {"index": 0, **more, "function": {"arguments": arguments}}

    first = {**piece("", id="call_1"), "function": {"name": "f", "arguments": ""}}
    chunks = [
        chunk(role="assistant", content="He", citations=[1]),
        chunk(content="llo"),
        chunk(tool_calls=[first]),
        chunk(tool_calls=[piece('{"a"')]),
        chunk(tool_calls=[piece(":1}")]),
        chunk("tool_calls"),
    ]
    called = stored(content="Hello", tool_calls=[tool_call("call_9", "f", '{"a":1}')])
    called["choices"][0]["finish_reason"] = "tool_calls"
    assert meaning({"chunks": chunks}) == meaning(called)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"content": "Seven."}, {"content": "Seven. "}),
        (
            {"content": None, "tool_calls": [tool_call(name="f")]},
            {"content": None, "tool_calls": [tool_call(name="g")]},
        ),
        (
            {"content": None, "tool_calls": [tool_call(arguments="{}")]},
            {"content": None, "tool_calls": [tool_call(arguments="{ }")]},
        ),
        ({"content": "a"}, {"refusal": "a", "content": None}),
    ],
    ids=["white space", "tool", "arguments", "refusal"],
)
def test_another_answer_means_something_else(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert answer_digest(stored(**one)) != answer_digest(stored(**other))


@pytest.mark.parametrize(("dialect", "answer"), EACH, ids=lambda value: getattr(value, "family", ""))
def test_in_every_api_each_replay_means_the_same(dialect: Dialect, answer: dict[str, Any]) -> None:
    read = dialect.read_json(orjson.dumps(answer))
    sent = {"model": "m", **ASKED[dialect.family]}
    numbers = itertools.count()
    replay = Replay(lambda prefix: f"{prefix}{next(numbers)}", 1, dialect.canonical(sent, key_user=True), sent)
    body = orjson.dumps(read.body)
    entry = Entry("ent_1", "", body, read.wire, 0.0, 60, has_tool_calls=read.has_tool_calls)
    whole = dialect.read_json(dialect.render_json(entry, replay)).body
    streamed = dialect.read_stream(b"".join(dialect.render_stream(entry, replay)), prompt_chars=1).body
    assert answer_digest(whole) == answer_digest(streamed) == answer_digest(read.body)
    assert meaning(read.body)[0]["content"] == read.message["content"]
    assert ("tool_calls" in meaning(read.body)[0]) is read.has_tool_calls


def test_of_every_api_another_text_another_tool_and_another_end_mean_something_else() -> None:
    said = [answer_digest(answer) for _, answer in EACH]
    said += [
        answer_digest(other)
        for other in (
            completion("Seven. "),
            message(text_block("Seven. ")),
            message(text_block("Seven."), stop_reason="max_tokens"),
            message(tool_use(city="Bergen")),
            response(output_text("Seven. ")),
            response(output_text("Seven."), status="incomplete"),
            response(function_call(city="Bergen")),
        )
    ]
    assert len(set(said)) == len(said)


def test_streams_kept_as_their_events_mean_what_they_say() -> None:
    """A kind of event that nobody here has heard of keeps a stream as it came."""
    told = [message_events(text_block("Look: "), tool_use(city="Oslo")), response_events(output_text("Seven."))]
    wholes = [message(text_block("Look: "), tool_use(city="Oslo")), response(output_text("Seven."))]
    told[0][2:2] = [{"type": "content_block_delta", "index": 0, "delta": {"type": "novel_delta"}}]
    told[1][2:2] = [{"type": "response.novel"}]
    for dialect, events, whole in zip((MESSAGES, RESPONSES), told, wholes, strict=True):
        stored_as = dialect.read_stream(b"".join(named(events)), prompt_chars=1).body
        assert "events" in stored_as
        assert meaning(stored_as) == meaning(whole)


def test_a_text_kept_as_its_chunks_means_what_it_says() -> None:
    chunks = [{"choices": [{"index": 0, "text": text, "novel": 1}]} for text in ("Sev", "en.")]
    chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    assert meaning({"chunks": chunks}) == meaning(completion("Seven."))
