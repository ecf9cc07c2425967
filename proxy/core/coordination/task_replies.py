"""What Redis replies about tasks, as values: records are text fields, as they stand in the hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Fields = Mapping[str, str]
OK = "ok"
REPEATED = "repeated"
"""The same was done before under the same lease: the answer to it was lost."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one step of one task.

    Attributes:
        word: `ok`, `repeated`, or why nothing was done.
        record: the task's fields; empty where nothing was done.
        durability: the queue's, where the step has to be kept; else empty.
    """

    word: str
    record: Fields
    durability: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought.

    Attributes:
        word: `ok`, or why nothing was done.
        records: the tasks' fields.
        next_due_s: seconds until something may become ready by itself, None if nothing is known of.
    """

    word: str
    records: tuple[Fields, ...] = ()
    next_due_s: float | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission.

    Attributes:
        word: `ok`, or why nothing was done.
        tasks: (whether it is new, its fields without payload and result), in the order submitted.
        durability: as in `Done`.
        position: which task a refusal is about, from 0.
    """

    word: str
    tasks: tuple[tuple[bool, Fields], ...] = ()
    durability: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of requeueing the dead letter.

    Attributes:
        word: as in `Done`.
        count: how many tasks are ready again.
        left: how many are left.
        durability: as in `Done`.
    """

    word: str
    count: int = 0
    left: int = 0
    durability: str = ""


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """How a queue stands.

    Attributes:
        config: its fields.
        counts: tasks by state; and `delayed` of the submitted, and `dead` of the failed.
        oldest_ready_s: seconds the oldest task waits that could be claimed, None without one.
    """

    config: Fields
    counts: Mapping[str, int]
    oldest_ready_s: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A task, and where `updates` stood at that moment.

    Attributes:
        record: its fields; None if there is no such task.
        position: id of the newest update.
        is_queue: whether there is such a queue.
    """

    record: Fields | None
    position: str
    is_queue: bool
