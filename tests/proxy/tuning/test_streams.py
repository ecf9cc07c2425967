from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from embeddings.base import Embedder
from embeddings.hashing import HashingEmbedder
from embeddings.verifier import Score
from proxy.tuning.scoring import Scorer
from proxy.tuning.streams import PairJudge, Questions, run_stream
from tests.proxy.tuning.builders import calibration

TEXTS = tuple(
    f"How do I {verb} {thing}?" for verb in ("open", "close", "move") for thing in ("the door", "a door", "that door")
)
QUESTIONS = Questions(
    "doors",
    TEXTS,
    tuple(text.split()[3] for text in TEXTS),
    np.stack([one.vector for one in HashingEmbedder().embed(TEXTS)]),
)


class Oracle:
    """Says what is so, or always yes; stands where `PairJudge` does."""

    def __init__(self, *, is_right: bool = True) -> None:
        self.is_right = is_right

    def confidences(self, stored: Sequence[int], asked: int) -> list[float]:
        groups = QUESTIONS.groups
        return [0.95 if groups[one] == groups[asked] or not self.is_right else 0.1 for one in stored]


def run(judge: Oracle, level: float) -> tuple[int, int, int, int]:
    made = run_stream(QUESTIONS, cast(PairJudge, judge), {0.01: level}, orders=3).ours[0.01]
    return made.right.count, made.right.of, made.wrong.count, made.wrong.of


def test_a_judge_that_knows_hits_whenever_possible_and_is_never_wrong() -> None:
    right, possible, wrong, hits = run(Oracle(), 0.9)
    assert possible == 3 * (9 - 3)  # each order: all but the first of each group
    assert wrong == 0
    assert right == hits
    assert right > possible / 2  # those whose entry is among the nearest


def test_a_judge_that_says_yes_to_all_is_wrong_as_soon_as_something_else_is_stored() -> None:
    right, possible, wrong, hits = run(Oracle(is_right=False), 0.9)
    assert hits == 3 * (9 - 1)  # the first is stored, all others hit it
    assert right + wrong == hits
    assert wrong > right
    assert possible == 18


def test_above_every_confidence_nothing_hits() -> None:
    assert run(Oracle(), 2.0) == (0, 18, 0, 0)


def test_cosine_is_shown_where_it_is_no_more_often_wrong() -> None:
    made = run_stream(QUESTIONS, cast(PairJudge, Oracle()), {0.01: 0.9, 0.05: 0.9}, orders=2)
    for budget in (0.01, 0.05):
        cosine = made.cosine[budget]
        assert cosine is not None
        assert (cosine.wrong.value or 0.0) <= (made.ours[budget].wrong.value or 0.0)
    assert (made.texts, made.groups, made.orders) == (9, 3, 2)


class Verifier:
    """Counts what it is asked; a cosine-free yes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    fingerprint = "verifier"

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        self.asked += pairs
        return [Score(6.0, 10, is_truncated=False) for _ in pairs]

    def close(self) -> None:
        pass


def test_each_pair_is_judged_once_and_equal_texts_not_at_all() -> None:
    verifier = Verifier()
    texts = ("How do I open the door?", "How can I open the door?", "How do I open the door?")
    questions = Questions("x", texts, ("1", "1", "1"), np.zeros((3, 4), np.float32))
    judge = PairJudge(questions, Scorer(cast(Embedder, HashingEmbedder()), verifier), calibration())
    first = judge.confidences([0], 1)
    assert judge.confidences([0], 1) == first
    assert len(verifier.asked) <= 1
    assert judge.confidences([0], 2) == [2.0]


def test_progress_tells_every_run_and_ends_whole() -> None:
    told: list[tuple[int, int]] = []
    run_stream(
        QUESTIONS, cast(PairJudge, Oracle()), {0.01: 0.9, 0.02: 0.8}, orders=1, progress=lambda *step: told.append(step)
    )
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_a_stricter_level_never_makes_more_hits_of_a_judge_that_knows(level: float) -> None:
    assert run(Oracle(), level)[3] >= run(Oracle(), level + 0.01)[3]
