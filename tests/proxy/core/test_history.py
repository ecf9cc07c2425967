from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import history
from proxy.core.history import MINUTE, QUARTER, bucket_of, middle_ms, quantile_ms

DURATIONS = st.floats(min_value=0.000101, max_value=170)


def counted(durations_s: list[float]) -> Counter[int]:
    return Counter(map(bucket_of, durations_s))


@given(DURATIONS)
def test_what_stands_for_a_duration_is_at_most_a_tenth_off(duration_s: float) -> None:
    assert middle_ms(bucket_of(duration_s)) == pytest.approx(duration_s * 1000, rel=0.1)


@given(st.floats(min_value=0, max_value=math.inf, exclude_max=True))
def test_every_duration_has_a_bucket(duration_s: float) -> None:
    assert 0 <= bucket_of(duration_s) < history.BUCKETS


@given(st.lists(DURATIONS, min_size=1), st.lists(DURATIONS), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_of_merged_counts_is_that_of_all_durations(
    here: list[float], there: list[float], share: float
) -> None:
    together = sorted(here + there)
    exact_ms = together[max(0, math.ceil(share * len(together)) - 1)] * 1000
    found = quantile_ms(counted(here) + counted(there), share)
    assert found == pytest.approx(exact_ms, rel=0.1, abs=0.001)


def test_without_requests_there_is_no_percentile() -> None:
    assert quantile_ms({}, 0.5) is None


@pytest.mark.parametrize("step", [MINUTE, QUARTER])
def test_a_slot_begins_at_whole_steps(step: history.Step) -> None:
    assert step.start(1_795_396_861.7) == 1_795_396_861 - 1_795_396_861 % step.seconds


def test_hits_and_calls_are_timed_apart() -> None:
    told = history.total(
        [dict.fromkeys(history.answered("exact", 20), 1), dict.fromkeys(history.answered("miss", 50), 1)]
    )
    assert told["requests"] == {"exact": 1, "miss": 1}
    assert told["hits_ms"]["p50"] == round(middle_ms(20), 3)
    assert told["calls_ms"]["p99"] == round(middle_ms(50), 3)


def test_money_is_what_calls_cost_and_what_every_kind_of_hit_saved() -> None:
    booked = {
        "spent": 5,
        "audit_spent": 2,
        "saved_exact": 10,
        "saved_semantic": 3,
        "saved_input_tokens": 999,
        "calls": 1,
    }
    assert history.money(booked) == {"spent": 7, "saved": 13}
    assert history.money({"calls": 1}) == {}


def test_the_wrong_hit_rate_of_a_slot_is_of_all_audits_so_far_and_its_interval_narrows() -> None:
    told = history.series([(0, {}), (60, {"right": 9, "wrong": 1}), (120, {"exact": 3}), (180, {"right": 90})])
    rates = [slot["wrong_hit_rate"] for slot in told]
    assert rates[0] is None
    assert (rates[1]["estimate"], rates[2], rates[3]["estimate"]) == (0.1, rates[1], 0.01)
    widths = [rate["high"] - rate["low"] for rate in rates[1:]]
    assert widths[2] < widths[0]


def test_a_summary_has_the_wrong_hit_rate_of_all_its_audits() -> None:
    slots = [{"outcome:exact": 1, "right": 3}, {"outcome:exact": 2, "wrong": 1}]
    (*_, last) = history.series(list(enumerate(slots)))
    told = history.summary(slots)
    assert told["requests"] == {"exact": 3}
    assert told["wrong_hit_rate"] == last["wrong_hit_rate"]
    assert told["wrong_hit_rate"]["estimate"] == 0.25
    assert history.summary([{"outcome:miss": 1}])["wrong_hit_rate"] is None


def test_slots_of_two_tenants_or_steps_have_keys_of_their_own() -> None:
    keys = {history.key(tenant, step, 900) for tenant in ("a", "b") for step in (MINUTE, QUARTER)}
    assert len(keys) == 4
