"""How the vector index is asked."""

from __future__ import annotations

import pytest

from proxy.stores.search_policy import CROSSING_LEAST, KNOWN_AT_MOST, KNOWN_FOR_S, OWN_CHOICE_FROM, SearchPolicy


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
    made.learn("large", is_beyond=True)
    assert "BATCHES" in made.hints("large")
    assert "HYBRID_POLICY" not in made.hints("never heard of")


def test_a_walk_in_a_large_index_is_never_insisted_on(clock: Clock) -> None:
    made = policy(OWN_CHOICE_FROM, clock)
    made.learn("large", is_beyond=True)
    assert "HYBRID_POLICY" not in made.hints("large")


@pytest.mark.parametrize("documents", [10_000, 1_000_000])
def test_a_small_partition_is_compared_whole_in_an_index_of_any_size(documents: int, clock: Clock) -> None:
    made = policy(documents, clock)
    made.learn("small", is_beyond=False)
    assert made.hints("small") == "HYBRID_POLICY ADHOC_BF"


def test_what_counts_as_small_grows_with_the_index(clock: Clock) -> None:
    crossings = [policy(documents, clock).crossing for documents in (0, 10_000, 100_000, 1_000_000)]
    assert crossings == [CROSSING_LEAST, CROSSING_LEAST, 4743, 15_000]


def test_the_size_of_a_partition_is_asked_for_once_a_while(clock: Clock) -> None:
    made = policy(CROSSING_LEAST + 1, clock)
    assert made.wants_size("a")
    made.learn("a", is_beyond=False)
    assert not made.wants_size("a")
    clock.now_s += KNOWN_FOR_S
    assert made.wants_size("a")


def test_no_partition_of_a_tiny_index_can_be_large(clock: Clock) -> None:
    assert not policy(CROSSING_LEAST, clock).wants_size("a")


def test_a_larger_graph_is_searched_with_more_candidates(clock: Clock) -> None:
    held = [int(policy(documents, clock).hints("a").split()[-1]) for documents in (0, 10_000, 100_000, 1_000_000)]
    assert held == sorted(held)
    assert held[0] < held[-1]


def test_what_is_known_of_partitions_is_bounded(clock: Clock) -> None:
    made = policy(CROSSING_LEAST + 1, clock)
    for number in range(KNOWN_AT_MOST + 1):
        made.learn(str(number), is_beyond=True)
    assert made.wants_size("0")
    assert not made.wants_size("1")
