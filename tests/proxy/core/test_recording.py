from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import chat_answers
from proxy.core.models import Directives, Mode
from proxy.core.recording import (
    Recorded,
    Source,
    Step,
    Verdict,
    answer_digest,
    differences,
    meaning,
    put_together,
    replayed,
    taken_apart,
    wishes_of,
)
from tests.builders import answer_body, assistant, chat_body, system, tool_call, tool_result, user


def step_of(sent: dict[str, Any], *, answer: dict[str, Any] | None = None, **wishes: Any) -> Step:
    raw = None if answer is None else orjson.dumps(answer)
    return Step("t", "s", "req_1", {"status": "200"}, sent, wishes, raw, 1, 0.0)


def back(step: Step) -> dict[str, Any] | None:
    apart = taken_apart(step)
    return put_together(apart.named, dict((*apart.messages, *apart.others)))


def recorded(answer: dict[str, Any] | None, *, status: str = "200", is_there: bool = True) -> Recorded:
    told = {"status": status, "answer_digest": "" if answer is None else answer_digest(answer)}
    return Recorded(1, told, None, answer if is_there else None)


# --- taking apart ------------------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), json_values), min_size=1, max_size=6
)
fields = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in ("messages", "deja", "cache")), json_values
)


@given(messages=messages, fields=fields)
def test_a_request_taken_apart_is_put_together_again(messages: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    sent = {**fields, "messages": messages}
    assert back(step_of(sent)) == sent


@given(first=messages, more=messages)
def test_a_longer_conversation_adds_its_new_messages_alone(
    first: list[dict[str, Any]], more: list[dict[str, Any]]
) -> None:
    one = taken_apart(step_of({"messages": first}))
    other = taken_apart(step_of({"messages": [*first, *more]}))
    assert other.messages[: len(first)] == one.messages
    assert other.named["fields"] == one.named["fields"]


def test_the_same_message_elsewhere_is_another_part() -> None:
    one = taken_apart(step_of(chat_body(user("a"), user("b")))).messages
    other = taken_apart(step_of(chat_body(user("b"), user("b")))).messages
    assert one[1][0] != other[1][0]


def test_what_was_asked_of_the_cache_is_kept_where_it_can_be_sent_again() -> None:
    directives = Directives(mode=Mode.EXACT, namespace="trips", query="q", session="s", agent="a", no_store=True)
    wishes = wishes_of(directives)
    assert wishes == {"mode": "exact", "namespace": "trips", "query": "q"}
    sent = chat_body(deja={"session": "s"}, cache={"ttl": 5})
    assert back(step_of(sent, **wishes)) == {**chat_body(), "deja": wishes}
    assert back(step_of(sent)) == chat_body()


def test_a_request_with_a_part_missing_is_not_made_up() -> None:
    apart = taken_apart(step_of(chat_body(system(), user())))
    everything = dict((*apart.messages, *apart.others))
    for name in everything:
        assert put_together(apart.named, {key: everything[key] for key in everything if key != name}) is None


# --- meaning -----------------------------------------------------------------------------------------------------------------------


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


# --- replaying ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "cached", "verdict", "source"),
    [
        (recorded(stored()), stored(), Verdict.SAME, Source.CACHE),
        (recorded(stored()), None, Verdict.SAME, Source.RECORD),
        (recorded(stored(), is_there=False), stored(), Verdict.SAME, Source.CACHE),
        (recorded(stored(), is_there=False), None, Verdict.GONE, Source.NONE),
        (recorded(stored()), stored(content="Else."), Verdict.DIFFERS, Source.CACHE),
        (recorded(None), stored(), Verdict.GONE, Source.NONE),
        (recorded(None, status="500"), stored(), Verdict.NO_ANSWER, Source.NONE),
        (recorded(None, status="499"), None, Verdict.NO_ANSWER, Source.NONE),
    ],
    ids=["held", "record", "held, record gone", "both gone", "another", "never readable", "failed", "left"],
)
def test_a_replay_says_what_answered_and_whether_it_is_the_same(
    step: Recorded, cached: dict[str, Any] | None, verdict: Verdict, source: Source
) -> None:
    found = replayed(step, cached)
    assert (found.verdict, found.source) == (verdict, source)


def test_an_answer_that_became_another_is_told_apart() -> None:
    found = replayed(recorded(stored(content="It is Lisbon.")), stored(content="It is Porto."))
    assert found.differences == ("[0].content: 'It is Lisbon.' became 'It is Porto.'",)


def test_a_record_that_was_tampered_with_does_not_answer() -> None:
    step = Recorded(1, {"status": "200", "answer_digest": answer_digest(stored())}, None, stored(content="Else."))
    assert replayed(step, None).verdict is Verdict.GONE


def test_differences_name_the_place_and_are_few() -> None:
    one = chat_body(system(), user("a"), tool_result(), temperature=0.1)
    other = chat_body(system(), user("b"), seed=3)
    assert differences(one, other) == (
        "messages[1].content: 'a' became 'b'",
        "messages: 3 became 2",
        "temperature: '0.1' is not there any more",
        "seed: '3' is new",
    )
    assert differences(one, one) == ()
    assert len(differences({str(at): 1 for at in range(50)}, {})) == 5


def test_of_long_texts_the_part_that_differs_is_shown() -> None:
    told = differences({"a": "x" * 500 + "one"}, {"a": "x" * 500 + "two"})
    assert told == ("a: '…xxxxxxxxxxone' became '…xxxxxxxxxxtwo'",)


@given(one=json_values, other=json_values)
def test_equal_values_have_no_difference_and_others_have_one(one: Any, other: Any) -> None:
    assert bool(differences({"v": one}, {"v": other})) is (one != other)
