from __future__ import annotations

import numpy as np
import pytest

from loadtest.rivals import field
from loadtest.rivals.field import NONE, Course, Family, Runs, best
from loadtest.rivals.replay import MISS, RIGHT, WRONG, Per, Store, TakesAll, Tally
from loadtest.rivals.streams import NOTHING, Stream
from tests.loadtest.rivals.made_up import MakeJudge, unit_vectors


def tally(right: int, wrong: int, missed: int) -> Tally:
    outcome = np.repeat([RIGHT, WRONG, MISS], [right, wrong, missed]).astype(np.int8)
    return Tally(outcome[np.newaxis], np.arange(len(outcome)))


def test_the_setting_with_the_most_hits_within_the_budget_is_chosen() -> None:
    some = [(0.7, [tally(60, 20, 20)]), (0.8, [tally(49, 1, 50)]), (0.9, [tally(30, 0, 70)])]
    assert [best(some, budget, Per.HITS) for budget in (0.01, 0.02, 0.25)] == [0.9, 0.8, 0.7]
    assert [best(some, budget, Per.REQUESTS) for budget in (0.01, 0.19, 0.2)] == [0.8, 0.8, 0.7]


def test_where_no_setting_keeps_the_budget_nothing_is_served() -> None:
    assert best([(0.7, [tally(1, 1, 1)])], 0.01, Per.HITS) == NONE
    assert best([(0.7, [tally(0, 0, 9)])], 0.01, Per.REQUESTS) == NONE


class Fixed(TakesAll):
    """Serves text 0 to a share of the texts."""

    def __init__(self, served: int) -> None:
        self._served = served

    def look_up(self, asked: int, store: Store) -> int | None:
        return 0 if 0 < asked <= self._served else None


@pytest.fixture
def runs(make_judge: MakeJudge) -> Runs:
    """Two halves: in the first half the first 5 hits are right, in the second the first 10, all others wrong."""

    def course(right: int) -> Course:
        answer = np.array([0] * (right + 1) + list(range(1, 20 - right)))
        stream = Stream(
            f"{right}", tuple(f"text {n}" for n in range(20)), answer, tuple((NOTHING, n) for n in range(20))
        )
        vectors = unit_vectors(20, 4, 1)
        return Course(stream, [stream.steps], vectors, vectors @ vectors.T, make_judge(stream.texts), seed=1)

    return Runs((course(5), course(10)))


SERVES = Family("serves", tuple(map(float, range(1, 20))), lambda _course, setting, _order: Fixed(int(setting)))


def test_a_setting_is_taken_from_the_other_half_or_from_both(runs: Runs) -> None:
    assert field.from_the_other_half(runs, SERVES, 0.01, Per.HITS) == (10.0, 5.0)
    assert field.in_hindsight(runs, SERVES, 0.01, Per.HITS) == (5.0, 5.0)
    assert field.always(3.0)(runs, SERVES, 0.01, Per.HITS) == (3.0, 3.0)
    assert field.always({0.01: 7.0})(runs, SERVES, 0.01, Per.HITS) == (7.0, 7.0)


def test_a_setting_is_run_once(runs: Runs) -> None:
    assert runs.half(SERVES, 4.0, 0) is runs.half(SERVES, 4.0, 0)


@pytest.mark.parametrize("name", field.families())
def test_every_family_runs_and_serves_nothing_at_none_where_it_is_a_threshold(name: str, runs: Runs) -> None:
    family = field.families()[name]
    for setting in family.settings:
        assert runs.half(family, setting, 0).asked.tolist() == [20]
    if name != "vcache":
        assert runs.half(family, NONE, 0).hits.tolist() == [0]
