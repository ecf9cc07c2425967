from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rivals.fixed import Cosine
from loadtest.rivals.replay import (
    MISS,
    NOT_ASKED,
    RIGHT,
    UNKNOWN,
    WRONG,
    Per,
    Store,
    TakesAll,
    Tally,
    joined,
    possible,
    replay,
)
from loadtest.rivals.streams import NOTHING, Stream
from tests.loadtest.rivals.made_up import unit_vectors


class ServesFirst(TakesAll):
    """Serves whatever was stored first."""

    def look_up(self, asked: int, store: Store) -> int | None:
        near = store.neighbours(asked, 100)
        return min(text for text, _ in near) if near else None


class ServesNothing(TakesAll):
    def look_up(self, asked: int, store: Store) -> int | None:
        return None


def stream(answer: list[int], steps: list[tuple[int, int]]) -> Stream:
    return Stream("test", tuple(f"text {n}" for n in range(len(answer))), np.array(answer, np.int64), tuple(steps))


def test_a_hit_is_right_if_the_answer_is_the_same_and_wrong_otherwise() -> None:
    tried = stream([1, 1, 2], [(NOTHING, 0), (NOTHING, 1), (NOTHING, 2)])
    outcome = replay(tried, tried.steps, ServesFirst(), Store(np.zeros((3, 3), np.float32)))
    assert outcome.tolist() == [MISS, RIGHT, WRONG]


def test_a_hit_of_which_nobody_knows_is_no_hit() -> None:
    steps = ((NOTHING, 0), (NOTHING, 1), (NOTHING, 2))
    tried = Stream("test", ("a", "b", "c"), np.array([1, 2, 3]), steps, frozenset({(1, 2)}))
    outcome = replay(tried, tried.steps, ServesFirst(), Store(np.zeros((3, 3), np.float32)))
    assert outcome.tolist() == [MISS, WRONG, UNKNOWN]
    tally = Tally(outcome[np.newaxis], tried.answer)
    assert (tally.asked.tolist(), tally.hits.tolist(), tally.wrong.tolist()) == ([3], [1], [1])


def test_what_a_step_stores_first_is_not_asked_and_a_text_is_asked_once() -> None:
    tried = stream([1, 1, 2], [(0, 1), (0, 2), (1, 2)])
    outcome = replay(tried, tried.steps, ServesNothing(), Store(np.zeros((3, 3), np.float32)))
    assert outcome.tolist() == [NOT_ASKED, MISS, MISS]


def test_an_exact_repeat_of_what_is_stored_is_not_asked() -> None:
    tried = stream([1, 1], [(0, 1), (1, 0)])
    outcome = replay(tried, tried.steps, ServesNothing(), Store(np.zeros((2, 2), np.float32)))
    assert outcome.tolist() == [NOT_ASKED, MISS]


@given(st.integers(0, 1000), st.integers(1, 5))
def test_neighbours_are_the_nearest_stored_texts_in_order(seed: int, count: int) -> None:
    vectors = unit_vectors(20, 8, seed)
    similarity = vectors @ vectors.T
    store = Store(similarity)
    for text in range(1, 15):
        store.add(text)
    expected = sorted(range(1, 15), key=lambda text: -similarity[0, text])[:count]
    assert [text for text, _ in store.neighbours(0, count)] == expected
    assert store.nearest(0) == store.neighbours(0, count)[0]
    assert store.nearer_than(3, float(similarity[3, 5])) == sum(
        similarity[3, other] > similarity[3, 5] for other in range(1, 15) if other != 3
    )


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.floats(0.0, 1.0), st.integers(0, 100))
def test_nobody_answers_more_rightly_than_is_possible(answer: list[int], threshold: float, seed: int) -> None:
    tried = stream(answer, [(NOTHING, text) for text in range(len(answer))])
    vectors = unit_vectors(len(answer), 8, seed)
    outcome = replay(tried, tried.steps, Cosine(threshold), Store(vectors @ vectors.T))
    assert np.mean(outcome == RIGHT) <= possible(tried, tried.steps) + 1e-9


def test_a_tally_counts_by_order_and_halves_keep_their_answers_apart() -> None:
    one = Tally(np.array([[MISS, RIGHT, WRONG], [MISS, MISS, NOT_ASKED]], np.int8), np.array([0, 0, 1]))
    assert one.asked.tolist() == [3, 2]
    assert one.hits.tolist() == [2, 0]
    assert one.wrong_rate(Per.HITS) == 0.5
    assert one.wrong_rate(Per.REQUESTS) == 0.2
    assert one.hit_share == 0.4
    both = joined([one, one])
    assert both.hits.tolist() == [4, 0]
    assert both.answer.tolist() == [0, 0, 1, 2, 2, 3]
