from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import Judged, Verdict
from proxy.core.decision_log import DecisionRecord, Seen, from_told, room_of, seen_of, told
from proxy.core.gates import GateReason
from proxy.core.models import Forwarded, HitKind
from proxy.core.outcome import Outcome
from tests.builders import MODEL, candidate, chat_request, system, user

TEXT = st.text(max_size=20)
SHARE = st.none() | st.floats(0, 1)
SEEN = st.builds(
    Seen,
    entry_id=TEXT,
    question=TEXT,
    similarity=st.floats(-1, 1),
    refused=st.none() | st.just("gate-number"),
    objections=st.lists(st.just("gate-tense"), max_size=2).map(tuple),
    logit=st.none() | st.floats(-12, 12),
    confidence=SHARE,
    is_judged=st.booleans(),
    is_chosen=st.booleans(),
)
RECORD = st.builds(
    DecisionRecord,
    request_id=st.just("req_1"),
    at=st.floats(1, 2e9),
    tenant=st.just("t"),
    namespace=TEXT,
    model=st.just(MODEL),
    room=st.just("0a"),
    context=TEXT,
    outcome=st.sampled_from(["exact", "semantic", "miss"]),
    reason=TEXT,
    level=SHARE,
    asked=st.none() | st.text(min_size=1, max_size=20),
    seen=st.lists(SEEN, max_size=3).map(tuple),
    served=TEXT,
    served_at=TEXT,
    would_hit=st.sampled_from(["", "exact", "semantic"]),
    stored=TEXT,
    not_stored=TEXT,
    vote=st.none() | st.just("wrong"),
)


def record(**fields: object) -> DecisionRecord:
    made = DecisionRecord("req_1", 1.0, "t", "", MODEL, "0a", "", "miss", "no-candidate")
    return made._replace(**fields)  # type: ignore[arg-type]


@given(RECORD)
def test_a_record_survives_json(made: DecisionRecord) -> None:
    wire = orjson.loads(orjson.dumps(told(made)))
    assert from_told(wire, tenant="t", vote=made.vote) == made


def test_what_is_written_names_neither_tenant_nor_vote_nor_what_is_empty() -> None:
    assert told(record(vote="wrong")).keys() == {"request_id", "at", "model", "room", "outcome", "reason"}


def test_a_similarity_of_zero_is_a_number_and_not_nothing() -> None:
    seen = Seen("ent_1", "q", 0.0, confidence=0.0, logit=0.0)
    assert from_told(told(record(seen=(seen,))), tenant="t").seen == (seen,)


def test_what_is_no_number_does_not_break_the_reading() -> None:
    wire = orjson.dumps(told(record(seen=(Seen("ent_1", "q", math.nan, logit=-math.inf),))))
    (read,) = from_told(orjson.loads(wire), tenant="t").seen
    assert (read.similarity, read.logit) == (0.0, None)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert from_told(told(record()) | {"mood": "good"}, tenant="t") == record()


# --- what was seen -----------------------------------------------------------------------------------------------------------------


def test_every_candidate_is_seen_nearest_first_with_what_the_judge_said_of_it() -> None:
    outcome = Outcome(fwd=Forwarded.MISS)
    outcome.candidates = (
        candidate(entry_id="ent_near", question="near", distance=0.1),
        candidate(entry_id="ent_far", question="far", distance=0.3),
    )
    outcome.refused = (candidate(entry_id="ent_wrong", question="wrong", distance=0.2),)
    objections = frozenset({GateReason.NUMBER, GateReason.TENSE})
    outcome.verdict = Verdict(None, None, judged=(Judged(0, 0.9, GateReason.NUMBER, objections, 1.5, 0.4),))
    assert seen_of(outcome) == (
        Seen("ent_near", "near", 0.9, "gate-number", ("gate-number", "gate-tense"), 1.5, 0.4),
        Seen("ent_wrong", "wrong", 0.8, "feedback"),
        Seen("ent_far", "far", 0.7, is_judged=False),
    )


def test_the_chosen_one_is_marked() -> None:
    outcome = Outcome(hit=HitKind.SEMANTIC)
    outcome.candidates = (candidate(), candidate())
    outcome.verdict = Verdict(1, None, judged=(Judged(0, 0.95), Judged(1, 0.95)))
    assert [one.is_chosen for one in seen_of(outcome)] == [False, True]


def test_nothing_was_seen_where_nobody_looked() -> None:
    assert seen_of(Outcome()) == ()


@pytest.mark.parametrize(
    ("fields", "tier", "is_hit"),
    [
        ({"outcome": "exact"}, "exact", True),
        ({"outcome": "semantic"}, "semantic", True),
        ({"outcome": "bypass", "would_hit": "semantic"}, "semantic", False),
        ({"outcome": "miss"}, "", False),
    ],
    ids=["exact", "semantic", "shadow", "miss"],
)
def test_the_tier_tells_what_served_or_would_have(fields: dict[str, str], tier: str, is_hit: bool) -> None:
    made = record(**fields)
    assert (made.tier, made.is_hit) == (tier, is_hit)


# --- rooms -------------------------------------------------------------------------------------------------------------------------

WHERE = {"tenant": "t", "namespace": "", "provider": "p", "distinctions": ()}


def fields_of(*messages: dict[str, object], where: dict[str, object] | None = None, **fields: object) -> dict[str, str]:
    return dict(room_of("0a", chat_request(*messages, **fields), **(WHERE | (where or {}))).fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (fields_of(temperature=0.5), "temperature"),
        (fields_of(tools=[{"type": "function"}]), "tools"),
        (fields_of(system("You are a pirate."), user()), "instructions"),
        (fields_of(where={"namespace": "n"}), "namespace"),
        (fields_of(where={"provider": "other"}), "provider"),
        (fields_of(where={"distinctions": ("openai-project: x",)}), "headers"),
        (fields_of(nobody_heard_of=1), "nobody_heard_of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_that_keeps_answers_apart_changes_its_own_digest_alone(changed: dict[str, str], name: str) -> None:
    plain = fields_of()
    assert {one for one in changed.keys() | plain.keys() if changed.get(one) != plain.get(one)} == {name}


def test_a_digest_tells_nothing_of_its_value_and_differs_from_tenant_to_tenant() -> None:
    mine, theirs = fields_of(temperature=0.5), fields_of(temperature=0.5, where={"tenant": "u"})
    assert mine["temperature"] != theirs["temperature"]
    assert all(len(value) == 12 for value in mine.values())
