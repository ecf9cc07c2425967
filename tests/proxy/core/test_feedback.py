from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import feedback
from proxy.core.keys import text_digest
from tests.builders import candidate

TOMATOES, POTATOES = candidate(question="How do I grow tomatoes?"), candidate(question="How do I grow potatoes?")


def test_candidates_that_feedback_rules_out_are_parted_from_the_rest() -> None:
    unequal = frozenset({text_digest("how do I grow  TOMATOES?")})
    assert feedback.split([TOMATOES, POTATOES], unequal) == ((POTATOES,), (TOMATOES,))


def test_without_feedback_every_candidate_is_judged() -> None:
    assert feedback.split([TOMATOES, POTATOES], frozenset()) == ((TOMATOES, POTATOES), ())


def test_a_question_that_was_once_answered_wrongly_needs_more_confidence() -> None:
    assert feedback.floor(0.97, None, frozenset({"x"})) == pytest.approx(0.985)


def test_a_question_nobody_complained_about_needs_what_the_caller_asked_for() -> None:
    assert feedback.floor(0.97, None, frozenset()) is None
    assert feedback.floor(0.97, 0.99, frozenset()) == 0.99


def test_a_level_of_exact_hits_only_is_left_alone() -> None:
    assert feedback.floor(2.0, None, frozenset({"x"})) is None


@given(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)), st.booleans())
def test_feedback_never_loosens(level: float, own: float | None, has_complaints: bool) -> None:
    floor = feedback.floor(level, own, frozenset({"x"}) if has_complaints else frozenset())
    assert max(level, floor or 0.0) >= max(level, own or 0.0)
