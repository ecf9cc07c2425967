from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory.labels import entities_of, own_statements, topics_of


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("I'm allergic to nuts. What can I eat tonight?", ["I'm allergic to nuts."]),
        ("I’m a nurse!\nMy daughter is called Mia.", ["I'm a nurse!", "My daughter is called Mia."]),
        ("Hi! My name is Ann and I live in Leeds.", ["My name is Ann and I live in Leeds."]),
        ("My boss is Dr. Weber.", ["My boss is Dr. Weber."]),
        ("We moved to Porto in May", ["We moved to Porto in May"]),
        ("I don't eat meat.", ["I don't eat meat."]),
        ("Call me Ben", ["Call me Ben"]),
    ],
)
def test_what_a_user_plainly_states_is_kept_word_for_word(text: str, stated: list[str]) -> None:
    assert own_statements(text) == stated


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How do I sort a list?",
        "Where do I live?",
        "If I have three apples and eat one, I have two.",
        "I want to know how tides work.",
        "I'd like you to act as a pirate.",
        "Write a poem in which I am a bird.",
        "Paris is the capital of France.",
        "```\nI am a comment\n```",
        "Translate: I live in Rome",
        "I have " + "very " * 200 + "long hair.",
    ],
)
def test_questions_orders_and_what_is_not_about_the_user_are_not(text: str) -> None:
    assert own_statements(text) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("I live in New York with Tom and Mia.", ("New York", "Tom", "Mia")),
        ("My name is Ann.", ("Ann",)),
        ("We moved to Bank of Scotland Street 7", ("Bank of Scotland Street 7",)),
        ("I'm a nurse.", ()),
        ("Yesterday I bought a car.", ()),
        ("I speak Español and Łukasz", ("Español",)),
    ],
)
def test_names_are_found_as_they_are_written(text: str, names: tuple[str, ...]) -> None:
    assert entities_of(text) == names


def test_topics_are_what_it_is_about_without_names_and_common_words() -> None:
    assert topics_of("I really like hiking with Tom in the mountains near Leeds") == ("hiking", "mountains", "near")


@given(st.text(max_size=2_000))
def test_any_text_is_read_within_bounds(text: str) -> None:
    for statement in own_statements(text):
        assert 0 < len(statement) <= 500
        assert len(entities_of(statement)) <= 10
        assert len(topics_of(statement)) <= 5
