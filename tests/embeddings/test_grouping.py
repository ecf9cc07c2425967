"""Which texts are read together: each once, like lengths, little padding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embeddings.grouping import groups

LENGTHS = st.lists(st.integers(1, 256), max_size=60)


@given(LENGTHS)
def test_every_text_is_in_one_group_of_at_most_so_many(lengths: list[int]) -> None:
    made = groups(lengths, most=8, longest=64)
    assert sorted(index for group in made for index in group) == list(range(len(lengths)))
    assert all(len(group) <= 8 for group in made)


@given(LENGTHS)
def test_long_texts_are_alone_and_none_is_padded_by_more_than_a_seventh(lengths: list[int]) -> None:
    for group in groups(lengths, most=8, longest=64):
        some = [lengths[index] for index in group]
        assert len(group) == 1 or max(some) <= min(64, 1.15 * min(some))


def test_equal_lengths_fill_a_group() -> None:
    assert list(map(len, groups([10] * 20, most=8, longest=64))) == [8, 8, 4]
