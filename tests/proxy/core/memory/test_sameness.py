"""When two memories may be merged: rules alone; with the verifier in tests/proxy/services/test_memories.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory import keys, sameness
from proxy.core.memory.records import MemoryType
from tests.proxy.core.memory.builders import DAY, NOW, memory

APART = [
    ("User lives in Berlin", "User lived in Berlin"),
    ("User lives in Berlin", "User used to live in Berlin"),
    ("User lives in Berlin", "User wants to live in Berlin"),
    ("User lives in Berlin", "User lives near Berlin"),
    ("User is a vegetarian", "User was a vegetarian"),
    ("User has a dog", "User had a dog"),
    ("User has a dog", "User wants a dog"),
    ("User has 2 children", "User has 3 children"),
    ("User plans to buy a house", "User bought a house"),
    ("User drinks coffee", "User sometimes drinks coffee"),
    ("User drinks coffee", "User does not drink coffee"),
    ("User's flight leaves at 9 am", "User's flight leaves at 9 pm"),
    ("User met Maria in Graz", "User met Hanna in Graz"),
    ("User moved from Graz to Lyon", "User moved from Lyon to Graz"),
    ("User's home is in Lyon", "User's brother has a home in Lyon"),
    ("User speaks Polish", "User is learning Polish"),
    ("User only flies Lufthansa", "User never flies Lufthansa"),
]
OPEN = [
    ("User likes tea", "The user likes tea."),
    ("User does not eat meat", "User doesn't eat meat"),
    ("User's wife is named Anna", "User's wife's name is Anna"),
    ("User owns a bakery", "User has a bakery"),
    ("User wants to lose weight", "User would like to lose weight"),
]


@pytest.mark.parametrize(("one", "other"), APART)
def test_nothing_the_verifier_says_merges_facts_that_differ(one: str, other: str) -> None:
    assert sameness.needed_logit(one, other) is None


@pytest.mark.parametrize(("one", "other"), OPEN)
def test_rewordings_are_left_to_the_verifier(one: str, other: str) -> None:
    assert sameness.needed_logit(one, other) is not None


def test_it_has_to_be_surer_where_each_text_has_a_word_of_its_own() -> None:
    assert sameness.needed_logit("User owns a tortoise", "User owns a ferret") == sameness.SWAPPED_LOGIT
    assert sameness.needed_logit("Tomas reports to Liam", "Liam manages Tomas") == sameness.SWAPPED_LOGIT


words = st.lists(
    st.sampled_from(["User", "Anna", "likes", "liked", "wants", "tea", "3", "not", "near", "in"]), max_size=6
).map(" ".join)


@given(words, words)
def test_the_order_of_the_two_makes_no_difference(one: str, other: str) -> None:
    assert sameness.needed_logit(one, other) == sameness.needed_logit(other, one)


def test_only_the_same_users_facts_of_the_same_type_and_time_are_compared() -> None:
    one = memory()
    assert sameness.may_compare(one, memory("m2"))
    for other in (
        memory("m2", user="ben"), memory("m2", user=None), memory("m2", namespace="n"), memory("m2", memory_type=MemoryType.EPISODIC),
        memory("m2", event_at=NOW), memory("m2", invalid_at=NOW),
    ):  # fmt: skip
        assert not sameness.may_compare(one, other)
    said = memory(memory_type=MemoryType.MESSAGE)
    assert not sameness.may_compare(said, said)
    event, next_day = memory(event_at=NOW), memory(event_at=NOW + DAY)
    assert sameness.may_compare(event, memory(event_at=NOW + 60))
    assert not sameness.may_compare(event, next_day)


def test_a_fact_is_the_users_and_not_the_sessions() -> None:
    assert keys.text_digest(memory(session="s1")) == keys.text_digest(
        memory("m2", "User likes  green tea.", session="s2")
    )
    assert keys.text_digest(memory()) != keys.text_digest(memory(user="ben"))
    said = {"memory_type": MemoryType.MESSAGE}
    assert keys.text_digest(memory(session="s1", **said)) != keys.text_digest(memory(session="s2", **said))
