"""Which memories are meant, in plain Python; the index is compared with it in tests/proxy/stores/test_memory_index.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory.conditions import fulfils, prefixes, query, resolved
from proxy.core.memory.records import Conditions, Labels, Match, MemoryType, Owner, Period
from tests.proxy.core.memory.builders import NOW, conditions, memories, memory

ONE = memory(
    user="anna", namespace="work/a", topics=("Food", "tea"), memory_type=MemoryType.EPISODIC, event_at=NOW, session="s1"
)


@pytest.mark.parametrize(
    ("wanted", "is_meant"),
    [
        (Conditions(), True),
        (Conditions(user=Match(one_of=("anna", "ben"))), True),
        (Conditions(user=Match(one_of=("Anna",))), False),
        (Conditions(user=Match(none_of=("ben",))), True),
        (Conditions(user=Match(none_of=("anna",))), False),
        (Conditions(namespace=Match(starts_with="work/")), True),
        (Conditions(namespace=Match(starts_with="work/b")), False),
        (Conditions(owner=Owner("anna", "work/a")), True),
        (Conditions(owner=Owner("anna", None)), False),
        (Conditions(owner=Owner(None, "work/a")), False),
        (Conditions(memory_type=Match(one_of=("semantic", "message"))), False),
        (Conditions(memory_type=Match(starts_with="epi")), True),
        (Conditions(memory_id=Match(one_of=("m1",))), True),
        (Conditions(topics=Labels(any_of=("FOOD", "x"))), True),
        (Conditions(topics=Labels(all_of=("food", "x"))), False),
        (Conditions(topics=Labels(none_of=("TEA",))), False),
        (Conditions(entities=Labels(none_of=("TEA",))), True),
        (Conditions(user=Match(one_of=())), False),
        (Conditions(created=Period(since=NOW, until=NOW)), True),
        (Conditions(created=Period(after=NOW)), False),
        (Conditions(created=Period(before=NOW)), False),
        (Conditions(event=Period(since=NOW)), True),
    ],
    ids=str,
)
def test_conditions_mean_what_they_say(wanted: Conditions, is_meant: bool) -> None:
    assert fulfils(ONE, wanted) is is_meant


def test_a_time_that_is_not_known_lies_in_no_period() -> None:
    assert not fulfils(memory(event_at=None), Conditions(event=Period(since=0.0)))
    assert fulfils(memory(event_at=None), Conditions(event=Period()))


@given(memories(), conditions(), st.lists(st.sampled_from(["a", "ab", "a b", "A", "{a|b}", "*"]), unique=True))
def test_resolving_a_beginning_means_the_same(one: Any, wanted: Conditions, others: list[str]) -> None:
    known = {
        kind: [name for name in {*others, getattr(one, kind) or ""} if name and name.startswith(prefix)]
        for kind, prefix in prefixes(wanted)
    }
    settled = resolved(wanted, known)
    assert prefixes(settled) == ()
    assert fulfils(one, settled) == fulfils(one, wanted)


@given(conditions())
def test_nothing_a_caller_writes_reaches_the_query(wanted: Conditions) -> None:
    settled = resolved(wanted, {kind: ["a", "*"] for kind, _ in prefixes(wanted)})
    made = query("tenant {x} | @", settled, as_of=None, now=NOW)
    assert made is None or re.fullmatch(r"[@a-z_0-9{}|:\-\[\]().+ ]+", made)
    assert made is None or made.startswith("@tag_tenant:{")


def test_the_tenant_is_part_of_every_word() -> None:
    wanted = Conditions(user=Match(one_of=("anna",)), topics=Labels(any_of=("tea",)))
    mine, other = (query(tenant, wanted, as_of=None, now=NOW) for tenant in ("t1", "t2"))
    assert mine is not None
    assert other is not None
    assert not set(re.findall(r"[0-9a-f]{32}", mine)) & set(re.findall(r"[0-9a-f]{32}", other))


def test_what_nothing_can_fulfil_is_not_asked() -> None:
    assert query("t", Conditions(user=Match(one_of=())), as_of=None, now=NOW) is None
    assert query("t", Conditions(topics=Labels(any_of=())), as_of=None, now=NOW) is None
