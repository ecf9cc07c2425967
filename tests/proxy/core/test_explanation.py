from __future__ import annotations

from enum import StrEnum

import pytest

from proxy.core.decision_log import DecisionRecord, Room, Seen
from proxy.core.explanation import difference, explain, nearest_room
from proxy.core.gates import GateReason
from proxy.core.models import Reason
from proxy.core.routing import RouteReason
from tests.builders import MODEL

ASKED = "How do I grow tomatoes?"
NEAR = Seen("ent_1", "How do I grow potatoes?", 0.93)


def record(**fields: object) -> DecisionRecord:
    made = DecisionRecord("req_2", 100.0, "t", "", MODEL, "0a", "c1", "miss", "no-candidate", asked=ASKED)
    return made._replace(**fields)  # type: ignore[arg-type]


def sentences(made: DecisionRecord, *, rooms: tuple[Room, ...] = (), earlier: tuple[DecisionRecord, ...] = ()) -> str:
    return " ".join(explain(made, rooms=rooms, earlier=earlier).sentences)


def why(seen: Seen, **fields: object) -> str:
    return explain(record(seen=(seen,), **fields), rooms=(), earlier=()).whys[0]


# --- where there was nothing to compare with -----------------------------------------------------------------------------------------


def test_the_fields_that_differ_from_the_nearest_room_are_named() -> None:
    own = Room("0a", {"model": "1", "instructions": "1", "temperature": "1"}, 100.0)
    near = Room("0b", {"model": "1", "instructions": "2"}, 90.0)
    far = Room("0c", {"model": "2", "instructions": "2", "temperature": "2"}, 95.0)
    found = explain(record(), rooms=(own, far, near), earlier=())
    assert found.nearest_room is not None
    assert found.nearest_room.fields == ("instructions", "temperature")
    assert "the system prompt and `temperature`" in found.sentences[0]


def test_of_equally_near_rooms_the_newest_counts() -> None:
    rooms = [Room("0a", {"seed": "1"}, 9.0), Room("0c", {"seed": "3"}, 8.0), Room("0b", {"seed": "2"}, 7.0)]
    near = nearest_room("0a", rooms)
    assert near is not None
    assert near.at == 8.0


def test_a_room_nobody_remembers_has_no_neighbour() -> None:
    assert nearest_room("0a", [Room("0b", {"seed": "2"})]) is None
    assert nearest_room("0a", [Room("0a", {"seed": "2"})]) is None


def test_another_conversation_in_the_same_room_is_told_before_other_rooms() -> None:
    earlier = (record(request_id="req_1", at=50.0, context="c0"),)
    assert "another conversation" in sentences(record(), rooms=(Room("0b", {}),), earlier=earlier)


def test_the_same_place_asked_before_means_that_nothing_is_left_there() -> None:
    earlier = (record(request_id="req_1", at=50.0), record(request_id="req_0", context="c0"))
    assert "expired" in sentences(record(), earlier=earlier)


def test_a_search_that_failed_is_not_taken_for_one_that_found_nothing() -> None:
    for reason in ("index-loading", "redis-unavailable", "max-age"):
        assert "Nothing was asked" not in sentences(record(reason=reason)), reason


def test_shadow_mode_without_a_would_be_hit_is_explained_like_a_miss() -> None:
    assert "Nothing was asked" in sentences(record(outcome="bypass", reason="shadow"))
    assert "Nothing was asked" not in sentences(
        record(outcome="bypass", reason="shadow", would_hit="exact", asked=None)
    )


def test_the_first_question_of_all_is_told_so() -> None:
    assert "Nothing was asked with these fields" in sentences(record())


# --- candidates --------------------------------------------------------------------------------------------------------------------


def test_a_miss_names_the_nearest_question_and_what_stood_between() -> None:
    said = sentences(record(reason="gate-entity", seen=(NEAR._replace(refused="gate-entity"),)))
    assert "“How do I grow potatoes?”" in said
    assert "names" in said


def test_a_confidence_is_told_beside_the_one_that_was_needed() -> None:
    assert "96.12 % where 97.00 % is needed" in why(NEAR._replace(confidence=0.9612), level=0.97)


def test_exact_hits_only_is_told_as_such() -> None:
    said = why(NEAR._replace(confidence=0.99), level=2.0)
    assert "exact hits alone" in said
    assert "200" not in said


@pytest.mark.parametrize(
    ("seen", "fields", "part"),
    [
        (NEAR._replace(refused="feedback"), {}, "a caller said before"),
        (NEAR._replace(is_judged=False), {}, "Not looked at"),
        (NEAR._replace(objections=("gate-tense", "gate-focus-soft")), {}, "tense and what is asked for"),
        (NEAR._replace(is_chosen=True), {"outcome": "semantic"}, "Its answer was served"),
        (NEAR._replace(is_chosen=True), {"would_hit": "semantic"}, "would have been served"),
        (NEAR._replace(is_chosen=True), {"reason": "not-renderable"}, "could not travel"),
    ],
    ids=["feedback", "not judged", "objections", "served", "shadow", "gone"],
)
def test_each_candidate_has_its_sentence(seen: Seen, fields: dict[str, object], part: str) -> None:
    assert part in why(seen, **fields)


# --- the rest ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*Reason, *RouteReason], ids=lambda reason: reason.value)
def test_every_reason_is_put_into_words(reason: StrEnum) -> None:
    if reason is Reason.BELOW_CONFIDENCE:  # told candidate by candidate
        assert sentences(record(reason=reason, seen=(NEAR,))).startswith("The nearest stored question")
    else:
        assert sentences(record(reason=reason, asked=None)), reason


@pytest.mark.parametrize("gate", GateReason, ids=lambda gate: gate.value)
def test_every_gate_is_put_into_words(gate: GateReason) -> None:
    assert not difference(gate).startswith("gate-")


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"outcome": "exact"}, "this very request"),
        ({"outcome": "semantic", "seen": (NEAR._replace(is_chosen=True),)}, "potatoes"),
        ({"outcome": "bypass", "would_hit": "exact"}, "exact tier would have"),
        ({"outcome": "collapsed"}, "in flight"),
        ({"outcome": "error"}, "failed"),
        ({"outcome": "bypass"}, "The provider answered."),
        ({"seen": (NEAR,)}, "no stored question near it serves"),
        ({}, "nothing is stored near it"),
    ],
    ids=["exact", "semantic", "shadow", "collapsed", "error", "bypass", "refused", "nothing near"],
)
def test_the_summary_says_who_answered(fields: dict[str, object], part: str) -> None:
    assert part in explain(record(**fields), rooms=(), earlier=()).summary


def test_what_became_of_the_answer_and_what_the_caller_said_of_it_is_told() -> None:
    assert "not stored: partial" in sentences(record(not_stored="partial"))
    assert "was stored" in sentences(record(stored="ent_9"))
    assert "was wrong" in sentences(record(outcome="exact", asked=None, vote="wrong"))
