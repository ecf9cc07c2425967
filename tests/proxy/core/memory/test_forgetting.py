"""What a policy lets go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory.forgetting import ForgetPolicy, to_forget
from proxy.core.memory.records import MemoryType
from tests.proxy.core.memory.builders import DAY, NOW, memory


def aged(memory_id: str, age_days: float, idle_days: float = 0.0, **changes: object):  # type: ignore[no-untyped-def]
    return memory(memory_id, created_at=NOW - age_days * DAY, accessed_at=NOW - idle_days * DAY, **changes)


OLD, IDLE, BOTH, NEW = aged("old", 40), aged("idle", 5, 20), aged("both", 40, 20), aged("new", 1)
ALL = [OLD, IDLE, BOTH, NEW]


def test_age_alone() -> None:
    assert set(to_forget(ALL, ForgetPolicy(max_age_days=30), now=NOW)) == {"old", "both"}


def test_inactivity_alone() -> None:
    assert set(to_forget(ALL, ForgetPolicy(max_inactive_days=10), now=NOW)) == {"idle", "both"}


def test_with_both_rules_one_that_is_used_stays_until_it_is_far_too_old() -> None:
    assert to_forget(ALL, ForgetPolicy(max_age_days=30, max_inactive_days=10), now=NOW) == ["both"]
    ancient = aged("ancient", 30 * 12 + 1)
    assert to_forget([ancient], ForgetPolicy(max_age_days=30, max_inactive_days=10), now=NOW) == ["ancient"]


def test_a_budget_keeps_the_most_recent() -> None:
    assert to_forget(ALL, ForgetPolicy(budget=1), now=NOW)[::-1] == ["old", "idle", "both"]


def test_only_the_named_types_go() -> None:
    message = aged("said", 40, memory_type=MemoryType.MESSAGE)
    policy = ForgetPolicy(max_age_days=30, types=frozenset({MemoryType.MESSAGE}))
    assert to_forget([*ALL, message], policy, now=NOW) == ["said"]


def test_no_policy_forgets_nothing() -> None:
    assert to_forget(ALL, ForgetPolicy(), now=NOW) == []


ages = st.floats(0, 400)
many = st.lists(st.tuples(ages, ages, st.booleans()), max_size=12)


@given(many, st.none() | st.integers(0, 12), st.none() | ages, st.none() | ages)
def test_pinned_and_kept_ones_stay_and_a_budget_holds(
    rows: list[tuple[float, float, bool]], budget: int | None, age: float | None, idle: float | None
) -> None:
    given_ = [aged(f"m{place}", *row[:2], is_pinned=row[2]) for place, row in enumerate(rows)]
    policy = ForgetPolicy(age, idle, budget=budget, kept=frozenset({"m0"}))
    gone = to_forget(given_, policy, now=NOW)
    assert len(set(gone)) == len(gone)
    assert not {each.memory_id for each in given_ if each.is_pinned or each.memory_id == "m0"} & set(gone)
    left = [each for each in given_ if each.memory_id not in gone and not each.is_pinned and each.memory_id != "m0"]
    assert budget is None or len(left) <= budget
