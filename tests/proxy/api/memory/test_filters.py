"""Filters of a search, in the server's words and in its client's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.api.memory.filters import Filters
from proxy.core.memory.conditions import fulfils
from proxy.core.memory.records import Labels, Match, Memory, MemoryType, Period

DAY = "2024-01-15T12:00:00Z"
AT = 1_705_320_000.0


def matched(**told: Any) -> Match:
    return Filters.model_validate({"user_id": told}).conditions().user


def labelled(**told: Any) -> Labels:
    return Filters.model_validate({"topics": told}).conditions().topics


def dated(**told: Any) -> Period:
    return Filters.model_validate({"event_date": told}).conditions().event


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ({"eq": "a"}, Match(one_of=("a",))),
        ({"any": ["b", "a"]}, Match(one_of=("a", "b"))),
        ({"in_": ["a"]}, Match(one_of=("a",))),
        ({"all": ["a"]}, Match(one_of=("a",))),
        ({"all": ["a", "b"]}, Match(one_of=())),
        ({"eq": "a", "any": ["a", "b"]}, Match(one_of=("a",))),
        ({"ne": "a"}, Match(none_of=("a",))),
        ({"not_eq": "a", "not_in": ["b"], "none": ["a", "c"]}, Match(none_of=("a", "c", "b"))),
        ({"startswith": "a"}, Match(starts_with="a")),
        ({"field": "user_id", "eq": "a"}, Match(one_of=("a",))),
        ({"eq": ""}, Match(one_of=("",))),
    ],
    ids=str,
)
def test_what_a_filter_on_a_word_means(told: dict[str, Any], means: Match) -> None:
    assert matched(**told) == means


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ({"any": ["a", "b"]}, Labels(any_of=("a", "b"))),
        ({"in_": ["a"]}, Labels(any_of=("a",))),
        ({"all": ["a", "b"]}, Labels(all_of=("a", "b"))),
        ({"eq": "a", "all": ["b"]}, Labels(all_of=("a", "b"))),
        ({"none": ["a"], "ne": "b"}, Labels(none_of=("b", "a"))),
        ({"any": ["a", "b"], "in_": ["b", "c"]}, Labels(any_of=("b",))),
    ],
    ids=str,
)
def test_what_a_filter_on_labels_means(told: dict[str, Any], means: Labels) -> None:
    assert labelled(**told) == means


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ({"gte": DAY}, Period(since=AT)),
        ({"gt": DAY, "lte": "2024-01-15T13:00:00+01:00"}, Period(after=AT, until=AT)),
        ({"lt": "2024-01-15T12:00:00"}, Period(before=AT)),
        ({"lt": AT}, Period(before=AT)),
        ({"eq": "2024-01-15T12:00:00.5Z"}, Period(since=AT, before=AT + 1)),
        ({"between": [DAY, DAY]}, Period(since=AT, until=AT)),
        ({"between": [DAY, DAY], "inclusive": "left"}, Period(since=AT, before=AT)),
        ({"between": [DAY, DAY], "inclusive": "neither"}, Period(after=AT, before=AT)),
    ],
    ids=str,
)
def test_what_a_filter_on_a_time_means(told: dict[str, Any], means: Period) -> None:
    assert dated(**told) == means


@pytest.mark.parametrize(
    "told",
    [
        {"user_id": {}},
        {"user_id": {"eq": None}},
        {"user_id": {"field": "user_id"}},
        {"user_id": {"equals": "a"}},
        {"user_id": {"any": []}},
        {"user_id": {"startswith": ""}},
        {"user_id": "a"},
        {"user_id": {"eq": 3}},
        {"topics": {"startswith": "a"}},
        {"topics": {"any": "a"}},
        {"memory_type": {"any": ["semantic", "dream"]}},
        {"memory_type": {"not_eq": "dream"}},
        {"event_date": {"eq": "someday"}},
        {"event_date": {"ne": DAY}},
        {"event_date": {"between": [DAY]}},
        {"event_date": {"between": [DAY, DAY], "inclusive": "sometimes"}},
        {"event_date": {"gte": "0001-01-01T00:00:00+14:00"}},
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Filters.model_validate(told)


def test_no_filter_is_no_condition() -> None:
    assert Filters.model_validate({"colour": {"eq": "red"}, "user_id": None}).conditions() == Filters().conditions()


NAMES = st.sampled_from(["a", "b", "c", "ab"])
VALUES = st.lists(NAMES, min_size=1, max_size=3)


@given(
    told=st.fixed_dictionaries(
        {"eq": st.none() | NAMES},
        optional={"any": VALUES, "in_": VALUES, "none": VALUES, "not_in": VALUES, "ne": NAMES, "startswith": NAMES},
    ),
    user=st.none() | NAMES,
)
def test_a_memory_fulfils_a_filter_if_it_fulfils_each_of_its_conditions(told: dict[str, Any], user: str | None) -> None:
    if all(value is None for value in told.values()):
        return
    memory = Memory(
        memory_id="m", text="t", memory_type=MemoryType.SEMANTIC, user=user, session=None, namespace=None, topics=(), entities=(),
        created_at=1.0, updated_at=1.0, accessed_at=1.0,
    )  # fmt: skip
    rules = {
        "eq": lambda value: value is None or user == value,
        "any": lambda values: user in values,
        "in_": lambda values: user in values,
        "none": lambda values: user not in values,
        "not_in": lambda values: user not in values,
        "ne": lambda value: user != value,
        "startswith": lambda value: user is not None and user.startswith(value),
    }
    expected = all(rules[name](value) for name, value in told.items())
    assert fulfils(memory, Filters.model_validate({"user_id": told}).conditions()) == expected
