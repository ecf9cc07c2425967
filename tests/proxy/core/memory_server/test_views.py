"""Summary views: who is in which partition, and how they are stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.memory.records import Conditions, Labels, Match, Memory, MemoryType, Period
from proxy.core.memory_server.views import (
    DAY_S,
    Partition,
    Task,
    TaskStatus,
    View,
    group_key,
    partition_from_json,
    partitioned,
    to_json,
    view_from_json,
)

MEMORY = Memory(
    memory_id="m1", text="t", memory_type=MemoryType.SEMANTIC, user="ann", session=None, namespace="work", topics=(),
    entities=(), created_at=1.0, updated_at=1.0, accessed_at=1.0,
)  # fmt: skip
VIEW = View(
    "v1",
    ("user_id", "memory_type"),
    filters={"namespace": "work"},
    conditions=Conditions(
        namespace=Match(one_of=("work",)), topics=Labels(any_of=("a", "b")), created=Period(since=5.0)
    ),
    time_window_days=7,
)


def test_a_view_and_a_partition_are_read_as_they_were_stored() -> None:
    partition = Partition("v1", {"user_id": "ann"}, "She is.", 3, 4.5)
    assert view_from_json(to_json(VIEW)) == VIEW
    assert partition_from_json(to_json(partition)) == partition


def test_memories_that_share_the_values_share_a_partition_and_those_without_have_none() -> None:
    others = [
        replace(MEMORY, memory_id="m2"),
        replace(MEMORY, memory_id="m3", user="bob"),
        replace(MEMORY, memory_id="m4", user=None),
    ]
    assert [
        (group, [each.memory_id for each in members]) for group, members in partitioned(VIEW, [MEMORY, *others])
    ] == [
        ({"user_id": "ann", "memory_type": "semantic"}, ["m1", "m2"]),
        ({"user_id": "bob", "memory_type": "semantic"}, ["m3"]),
    ]


def test_a_view_without_groups_has_one_partition() -> None:
    assert partitioned(View("v1", ()), [MEMORY, replace(MEMORY, memory_id="m2")]) == [
        ({}, [MEMORY, replace(MEMORY, memory_id="m2")])
    ]


def test_a_partition_narrows_the_views_conditions_and_the_window_moves_with_the_clock() -> None:
    now = 100 * DAY_S
    wanted = VIEW.wanted(now=now, group={"user_id": "ann", "memory_type": "semantic"})
    assert wanted == replace(
        VIEW.conditions,
        user=Match(one_of=("ann",)),
        memory_type=Match(one_of=("semantic",)),
        created=Period(since=93 * DAY_S),
    )


def test_a_partition_outside_the_views_filters_is_empty() -> None:
    view = View("v1", ("namespace",), conditions=Conditions(namespace=Match(one_of=("work",))))
    assert view.wanted(now=0.0, group={"namespace": "home"}) is None


def test_a_groups_key_does_not_depend_on_the_order_of_its_fields() -> None:
    assert group_key({"a": "1", "b": "2"}) == group_key({"b": "2", "a": "1"})
    assert group_key({"a": "1|b=2"}) != group_key({"a": "1", "b": "2"})


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.RUNNING])
def test_a_task_whose_process_is_silent_has_failed(status: TaskStatus) -> None:
    task = Task("t", "v", status, created_at=0.0, alive_at=100.0)
    assert task.seen_at(150.0, silence_s=60.0) == task
    dead = task.seen_at(161.0, silence_s=60.0)
    assert (dead.status, dead.completed_at) == (TaskStatus.FAILED, 100.0)
    assert "run the view again" in str(dead.error)


def test_a_task_that_is_over_stays_as_it_is() -> None:
    task = Task("t", "v", TaskStatus.SUCCESS, created_at=0.0, alive_at=1.0)
    assert task.seen_at(1e6, silence_s=60.0) == task
