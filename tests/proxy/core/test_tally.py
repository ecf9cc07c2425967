from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.confidence import bin_of
from proxy.core.sequences import Interval, JudgeError
from proxy.core.tally import Tally, increments, is_counted, total

events = st.lists(
    st.tuples(st.sampled_from(["seen", "hit", "shadow"]), st.floats(0, 1), st.booleans(), st.booleans()), max_size=40
)
Events = list[tuple[str, float, bool, bool]]


def tally_of(happened: Events) -> Tally:
    fields: dict[str, int] = {}
    for kind, confidence, is_wrong, counted in happened:
        for field, by in increments(kind, confidence, is_wrong=is_wrong, is_counted=counted).items():  # type: ignore[arg-type]
            fields[field] = fields.get(field, 0) + by
    return Tally.from_fields(fields)


@given(events, events)
def test_tallies_of_two_workers_add_up(one: Events, other: Events) -> None:
    together = tally_of(one + other)
    assert tally_of(one) + tally_of(other) == together == total([tally_of(other), tally_of(one)])
    assert together - tally_of(one) == tally_of(other)


@given(events)
def test_a_tally_survives_its_fields(happened: Events) -> None:
    tally = tally_of(happened)
    assert Tally.from_fields(tally.as_fields()) == tally
    assert tally.audited == sum(kind == "hit" for kind, *_ in happened)
    assert tally.audited_wrong == sum(kind == "hit" and wrong for kind, _, wrong, _ in happened)
    assert tally.shadowed == sum(kind == "shadow" for kind, *_ in happened)
    assert tally.counted == sum(kind == "hit" and counted for kind, _, _, counted in happened)


def test_a_hit_lands_in_the_bin_of_its_confidence() -> None:
    assert increments("hit", 0.97, is_wrong=True) == {f"wrong:{bin_of(0.97)}": 1, "counted": 1, "counted_wrong": 1}
    assert increments("hit", 0.97, is_counted=False) == {f"right:{bin_of(0.97)}": 1}
    assert increments("shadow", 0.5) == {f"shadow_right:{bin_of(0.5)}": 1}
    assert increments("seen", 0.5) == {f"seen:{bin_of(0.5)}": 1}


def test_what_a_store_lost_is_nothing_new() -> None:
    assert Tally() - tally_of([("hit", 0.9, True, True)]) == Tally()


@pytest.mark.parametrize("fields", [{"seen:41": 1}, {"seen": 1}, {"counted:1": 1}, {"what:1": 1}, {"seen:x": 1}])
def test_an_unknown_field_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        Tally.from_fields(fields)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="only grow"):
        Tally.from_fields({"seen:1": -1})


def test_the_interval_is_of_the_counted_hits_alone() -> None:
    counted = tally_of([("hit", 0.99, False, True)] * 500)
    assert counted.interval() == (counted + tally_of([("hit", 0.99, True, False)] * 50)).interval()
    assert counted.interval().low == 0.0
    assert 0.006 < counted.interval().high < 0.02
    assert Tally().interval() == Interval(0.0, 1.0)


def test_a_judge_with_false_alarms_takes_the_lower_end_away() -> None:
    tally = tally_of([("hit", 0.99, i % 20 == 0, True) for i in range(1000)])
    judge = JudgeError(false_alarm=Interval(0.02, 0.06))
    assert tally.interval().low > 0.02
    assert tally.interval(judge).low == 0.0
    assert tally.interval(judge).high < tally.interval().high


def test_only_what_the_base_share_would_have_drawn_is_counted() -> None:
    assert is_counted(0.02, 0.03)
    assert not is_counted(0.03, 0.03)
