from __future__ import annotations

import itertools
import random

import pytest

from loadtest.timing_walls import ks_p, questions


def test_samples_of_one_distribution_are_seldom_told_apart() -> None:
    chance = random.Random(1)
    found = [ks_p([chance.random() for _ in range(200)], [chance.random() for _ in range(200)])[1] for _ in range(300)]
    assert sum(p <= 0.05 for p in found) <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_a_shift_is_seen() -> None:
    chance = random.Random(1)
    one = [chance.gauss(0.0, 1.0) for _ in range(500)]
    assert ks_p(one, [chance.gauss(0.5, 1.0) for _ in range(500)])[1] < 1e-3


@pytest.mark.parametrize(
    ("one", "other", "statistic"), [([1, 2, 3], [1, 2, 3], 0.0), ([1, 2], [3, 4], 1.0), ([1, 3], [2, 4], 0.5)]
)
def test_the_statistic_is_the_largest_difference_of_shares(
    one: list[float], other: list[float], statistic: float
) -> None:
    assert ks_p(one, other)[0] == statistic


def test_no_question_comes_twice() -> None:
    asked = list(itertools.islice(questions(1), 50_000))
    assert len(set(asked)) == len(asked)
    assert asked[:5] != list(itertools.islice(questions(2), 5))
