"""Summary views: which memories are summarised together, what came of it, and the tasks that do it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import orjson

from proxy.core.memory.records import Conditions, Labels, Match, Memory, Period

DAY_S = 86_400.0
GROUPS = ("user_id", "namespace", "session_id", "memory_type")
"""What memories can be grouped by."""
_FIELDS = {"user_id": "user", "namespace": "namespace", "session_id": "session", "memory_type": "memory_type"}

Group = dict[str, str]
"""Values of a view's `group_by` fields: one partition of it."""


@dataclass(frozen=True, slots=True)
class View:
    """What is summarised.

    Attributes:
        view_id: its id.
        group_by: fields of `GROUPS`: memories that share their values are summarised together.
        filters: as the caller wrote them.
        conditions: what they mean.
        name: for people.
        time_window_days: only memories stored in so many last days; None for all.
        is_continuous: it is refreshed by the background.
        prompt: the caller's own words for how to summarise; None for Deja's.
        model: which model does it; None for the one of the settings.
    """

    view_id: str
    group_by: tuple[str, ...]
    filters: Mapping[str, Any] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    name: str | None = None
    time_window_days: int | None = None
    is_continuous: bool = False
    prompt: str | None = None
    model: str | None = None

    def group_of(self, memory: Memory) -> Group | None:
        """Which partition a memory is in; None where it lacks a field that the view groups by."""
        values = {name: getattr(memory, _FIELDS[name]) for name in self.group_by}
        return None if None in values.values() else {name: str(value) for name, value in values.items()}

    def wanted(self, *, now: float, group: Group | None = None) -> Conditions | None:
        """Which memories are meant: all of the view's, or those of one partition; None where there can be none."""
        found = self.conditions
        for name, value in (group or {}).items():
            match: Match = getattr(found, _FIELDS[name])
            if match.one_of is not None and value not in match.one_of:
                return None
            narrower: Any = {_FIELDS[name]: Match(one_of=(value,))}
            found = replace(found, **narrower)
        if self.time_window_days is not None:
            since = max(now - self.time_window_days * DAY_S, found.created.since or 0.0)
            found = replace(found, created=replace(found.created, since=since))
        return found


@dataclass(frozen=True, slots=True)
class Partition:
    """What came of one partition.

    Attributes:
        view_id: of which view.
        group: which one.
        summary: empty where there was nothing to summarise.
        memory_count: memories that are in it.
        computed_at: unix seconds.
    """

    view_id: str
    group: Group
    summary: str
    memory_count: int
    computed_at: float

    def is_in(self, wanted: Mapping[str, str]) -> bool:
        """Whether it has these values."""
        return all(self.group.get(name) == value for name, value in wanted.items())


class TaskStatus(StrEnum):
    """How far a task is; the Agent Memory Server's words."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Task:
    """A run of a view over all its partitions. Times are unix seconds.

    Attributes:
        task_id: the caller's own or minted.
        view_id: of which view.
        status: how far it is.
        created_at, started_at, completed_at: None for not yet.
        alive_at: when the process that runs it last said so.
        error: why it failed.
    """

    task_id: str
    view_id: str
    status: TaskStatus
    created_at: float
    alive_at: float
    started_at: float | None = None
    completed_at: float | None = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in (TaskStatus.SUCCESS, TaskStatus.FAILED)

    def seen_at(self, now: float, *, silence_s: float) -> Task:
        """How it stands: a task whose process has been silent for too long has died with it."""
        if self.is_over or now - self.alive_at <= silence_s:
            return self
        return replace(
            self,
            status=TaskStatus.FAILED,
            completed_at=self.alive_at,
            error="The process that ran this task ended before the task did; run the view again.",
        )


def partitioned(view: View, memories: Iterable[Memory]) -> list[tuple[Group, list[Memory]]]:
    """Memories by partition, in the order of the first of each."""
    found: dict[tuple[str, ...], list[Memory]] = {}
    for memory in memories:
        group = view.group_of(memory)
        if group is not None:
            found.setdefault(tuple(group[name] for name in view.group_by), []).append(memory)
    return [(dict(zip(view.group_by, values, strict=True)), members) for values, members in found.items()]


def group_key(group: Group) -> bytes:
    """A partition's field in the hash of its view: JSON, always the same for the same values."""
    return orjson.dumps(group, option=orjson.OPT_SORT_KEYS)


def to_json(value: View | Partition) -> bytes:
    """A view, or a partition, as it is stored."""
    return orjson.dumps(asdict(value))


def view_from_json(raw: bytes) -> View:
    """Read a stored view."""
    told = orjson.loads(raw)
    parts: dict[str, Any] = {
        name: _condition(value, kind)
        for name, value in told["conditions"].items()
        if (kind := _KINDS.get(name)) is not None
    }
    return View(**told | {"group_by": tuple(told["group_by"]), "conditions": Conditions(**parts)})


def partition_from_json(raw: bytes) -> Partition:
    """Read a stored partition."""
    return Partition(**orjson.loads(raw))


_KINDS: Mapping[str, Any] = {
    each.name: type(default)
    for each in fields(Conditions)
    if isinstance(default := getattr(Conditions(), each.name), Match | Labels | Period)
}
"""The conditions that a view's filters can be."""


def _condition(told: dict[str, Any], kind: Any) -> Match | Labels | Period:
    found: Match | Labels | Period = kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    )
    return found
