"""The order of what was found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory import ranking
from proxy.core.memory.records import Recency, Search, SearchMode
from tests.proxy.core.memory.builders import DAY, NOW, memory

A, B, C = memory("a"), memory("b"), memory("c")


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_higher_bm25_is_never_a_lower_score_and_all_lie_below_one(one: float, other: float) -> None:
    assert 0 <= ranking.word_score(one) <= 1
    assert (ranking.word_score(one) <= ranking.word_score(other)) or one > other


def test_by_meaning_the_nearest_comes_first_with_its_distance() -> None:
    joined = ranking.joined([(A, 0.5), (B, 0.1)], [], Search("x"))
    found = ranking.ranked(joined, Search("x"), now=NOW)
    assert [(one.memory_id, distance) for one, distance, _ in found] == [("b", 0.1), ("a", 0.5)]
    assert found[0][2] == pytest.approx(0.9)


def test_a_hybrid_search_prefers_what_both_found() -> None:
    wanted = Search("x", SearchMode.HYBRID, semantic_share=0.5)
    joined = ranking.joined([(A, 0.4), (B, 0.4)], [(B, 10.0), (C, 10.0)], wanted)
    found = ranking.ranked(joined, wanted, now=NOW)
    assert [one.memory_id for one, _, _ in found] == ["b", "a", "c"]
    assert found[0][2] == pytest.approx(0.5 * 0.6 + 0.5 * 0.5)
    assert found[0][1] == pytest.approx(1 - found[0][2])


def test_a_newer_memory_overtakes_one_that_is_a_little_nearer() -> None:
    old = memory("old", created_at=NOW - 300 * DAY, accessed_at=NOW - 300 * DAY)
    wanted = Search("x", recency=Recency())
    found = ranking.ranked([(old, 0.8, 0.2), (A, 0.7, 0.3)], wanted, now=NOW)
    assert [one.memory_id for one, _, _ in found] == ["a", "old"]
    plain = ranking.ranked([(old, 0.8, 0.2), (A, 0.7, 0.3)], Search("x"), now=NOW)
    assert [one.memory_id for one, _, _ in plain] == ["old", "a"]


def test_recency_halves_after_each_half_life() -> None:
    only_age = Recency(freshness_weight=0.0, novelty_weight=1.0, half_life_created_days=10)
    assert ranking.recency(memory(created_at=NOW), only_age, now=NOW) == 1.0
    assert ranking.recency(memory(created_at=NOW - 10 * DAY), only_age, now=NOW) == pytest.approx(0.5)
    assert ranking.recency(memory(created_at=NOW + DAY), only_age, now=NOW) == 1.0


def test_more_is_looked_at_than_shown_where_the_order_may_change() -> None:
    assert ranking.depth(Search("x", limit=5)) == 6
    assert ranking.depth(Search("x", limit=5, recency=Recency())) == 40
    assert ranking.depth(Search("x", SearchMode.HYBRID, limit=100)) == 404
