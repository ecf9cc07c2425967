"""How the vector index is asked."""

from __future__ import annotations

import pytest

from proxy.stores.search_policy import KNOWN_AT_MOST, KNOWN_FOR_S, OWN_CHOICE_FROM, WORTH_WALKING, SearchPolicy


class Clock:
    """A clock that is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def policy(documents: int, clock: Clock) -> SearchPolicy:
    made = SearchPolicy(clock)
    made.documents = documents
    return made


def test_a_large_partition_of_a_small_index_is_walked(clock: Clock) -> None:
    made = policy(OWN_CHOICE_FROM - 1, clock)
    made.learn("large", is_large=True)
    made.learn("small", is_large=False)
    assert "BATCHES" in made.hints("large")
    assert "BATCHES" not in made.hints("small")
    assert "BATCHES" not in made.hints("never heard of")


def test_a_large_index_is_left_its_own_choice(clock: Clock) -> None:
    made = policy(OWN_CHOICE_FROM, clock)
    made.learn("large", is_large=True)
    assert "BATCHES" not in made.hints("large")
    assert not made.wants_size("another")


def test_the_size_of_a_partition_is_asked_for_once_a_while(clock: Clock) -> None:
    made = policy(WORTH_WALKING + 1, clock)
    assert made.wants_size("a")
    made.learn("a", is_large=False)
    assert not made.wants_size("a")
    clock.now_s += KNOWN_FOR_S
    assert made.wants_size("a")


def test_no_partition_of_a_tiny_index_can_be_large(clock: Clock) -> None:
    assert not policy(WORTH_WALKING, clock).wants_size("a")


def test_a_larger_graph_is_searched_with_more_candidates(clock: Clock) -> None:
    held = [int(policy(documents, clock).hints("a").split()[-1]) for documents in (0, 10_000, 100_000, 1_000_000)]
    assert held == sorted(held)
    assert held[0] < held[-1]


def test_what_is_known_of_partitions_is_bounded(clock: Clock) -> None:
    made = policy(WORTH_WALKING + 1, clock)
    for number in range(KNOWN_AT_MOST + 1):
        made.learn(str(number), is_large=True)
    assert made.wants_size("0")
    assert not made.wants_size("1")
