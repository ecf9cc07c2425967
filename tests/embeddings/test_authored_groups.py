"""The questions written for the recipe: well formed, and split by group."""

from __future__ import annotations

import pytest

from embeddings.training.authored_groups import ASIDE_SHARE, groups, pairs
from embeddings.training.pairs import Pair

Sides = tuple[list[Pair], list[Pair]]


@pytest.fixture(scope="module")
def made() -> Sides:
    """The pairs taught and those kept aside: two seconds' work."""
    return pairs()


def test_every_group_has_wordings_and_near_misses_that_differ_from_them() -> None:
    for group in groups():
        assert len(set(group.same)) >= 4, group.same[0]
        assert group.near, group.same[0]
        assert not {text.lower() for _, text in group.near} & {text.lower() for text in group.same}, group.same[0]


def test_nothing_kept_aside_is_trained_on(made: Sides) -> None:
    kept, aside = made
    groups_aside = [group for group in groups() if group.is_aside]
    assert abs(len(groups_aside) / len(groups()) - ASIDE_SHARE) < 0.03
    texts = {text for pair in aside for text in (pair.stored, pair.asked)}
    trained = {text for pair in kept for text in (pair.stored, pair.asked)}
    assert not texts & trained, "short questions stand in two groups: the pairs on the training side go"


def test_training_sees_about_as_many_same_as_different_pairs(made: Sides) -> None:
    kept, _ = made
    assert 0.4 < sum(pair.is_same for pair in kept) / len(kept) < 0.6


def test_the_pairs_are_the_same_each_time(made: Sides) -> None:
    assert pairs() == made
