"""Gates that nothing talks over, and the choice of the surest candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import Judged, choose, screen, why_not_merge
from proxy.core.gates import HARD, GateReason
from proxy.core.models import Reason

ASKED = "How do I reset my password?"
CONFIDENCES = st.none() | st.floats(0, 1)


def test_candidates_keep_their_order_and_their_places() -> None:
    judged = screen(ASKED, [(4, "How can I reset my password?", 0.93), (2, "How to reset my password", 0.97)])
    assert [(one.index, one.similarity) for one in judged] == [(4, 0.93), (2, 0.97)]
    assert screen(ASKED, []) == []


def test_a_hard_gate_stands_beside_everything_that_objects() -> None:
    (judged,) = screen("What is 2 + 2?", [(0, "What is 2 + 3?", 1.0)])
    assert judged.gate is GateReason.NUMBER
    assert judged.gate in judged.objections


def test_a_soft_objection_refuses_nothing_by_itself() -> None:
    (judged,) = screen("How do I get a refund?", [(0, "What is the way to get my money back?", 0.8)])
    assert judged.gate is None
    assert judged.objections
    assert not judged.objections & HARD


def test_the_surest_candidate_is_chosen_not_the_most_similar() -> None:
    verdict = choose([Judged(0, 0.97, confidence=0.95, logit=1.0), Judged(1, 0.9, confidence=0.99, logit=3.0)], 0.9)
    assert (verdict.chosen, verdict.confidence, verdict.level) == (1, 0.99, 0.9)


def test_a_gate_is_not_talked_over_by_confidence() -> None:
    verdict = choose([Judged(0, 1.0, gate=GateReason.NUMBER, confidence=1.0, logit=9.0)], 0.5)
    assert verdict.chosen is None
    assert verdict.reason is GateReason.NUMBER


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (Judged(0, 0.9, gate=GateReason.NEGATION), GateReason.NEGATION),
        (Judged(0, 0.6), Reason.BELOW_CONFIDENCE),
        (Judged(0, 0.9, logit=-2.0, confidence=0.3), Reason.VERIFIER),
        (Judged(0, 0.9, logit=-math.inf, confidence=0.0), Reason.TEXT_TOO_LONG),
    ],
)
def test_a_miss_gives_the_reason_of_the_most_similar_candidate(judged: Judged, reason: str) -> None:
    other = Judged(1, 0.5, logit=-5.0, confidence=0.1)
    assert choose([judged, other], 0.9).reason == reason


@given(st.lists(st.builds(Judged, st.just(0), st.just(0.9), confidence=CONFIDENCES), min_size=1), st.floats(0, 1))
def test_adding_a_refusal_never_adds_a_hit(candidates: list[Judged], level: float) -> None:
    refused = [replace(candidates[0], gate=GateReason.NUMBER), *candidates[1:]]
    if choose(refused, level).chosen is not None:
        assert choose(candidates, level).chosen is not None


@given(CONFIDENCES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_level_never_adds_a_hit(confidence: float | None, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if choose([Judged(0, 0.9, confidence=confidence)], high).chosen is not None:
        assert choose([Judged(0, 0.9, confidence=confidence)], low).chosen is not None


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("I'm writing to my wife: how do I say sorry?", "How do I say sorry?"),
        ("How do I reset my password?", "How do I not reset my password?"),
    ],
)
def test_conversations_that_may_differ_later_are_not_merged(stored: str, asked: str) -> None:
    assert why_not_merge(stored, asked) is not None
    assert why_not_merge(asked, stored) is not None


@pytest.mark.parametrize(
    ("stored", "asked", "may"),
    [
        ("How much sleep does a teenager need?", "How many hours of sleep do teenagers need?", True),
        ("How do I stop a tap from dripping?", "My tap keeps dripping, how can I stop it?", True),
        ("I'm writing to my wife: how do I say sorry?", "How do I say sorry?", False),
        ("How do I boil an egg?", "How do I boil 3 eggs?", False),
    ],
)
def test_what_is_surely_the_same_may_differ_in_how_much_and_whose(stored: str, asked: str, may: bool) -> None:
    assert why_not_merge(stored, asked) is not None
    assert (why_not_merge(stored, asked, is_sure=True) is None) is may
    assert (why_not_merge(asked, stored, is_sure=True) is None) is may


def test_a_plain_rewording_may_be_merged() -> None:
    assert why_not_merge("How do I reset my password?", "What is the way to reset my password?") is None
