"""Percentiles, hits, costs and drift."""

from __future__ import annotations

import pytest

from loadtest.load import figures
from loadtest.load.answers import Source
from loadtest.load.figures import Hits, Prices
from loadtest.load.samples import Sample
from loadtest.load.workload import Kind


def sample(
    source: Source = Source.MISS,
    *,
    kind: Kind = Kind.NEW,
    at: float = 0.0,
    took: float = 0.01,
    is_right: bool | None = True,
) -> Sample:
    return Sample(kind, False, at, at, at + took, at + took, source, is_right, 100, 50)


def test_percentiles_are_by_nearest_rank_and_none_where_chance_would_speak() -> None:
    found = figures.latency(float(value) for value in range(1, 1001))
    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.p999_ms) == (501, 951, 991, None)
    assert figures.latency([]).p50_ms is None


def test_a_summary_counts_hits_wrong_hits_failures_and_money() -> None:
    found = figures.summary(
        [
            sample(),
            sample(Source.EXACT, kind=Kind.REPEAT, at=1.0),
            sample(Source.SEMANTIC, kind=Kind.REWORDED, at=2.0),
            sample(Source.SEMANTIC, kind=Kind.TRAP, at=3.0, is_right=False),
            sample(Source.FAILED, at=3.9, took=0.1, is_right=None),
        ],
        Prices("m", input_usd=1.0, output_usd=10.0),
    )
    assert (found.requests, found.failed, found.seconds, found.per_s) == (5, 1, 4.0, 1.0)
    assert found.hits["all"] == Hits(4, 3, 1)
    assert found.hits["semantic"] == Hits(4, 2, 1)
    assert found.hits["trap"] == Hits(1, 1, 1)
    assert found.hits["all"].wrong_share == pytest.approx(1 / 3)
    each = (100 * 1.0 + 50 * 10.0) / 1e6
    assert found.saved_usd == pytest.approx(3 * each)
    assert found.spent_usd == pytest.approx(each)


def test_a_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        figures.summary([])


def test_one_bad_window_is_no_drift_and_a_trend_is() -> None:
    assert figures.drift([10, 10, 10, 90, 10, 10, 10, 10, 10]) == 0
    assert figures.drift([10, 10, 10, 15, 15, 15, 20, 20, 20]) == 1.0
    assert figures.drift([10, 90]) == 0


def test_a_slope_ignores_single_points() -> None:
    steps = [(float(t), 100.0 + 2 * t) for t in range(300)]
    steps[50] = (50.0, 9000.0)
    assert figures.slope(steps) == pytest.approx(2.0)
    assert figures.slope([(0.0, 1.0)]) == 0
