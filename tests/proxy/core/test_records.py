from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.core.models import Forwarded, HitKind, NotStored, Reason
from proxy.core.outcome import Outcome
from proxy.core.records import Record, record_of
from tests.builders import ANSWER, MODEL, NOW_S, QUESTION, assistant, entry, user


def recorded(outcome: Outcome | None = None, **fields: Any) -> Record:
    defaults: dict[str, Any] = {
        "at": NOW_S,
        "tenant": "t",
        "request_id": "req_1",
        "session": "s",
        "agent": "planner",
        "model": MODEL,
        "status": 200,
        "duration_ms": 12.345,
        "messages": [user()],
        "answered": assistant(),
    }
    return record_of(outcome=outcome or missed(), **(defaults | fields))


def missed(reason: str = Reason.NO_CANDIDATE, **fields: Any) -> Outcome:
    outcome = Outcome(**fields)
    outcome.forward(Forwarded.MISS, reason)
    return outcome


def hit(kind: HitKind = HitKind.SEMANTIC) -> Outcome:
    outcome = Outcome(similarity=0.987654)
    outcome.serve(kind, entry(), now_s=NOW_S)
    return outcome


# --- records ----------------------------------------------------------------------------------------------------------------------


def test_a_miss_is_recorded_with_its_reason_and_where_it_was_stored() -> None:
    (event,) = recorded(missed(stored_as="ent_new")).events
    assert event == {
        "schema": "1",
        "event_id": "evt_1",
        "type": "deja.completion",
        "at": "1700000000.000",
        "tenant": "t",
        "session": "s",
        "agent": "planner",
        "request_id": "req_1",
        "model": MODEL,
        "outcome": "miss",
        "reason": "no-candidate",
        "entry_id": "ent_new",
        "not_stored": "",
        "similarity": "",
        "status": "200",
        "duration_ms": "12.3",
    }


def test_a_hit_is_recorded_with_the_entry_and_its_similarity() -> None:
    event = recorded(hit()).events[0]
    assert (event["outcome"], event["reason"], event["similarity"]) == ("semantic", "", "0.9877")
    assert event["entry_id"] == entry().entry_id


def test_what_shadow_mode_would_have_served_is_recorded() -> None:
    outcome = Outcome(would_hit=HitKind.EXACT)
    outcome.forward(Forwarded.BYPASS, Reason.SHADOW)
    event = recorded(outcome).events[0]
    assert (event["would_hit"], event["outcome"], event["reason"]) == ("exact", "bypass", "shadow")
    assert "would_hit" not in recorded().events[0]


def test_why_an_answer_was_not_stored_is_recorded() -> None:
    assert recorded(missed(not_stored=NotStored.FINISH_REASON)).events[0]["not_stored"] == "finish-reason"


def test_an_event_is_flat_text_and_never_holds_a_prompt() -> None:
    event = recorded(session=None, agent=None).events[0]
    assert all(isinstance(value, str) for value in event.values())
    assert (event["session"], event["agent"]) == ("", "")
    assert QUESTION not in str(event)
    assert ANSWER not in str(event)


def test_a_sessions_turns_are_what_was_asked_and_answered() -> None:
    record = recorded(messages=[user("hi", name="Al")], answered={"content": "hello"})
    assert [(role, orjson.loads(message)) for role, message in record.turns] == [
        ("user", user("hi", name="Al")),
        ("assistant", {"role": "assistant", "content": "hello"}),
    ]


def test_a_turn_without_a_role_counts_as_the_users() -> None:
    assert recorded(messages=[{"content": "hi"}]).turns[0][0] == "user"


@pytest.mark.parametrize("missing", [{"session": None}, {"answered": None}], ids=["no session", "no answer"])
def test_there_are_no_turns_without_a_session_or_an_answer(missing: dict[str, None]) -> None:
    assert recorded(**missing).turns == ()


# --- outcomes ---------------------------------------------------------------------------------------------------------------------


def test_an_outcome_is_one_word() -> None:
    collapsed = missed(is_collapsed=True)
    assert [one.label for one in (hit(), hit(HitKind.EXACT), missed(), collapsed, Outcome())] == [
        "semantic",
        "exact",
        "miss",
        "collapsed",
        "error",
    ]


def test_serving_tells_age_and_remaining_life() -> None:
    outcome = missed()
    outcome.serve(HitKind.EXACT, entry(usage_estimated=True), now_s=NOW_S)
    assert (outcome.fwd, outcome.reason, outcome.age_s, outcome.ttl_s) == (None, None, 60, 3540)
    assert outcome.usage_estimated


def test_forwarding_takes_a_hit_back() -> None:
    outcome = hit()
    outcome.forward(Forwarded.STALE, Reason.MAX_AGE)
    assert (outcome.hit, outcome.label, outcome.reason) == (None, "stale", "max-age")
