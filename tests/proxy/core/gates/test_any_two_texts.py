"""Laws of the gates over what people write: any two questions, and questions with words of others thrown in."""

from __future__ import annotations

import random

import pytest

from embeddings.training import authored_groups
from proxy.core.gates import GateReason, objections

ODD = (
    "R.",
    "R.",
    "RR",
    "minus",
    "point",
    "five",
    "and",
    "a",
    "half",
    "hundred",
    "ninth",
    "401(k)",
    "401k",
    "km/h",
    "1",
    "92",
    "1992",
    "0.5",
)
ODD += (
    "kg",
    "500",
    "g",
    "7",
    "days",
    "week",
    "without",
    "when",
    "if",
    "how",
    "why",
    "who",
    "St.",
    "½",
    "-2.7",
    "²",
    "top",
    "best",
    "US",
)
PAIRS = 3_000


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [text for group in authored_groups.groups() for text in (*group.same, *(near for _, near in group.near))]


def test_no_two_questions_are_judged_by_which_of_them_was_stored(texts: list[str]) -> None:
    draw = random.Random(3)
    for _ in range(PAIRS):
        one, other = draw.sample(texts, 2)
        assert objections(one, other) == objections(other, one), (one, other)


def test_nor_are_any_words_at_all(texts: list[str]) -> None:
    draw = random.Random(4)
    words = [word for text in draw.sample(texts, 500) for word in text.split()] + [*ODD] * 20
    for _ in range(PAIRS):
        one, other = (" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(2))
        assert objections(one, other) == objections(other, one), (one, other)


def test_a_question_with_a_word_more_is_judged_alike_from_both_sides(texts: list[str]) -> None:
    draw, found = random.Random(5), set[GateReason]()
    for _ in range(PAIRS):
        words = draw.choice(texts).split()
        more = [*words]
        more.insert(draw.randint(0, len(more)), draw.choice(ODD))
        one, other = " ".join(words), " ".join(more)
        there = objections(one, other)
        assert there == objections(other, one), (one, other)
        found |= there
    assert len(found) > len(GateReason) / 2  # the words do meet most of the gates
