"""The goals and the report of a contest, from numbers made up."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from loadtest.load import contest_report, goals
from loadtest.load.bare import Bare
from loadtest.load.contest import (
    BYPASS,
    EXACT,
    MISS,
    POPULAR,
    SEMANTIC,
    STREAMED_MISS,
    Alone,
    AtRate,
    Contest,
    Through,
    feeds,
)
from loadtest.load.figures import Latency, summary
from loadtest.load.meters import Shares
from loadtest.load.texts import templated
from tests.loadtest.load.test_figures import sample


def alone(p50_ms: float, *, first_ms: float | None = None, event_us: float | None = None) -> Alone:
    return Alone(Latency(100, p50_ms, p50_ms, None, None), Latency(100, first_ms, None, None, None), event_us, 1.0)


def through(per_s: float, **rss_mb: float) -> Through:
    return Through(per_s, 1.0, 0, Latency(500, 1.0, 2.0, 3.0, None), Shares(5.0, {"deja": 0.9}, rss_mb))


def measured() -> Contest:
    found = Contest("2 cores", "abc", "2026-11-23", 7, connections=32, topics=100)
    found.starts = {"deja": 1.5, "litellm": 9.0}
    found.alone = {
        EXACT: {"deja": alone(0.5), "litellm": alone(9.0)},
        MISS: {"deja": alone(5.0), "litellm": alone(30.0), "provider": alone(0.5)},
        BYPASS: {"deja": alone(2.0), "litellm": alone(15.0), "provider": alone(0.5)},
        STREAMED_MISS: {
            "deja": alone(9.0, first_ms=4.0, event_us=50.0),
            "litellm": alone(40.0, first_ms=20.0, event_us=700.0),
            "provider": alone(1.0, first_ms=0.5, event_us=20.0),
        },
    }
    for exact, other in ((7000.0, 100.0), (6400.0, 80.0), (3000.0, 75.0)):
        found.rounds.append(
            {
                EXACT: {"deja": through(exact, deja=200.0), "litellm": through(other, litellm=350.0)},
                SEMANTIC: {"deja": through(450.0, deja=260.0), "litellm": through(50.0, litellm=351.0)},
            }
        )
        found.bare.append(Bare(2.0, 450.0, 500.0))
        found.loads.append(0.5)
    shares = Shares(10.0, {"deja": 0.5}, {"deja": 201.0})
    found.rates.append(AtRate("deja", 50.0, summary([sample(), sample(at=1.0)]), shares))
    return found


def test_ratios_are_of_the_median_round() -> None:
    assert goals.ratio(measured(), EXACT) == 70.0  # of 70, 80 and 40
    assert goals.of_bare(measured()) == pytest.approx(90.0)


def test_what_a_proxy_adds_is_told_beside_the_provider_alone() -> None:
    assert goals.added_ms(measured(), MISS) == 4.5
    assert goals.added_ms(measured(), BYPASS, "litellm") == 14.5
    assert goals.first_byte_ms(measured()) == 3.5
    assert goals.chunk_us(measured()) == 30.0


def test_every_goal_says_whether_it_was_met_and_what_was_not_measured() -> None:
    found = {goal.told: goal.is_met for goal in goals.goals(measured())}
    assert found["exact hits, beside the rival's"] is False
    assert found["exact hits, each from Redis"] is None
    assert found["exact hit, p50 at one connection"] is True
    assert found["added by a miss, p50"] is False
    assert found["memory of the worker"] is False  # 260 MB at its most
    assert found["semantic hits, texts by popularity"] is None


def test_a_contest_of_which_nothing_was_measured_can_still_be_told() -> None:
    empty = Contest("2 cores", "abc", "2026-11-23", 7, connections=32, topics=100)
    assert all(goal.is_met is None for goal in goals.goals(empty))
    assert "goal" in contest_report.markdown(empty)


def test_the_report_holds_every_kind_and_is_json() -> None:
    told = contest_report.markdown(measured())
    for words in (EXACT, SEMANTIC, MISS, BYPASS, STREAMED_MISS, "no proxy", "2 cores", "commit abc"):
        assert words in told
    assert "| exact hits, beside the rival's | ≥ 100× | 70× | **no** |" in told
    assert "| exact hits, each from Redis | ≥ 60× | – | – |" in told
    assert json.loads(json.dumps(asdict(measured())))["rounds"][0][EXACT]["deja"]["per_s"] == 7000.0


def test_feeds_of_the_same_seed_ask_both_contenders_the_same() -> None:
    topics = templated(10).topics
    one, other = feeds(topics, 3), feeds(topics, 3)
    for kind in (EXACT, SEMANTIC, POPULAR, MISS, BYPASS, STREAMED_MISS):
        assert [next(one[kind]) for _ in range(20)] == [next(other[kind]) for _ in range(20)]


def test_misses_of_whole_and_streamed_answers_share_no_text() -> None:
    found = feeds(templated(10).topics, 3)
    assert {ask.text for ask in found[MISS]}.isdisjoint(ask.text for ask in found[STREAMED_MISS])
