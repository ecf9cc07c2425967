from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rivals.replay import RIGHT, WRONG, Store, replay
from loadtest.rivals.streams import NOTHING, Stream
from loadtest.rivals.vcache import Estimate, Observations, Rule

seen = st.lists(st.tuples(st.floats(0.3, 1.0), st.booleans()), max_size=12)


def observed(some: list[tuple[float, bool]]) -> Observations:
    observations = Observations()
    for similarity, is_right in some:
        observations.add(similarity, is_right=is_right)
    return observations


def test_nothing_seen_nothing_known() -> None:
    assert Observations().careful_chance(0.99) == 0.0


@given(seen, st.floats(0.3, 1.0), st.floats(0.0, 0.3))
def test_a_nearer_question_is_never_less_certain(
    some: list[tuple[float, bool]], similarity: float, more: float
) -> None:
    observations = observed(some)
    assert observations.careful_chance(similarity + more) >= observations.careful_chance(similarity) - 1e-12


def test_right_answers_raise_the_careful_chance_and_a_wrong_one_lowers_it() -> None:
    chances = [observed([(0.9, True)] * count).careful_chance(0.9) for count in (1, 3, 10, 50)]
    assert chances == sorted(chances)
    assert chances[0] < 0.5 < 0.85 < chances[-1] < 1.0
    assert observed([(0.9, True)] * 10 + [(0.9, False)]).careful_chance(0.9) < chances[2]


def around_one_question(count: int, seed: int) -> tuple[Stream, np.ndarray]:
    """Questions whose nearest neighbour is always text 0, its answer the likelier right the nearer they are."""
    rng = np.random.default_rng(seed)
    similarity = np.full((count, count), -1.0, np.float32)
    similarity[1:, 0] = rng.uniform(0.5, 1.0, count - 1)
    is_right = rng.random(count) < 1 / (1 + np.exp(-30 * (similarity[:, 0] - 0.75)))
    answer = np.where(is_right, 0, np.arange(count))
    answer[0] = 0
    return Stream(
        "test", tuple(map(str, range(count))), answer, tuple((NOTHING, text) for text in range(count))
    ), similarity


def test_the_rule_keeps_errors_among_all_requests_within_delta_and_still_hits() -> None:
    outcomes = []
    for seed in range(4):
        stream, similarity = around_one_question(600, seed)
        outcomes.append(replay(stream, stream.steps, Rule(stream.answer, 0.05, seed), Store(similarity)))
    assert np.mean(np.stack(outcomes) == WRONG) <= 0.05
    assert np.mean(np.stack(outcomes)[:, 300:] == RIGHT) > 0.2


def test_the_estimate_serves_only_from_its_level_on() -> None:
    stream, similarity = around_one_question(400, 1)
    strict = replay(stream, stream.steps, Estimate(stream.answer, 0.9), Store(similarity))
    loose = replay(stream, stream.steps, Estimate(stream.answer, 0.5), Store(similarity))
    assert np.sum(strict == RIGHT) < np.sum(loose == RIGHT)
    assert np.mean(strict == WRONG) < np.mean(loose == WRONG)


def test_exploring_teaches_and_so_the_first_questions_are_misses() -> None:
    stream, similarity = around_one_question(30, 2)
    outcome = replay(stream, stream.steps, Estimate(stream.answer, 0.5), Store(similarity))
    assert not np.isin(outcome[:3], (RIGHT, WRONG)).any()
