from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision_log import DecisionRecord, Seen
from proxy.core.what_if import replay, wrong_between
from tests.builders import MODEL


def seen(confidence: float | None, question: str = "stored", **fields: object) -> Seen:
    return Seen("ent_1", question, 0.9, confidence=confidence)._replace(**fields)  # type: ignore[arg-type]


def record(*candidates: Seen, asked: str = "asked", outcome: str = "miss", would_hit: str = "") -> DecisionRecord:
    return DecisionRecord(
        "req_1", 50.0, "t", "", MODEL, "0a", "c", outcome, "", asked=asked, seen=candidates, would_hit=would_hit
    )


def hit(confidence: float | None, **fields: object) -> DecisionRecord:
    return record(seen(confidence, is_chosen=True, **fields), outcome="semantic")


def test_a_looser_level_lets_near_misses_in_the_worst_first() -> None:
    records = [
        record(seen(0.96), asked="a"),
        record(seen(0.93), asked="b"),
        record(seen(0.93), asked="b"),
        record(seen(0.80), asked="c"),
        hit(0.99),
    ]
    found = replay(records, level=0.9)
    assert [(pair.asked, pair.count) for pair in found.gained] == [("b", 2), ("a", 1)]
    assert [pair.asked for pair in found.near] == ["c"]
    assert (found.now.hits, found.then.hits, found.lost) == (1, 4, ())
    assert found.then.expected_wrong == pytest.approx(0.04 + 2 * 0.07 + 0.01)


def test_a_stricter_level_lets_hits_go() -> None:
    found = replay([hit(0.96), hit(0.99, question="sure")], level=0.98)
    assert [pair.confidence for pair in found.lost] == [0.96]
    assert (found.now.hits, found.then.hits) == (2, 1)


@pytest.mark.parametrize("refused", ["gate-number", "feedback"])
def test_what_refuses_by_itself_refuses_at_every_level(refused: str) -> None:
    found = replay([record(seen(0.99, refused=refused))], level=0.1)
    assert (found.then.hits, found.gained, found.near, found.undecided) == (0, (), (), 0)


def test_a_level_nothing_reaches_leaves_no_hit() -> None:
    assert replay([hit(1.0), hit(None)], level=2.0).then.hits == 0


def test_a_hit_without_a_confidence_stays_and_is_not_counted_among_the_expected() -> None:
    found = replay([hit(None), hit(0.9)], level=0.5)
    assert (found.then.hits, found.then.unscored) == (2, 1)
    assert found.then.expected_wrong == pytest.approx(0.1)
    assert found.then.wrong_rate == pytest.approx(0.1)


def test_a_miss_whose_candidate_was_not_scored_is_left_open() -> None:
    assert replay([record(seen(None)), record(seen(0.5), seen(None)), record()], level=0.9).undecided == 2


def test_shadow_hits_count_as_hits() -> None:
    shadow = record(seen(0.99, is_chosen=True), outcome="bypass", would_hit="semantic")
    assert replay([shadow], level=0.9).now.hits == 1


def test_exact_hits_are_no_matter_of_a_level() -> None:
    found = replay([record(outcome="exact")], level=0.9)
    assert (found.now.hits, found.then.hits) == (0, 0)


def test_nothing_recorded_is_told_as_nothing() -> None:
    found = replay([], level=0.9)
    assert (found.decisions, found.since, found.then.wrong_rate, found.then.high) == (0, None, None, 0)


def test_lists_are_cut_and_counts_are_not() -> None:
    found = replay([record(seen(0.95), asked=str(n)) for n in range(30)], level=0.9, show=5)
    assert (len(found.gained), found.then.hits) == (5, 30)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_level_never_adds_a_hit(confidences: list[float], one: float, other: float) -> None:
    records = [record(seen(confidence)) for confidence in confidences]
    assert replay(records, level=max(one, other)).then.hits <= replay(records, level=min(one, other)).then.hits


# --- the interval ------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), max_size=200))
def test_the_interval_holds_the_expected_count_and_stays_within_the_hits(doubts: list[float]) -> None:
    low, high = wrong_between(doubts)
    assert 0 <= low <= sum(doubts) + 1e-6
    assert sum(doubts) - 1e-6 <= high <= len(doubts)


def test_the_interval_is_a_binomials_where_all_doubts_are_equal() -> None:
    assert wrong_between([0.5] * 100) == (40, 60)  # as in any table of the binomial


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_in_at_least_95_of_100_draws(seed: int) -> None:
    chance = random.Random(seed)
    doubts = [chance.choice([0.001, 0.02, 0.3]) for _ in range(150)]
    low, high = wrong_between(doubts)
    draws = [sum(chance.random() < doubt for doubt in doubts) for _ in range(1000)]
    assert sum(low <= draw <= high for draw in draws) >= 950


def test_thousands_of_hits_are_no_burden() -> None:
    low, high = wrong_between([0.01] * 20_000)
    assert pytest.approx((low, high), abs=5) == (170, 230)
