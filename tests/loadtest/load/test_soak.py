"""Windows of a soak and what is made of them; the search for saturation."""

from __future__ import annotations

import pytest

from loadtest.load import soak
from loadtest.load.answers import Source
from loadtest.load.meters import Shares
from loadtest.load.saturation import PRECISION, Step, search
from loadtest.load.soak import WINDOW_S, Window, Windows
from tests.loadtest.load.test_figures import sample


def shares(rss_mb: float = 200.0) -> Shares:
    return Shares(WINDOW_S, {"deja": 0.5}, {"deja": rss_mb, "redis": rss_mb})


def windows(
    count: int, *, rss_mb: float = 200.0, grows_mb: float = 0.0, p99_ms: float = 20.0, p99_grows_ms: float = 0.0
) -> list[Window]:
    return [
        Window(
            (number + 1) * WINDOW_S,
            100,
            0,
            50,
            0,
            5.0,
            p99_ms + p99_grows_ms * number,
            shares(rss_mb + grows_mb * number),
        )
        for number in range(count)
    ]


def test_a_steady_soak_is_passed() -> None:
    found = soak.verdict(windows(180))
    assert found.complaints == ()
    assert (found.requests, found.hits) == (18_000, 9_000)


def test_memory_that_grows_after_settling_is_told_with_how_much() -> None:
    found = soak.verdict(windows(180, grows_mb=0.1))
    assert found.growth_mb["deja"] == pytest.approx(14.9, abs=0.2)
    assert found.complaints == ("memory of deja grew by 14.9 MB in 1490 s, more than 5.0",)


def test_memory_that_grows_only_while_settling_is_none() -> None:
    young = windows(30, rss_mb=100.0, grows_mb=3.0)
    assert soak.verdict([*young, *windows(180, rss_mb=190.0)[30:]]).complaints == ()


def test_the_memory_of_a_redis_that_stores_is_not_judged() -> None:
    assert len(soak.verdict(windows(180, grows_mb=1.0)).complaints) == 1
    assert soak.verdict(windows(180, grows_mb=1.0), judged=()).complaints == ()


def test_a_p99_that_drifts_is_told_and_one_bad_window_is_not() -> None:
    assert soak.verdict(windows(180, p99_grows_ms=0.1)).complaints == ("p99 rose by 39%, more than 25%",)
    spiked = windows(180)
    spiked[100] = windows(1, p99_ms=900.0)[0]
    assert soak.verdict(spiked).complaints == ()


def test_windows_are_told_apart_by_when_answers_came() -> None:
    told: list[Window] = []
    found = Windows(shares, told.append)
    for number in range(260):
        found.add(sample(Source.EXACT if number % 2 else Source.MISS, at=number * 0.1, is_right=number != 1))
    assert [window.requests for window in found.end()] == pytest.approx([100, 100, 60], abs=2)
    assert told == found.found
    assert sum(window.hits for window in told) == 130
    assert sum(window.wrong for window in told) == 1


def test_a_silence_longer_than_a_window_makes_no_window_of_nothing() -> None:
    found = Windows(shares)
    for at in (0.0, 1.0, 35.0, 36.0, 39.9, 45.0):
        found.add(sample(at=at))
    assert [window.requests for window in found.end()] == [2, 3, 1]


@pytest.mark.parametrize("bears", [30.0, 55.0, 99.0, 1.0])
def test_the_search_ends_close_below_what_is_sustained(bears: float) -> None:
    found = search(lambda rate: Step(rate, rate, 0, rate <= bears), 100.0, 50.0)
    assert bears - 100 * PRECISION <= found.sustained_per_s <= bears
    assert len(found.steps) < 8
    assert found.most_per_s == 100.0
