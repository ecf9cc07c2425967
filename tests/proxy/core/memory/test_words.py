"""The words of a text: the same on both sides, and never syntax."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory import words


@given(st.text(max_size=200))
def test_words_hold_no_syntax_and_are_cut_the_same_on_both_sides(text: str) -> None:
    asked = words.asked(text)
    assert all(word.isalnum() or not word.isascii() for word in asked)
    assert not any(set(word) & set(" _|(){}[]@*~-\"'%$:;,.<>=!\\/") for word in asked)
    assert set(asked) <= set(words.indexed(text).split())


def test_words_that_every_sentence_has_are_left_out() -> None:
    assert words.asked("What does the user like to drink?") == ("lik", "drink")


def test_a_question_of_such_words_alone_is_asked_with_them() -> None:
    assert words.asked("Who are you?") == ("who", "are", "you")


def test_nothing_is_asked_of_a_text_without_words() -> None:
    assert words.asked("…?! — *") == ()


def test_a_long_text_is_asked_by_its_first_words() -> None:
    assert len(words.asked(" ".join(f"word{number}" for number in range(500)))) == words.MAX_TERMS


def test_scripts_without_spaces_are_cut_into_pairs() -> None:
    assert words.asked("東京タワー") == ("東京", "京タ", "タワ", "ワー")
    assert "東京" in words.indexed("私は東京に住む").split()


def test_compatibility_forms_and_case_are_one() -> None:
    assert words.indexed("Ｃａｆé CAFÉ") == "café café"


@pytest.mark.parametrize(
    "forms",
    [
        ("like", "likes", "liked", "liking"), ("city", "cities"), ("run", "runs", "running"), ("dish", "dishes"), ("glass", "glasses"),
        ("plan", "plans", "planned", "planning"), ("call", "calls", "called"), ("tea", "teas"), ("hope", "hopes", "hoping"),
    ],
    ids=lambda forms: str(forms[0]),
)  # fmt: skip
def test_forms_of_a_word_are_one(forms: tuple[str, ...]) -> None:
    assert len({words.indexed(form) for form in forms}) == 1


def test_short_words_numbers_and_other_scripts_keep_their_endings() -> None:
    assert words.indexed("as is bed 1990s straße red sing") == "as is bed 1990s straße red sing"
