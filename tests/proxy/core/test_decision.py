"""The interim judge: a level, and gates that nothing talks over."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import (
    MERGE_SIMILARITY,
    STRICT_SIMILARITY,
    decide,
    merge_confidence,
    why_not_merge,
    why_not_serve,
)
from proxy.core.gates import GateReason
from proxy.core.models import Reason

ASKED = "How do I reset my password?"


@dataclass(frozen=True)
class Near:
    question: str
    similarity: float


def test_no_candidate_is_said() -> None:
    assert decide(ASKED, []).reason is Reason.NO_CANDIDATE


def test_the_most_similar_acceptable_candidate_is_chosen_whatever_the_order() -> None:
    candidates = [
        Near("How can I reset my password?", 0.93),
        Near("How to reset my password", 0.97),
        Near("How do I reset a phone?", 0.99),
    ]
    verdict = decide(ASKED, candidates)
    assert verdict.chosen == 1
    assert verdict.reason is None
    assert verdict.confidence is None


def test_a_miss_gives_the_reason_of_the_most_similar_candidate() -> None:
    candidates = [Near("How do I reset my password?", 0.5), Near("How do I not reset my password?", 0.95)]
    assert decide(ASKED, candidates).reason is GateReason.NEGATION


def test_a_gate_is_not_talked_over_by_similarity() -> None:
    assert why_not_serve("What is 2 + 2?", "What is 2 + 3?", 1.0) is GateReason.NUMBER


@pytest.mark.parametrize("similarity", [STRICT_SIMILARITY - 1e-6, -1.0, float("nan")])
def test_below_the_level_even_the_same_words_are_a_miss(similarity: float) -> None:
    assert why_not_serve(ASKED, ASKED, similarity) is Reason.BELOW_CONFIDENCE
    assert why_not_merge(ASKED, ASKED, similarity) is Reason.BELOW_CONFIDENCE


def test_the_level_itself_is_enough() -> None:
    assert why_not_serve(ASKED, "How can I reset my password?", STRICT_SIMILARITY) is None


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_level_never_adds_a_hit(similarity: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if decide(ASKED, [Near(ASKED, similarity)], level=high).chosen is not None:
        assert decide(ASKED, [Near(ASKED, similarity)], level=low).chosen is not None


def test_a_stricter_level_refuses_what_the_default_serves() -> None:
    near = [Near("How can I reset my password?", 0.95)]
    assert decide(ASKED, near).chosen == 0
    assert decide(ASKED, near, level=0.99).reason is Reason.BELOW_CONFIDENCE


@pytest.mark.parametrize(
    "other",
    ["How can I reset my password?", "How to reset my password", "What is the best way to reset my password?"],
)
def test_an_ordinary_rewording_merges_just_above_the_level(other: str) -> None:
    assert why_not_merge(ASKED, other, MERGE_SIMILARITY + 0.001) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Suggest a gift", "I'm writing to my wife: suggest a gift"),
        ("How do I learn Spanish?", "I am 70. How do I learn Spanish?"),
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("Plan a trip to Rome", "Plan my trip to Rome"),
    ],
)
def test_a_wording_with_facts_of_its_own_does_not_merge(one: str, other: str) -> None:
    assert why_not_merge(one, other, 0.99) is not None
    assert why_not_merge(other, one, 0.99) is not None


def test_three_turns_merged_at_the_level_leave_the_chain_above_its_floor() -> None:
    from proxy.core.context import CHAIN_FLOOR

    assert merge_confidence(MERGE_SIMILARITY) ** 3 >= CHAIN_FLOOR
    assert merge_confidence(1.0) == 1.0
    assert merge_confidence(0.9) < merge_confidence(0.95)
