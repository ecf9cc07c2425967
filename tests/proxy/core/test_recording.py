from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.dialects import BY_FAMILY
from proxy.core.models import Directives, Mode
from proxy.core.recording import (
    TURNS,
    Recorded,
    Source,
    Step,
    Verdict,
    differences,
    put_together,
    replayed,
    taken_apart,
    wishes_of,
)
from proxy.core.said import answer_digest
from tests.builders import answer_body, assistant, chat_body, system, tool_result, user


def step_of(sent: dict[str, Any], *, family: str | None = None, **wishes: Any) -> Step:
    told = {"status": "200"} if family is None else {"status": "200", "family": family}
    return Step("t", "s", "req_1", told, sent, wishes, None, 1, 0.0)


def back(step: Step) -> dict[str, Any] | None:
    apart = taken_apart(step)
    return put_together({**step.told, **apart.named}, dict((*apart.messages, *apart.others)))


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
    assert back(step_of(sent)) == sent, "as steps were before there was another API"


@given(family=st.sampled_from(sorted(TURNS)), said=messages | json_values, fields=fields, is_said=st.booleans())
def test_so_is_one_of_any_api(family: str, said: Any, fields: dict[str, Any], is_said: bool) -> None:
    sent = {name: value for name, value in fields.items() if name != TURNS[family]}
    sent |= {TURNS[family]: said} if is_said else {}
    assert back(step_of(sent, family=family)) == sent


def test_every_api_whose_answers_are_cached_can_be_recorded() -> None:
    assert set(BY_FAMILY) == set(TURNS)


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


def stored(**message: Any) -> dict[str, Any]:
    body = answer_body(assistant(**message))
    return {name: body[name] for name in body if name not in ("id", "created")}


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
