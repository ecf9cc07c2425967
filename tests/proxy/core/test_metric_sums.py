from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.metric_sums import Family, added_up, from_plain, to_plain


def counter(value: float, *, name: str = "asked", **labels: str) -> Family:
    return Family(name, "counter", "How often.", {(f"{name}_total", tuple(sorted(labels.items()))): value})


def gauge(value: float, *, name: str = "waiting", **labels: str) -> Family:
    return Family(name, "gauge", "How many.", {(name, tuple(sorted(labels.items()))): value})


def value(families: list[Family], name: str, **labels: str) -> float:
    return next(
        each.samples[name, tuple(sorted(labels.items()))]
        for each in families
        if (name, tuple(sorted(labels.items()))) in each.samples
    )


def test_counters_of_all_workers_add_up_and_those_of_ended_ones_stay() -> None:
    told = added_up([counter(1)], [[counter(2)]], [[counter(4)]], gauges={})
    assert value(told, "asked_total") == 7


def test_a_label_only_one_worker_has_seen_is_there() -> None:
    told = added_up([counter(1, kind="a")], [[counter(2, kind="b")]], gauges={})
    assert (value(told, "asked_total", kind="a"), value(told, "asked_total", kind="b")) == (1, 2)


def test_a_metric_only_another_worker_has_is_there() -> None:
    assert value(added_up([], [[counter(2)]], gauges={}), "asked_total") == 2


def test_buckets_sums_and_counts_of_a_histogram_add_up_and_its_age_is_the_oldest() -> None:
    def histogram(low: float, all_: float, created: float) -> Family:
        return Family(
            "took",
            "histogram",
            "How long.",
            {
                ("took_bucket", (("le", "1.0"),)): low,
                ("took_bucket", (("le", "+Inf"),)): all_,
                ("took_sum", ()): all_ * 2,
                ("took_count", ()): all_,
                ("took_created", ()): created,
            },
        )

    told = added_up([histogram(1, 2, 50)], [[histogram(3, 4, 40)]], gauges={})
    assert told == [histogram(4, 6, 40)]


def test_gauges_of_ended_workers_are_gone() -> None:
    told = added_up([gauge(1)], [[gauge(2)]], [[gauge(100)]], gauges={})
    assert value(told, "waiting") == 3


def test_a_gauge_is_merged_as_its_name_says_or_the_value_of_its_label() -> None:
    rules = {"share": "own", "level:loosest": "lowest", "level:strictest": "highest"}
    one = [gauge(0.5, name="share"), gauge(0.3, name="level", of="loosest"), gauge(0.4, name="level", of="strictest")]
    two = [gauge(0.7, name="share"), gauge(0.2, name="level", of="loosest"), gauge(0.9, name="level", of="strictest")]
    told = added_up(one, [[each] for each in two], gauges=rules)
    assert value(told, "share") == 0.5
    assert value(told, "level", of="loosest") == 0.2
    assert value(told, "level", of="strictest") == 0.9


def test_what_a_worker_does_not_know_the_others_say() -> None:
    assert value(added_up([gauge(math.nan)], [[gauge(2)]], gauges={"waiting": "own"}), "waiting") == 2
    assert math.isnan(value(added_up([gauge(math.nan)], [[gauge(math.nan)]], gauges={}), "waiting"))


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=6), st.data())
def test_it_makes_no_difference_who_is_asked_nor_who_has_ended(counts: list[int], data: st.DataObject) -> None:
    asked = data.draw(st.integers(0, len(counts) - 1))
    rest = [[counter(each)] for at, each in enumerate(counts) if at != asked]
    cut = data.draw(st.integers(0, len(rest)))
    told = added_up([counter(counts[asked])], rest[:cut], rest[cut:], gauges={})
    assert value(told, "asked_total") == sum(counts)


def test_what_is_written_down_reads_back() -> None:
    families = [counter(1, kind="a", of="b"), gauge(2.5)]
    assert from_plain(to_plain(families)) == families
