"""Tasks: states as A2A names them, which may follow which, how a queue works, and how all this is told.

      submitted ──claim──▶ working ──complete──▶ completed
       ▲  ▲  ▲ ▲             │ │ │ ├──fail, lease or deadline ran out──▶ failed ──requeue (dead letter only)──▶ submitted
       │  │  │ └─retry, lease┘ │ │ └──reject──▶ rejected
       │  │  └─────release─────┘ └──pause──▶ input-required, auth-required ──input──▶ submitted
       │  └───────────────────────────────────────────────────────────────────────────┘
      submit                                      canceled ◀──cancel── anything that has not ended

The steps themselves are atomic scripts in `stores/lua`; the table here is what their tests hold them to. Not here: who may be
whose parent (`task_lineage`), and what callers may send (`task_requests`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from proxy.errors import RequestError


class TaskState(StrEnum):
    """A2A's task states, in lower case."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input-required"
    AUTH_REQUIRED = "auth-required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"


ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
"""States that nothing follows, but for `requeue` from the dead letter, which A2A does not know."""
DEATHS = ("attempts-used-up", "not-retried", "lease-expired", "worker-restarted", "deadline")
"""Why a task failed for good, as its record says. All but the last stand in the dead letter."""

_PAUSED = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})
_OUT = frozenset({TaskState.CANCELED, TaskState.FAILED})  # by a word or by a deadline, from wherever it is
NEXT: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.SUBMITTED: _OUT | {TaskState.WORKING},
    TaskState.WORKING: _OUT | _PAUSED | {TaskState.SUBMITTED, TaskState.COMPLETED, TaskState.REJECTED},
    TaskState.INPUT_REQUIRED: _OUT | {TaskState.SUBMITTED},
    TaskState.AUTH_REQUIRED: _OUT | {TaskState.SUBMITTED},
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset({TaskState.SUBMITTED}),
    TaskState.CANCELED: frozenset(),
    TaskState.REJECTED: frozenset(),
}
"""What may follow a state."""


class Durability(StrEnum):
    """When a write counts as kept."""

    EVERYSEC = "everysec"
    """Once Redis has it in its append-only file: survives the death of any process, and loses a second at most to power failure."""
    FSYNC = "fsync"
    """Once it is on disk (WAITAOF): survives power failure, too; costs up to a second per write."""


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How a queue works.

    Attributes:
        durability: when what it accepts counts as kept.
        max_attempts: claims after which a task that fails again goes to the dead letter.
        lease_s: how long a worker may be silent.
        backoff_s: pause before the second attempt; doubled for each further one.
        max_backoff_s: longest pause.
        retention_s: how long ended tasks are kept.
    """

    durability: Durability
    max_attempts: int
    lease_s: float
    backoff_s: float
    max_backoff_s: float
    retention_s: float

    def fields(self) -> dict[str, str]:
        """As they stand in Redis."""
        return {name: _text(getattr(self, name)) for name in self.__slots__}


CONFIG_FIELDS = frozenset(QueueConfig.__slots__)


def config_fields(given: Mapping[str, Any]) -> dict[str, str]:
    """Those that are given, as they stand in Redis."""
    return {name: _text(value) for name, value in given.items() if value is not None}


def _text(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


# ── how things are told ───────────────────────────────────────────────────────────────────────────────────────────

_JSON = ("payload", "result", "error", "message", "input")
_NUMBERS = ("submitted_at", "ready_at", "started_at", "ended_at", "changed_at", "deadline_at")
_TEXTS = ("reason", "worker", "parent", "session", "agent", "idempotency_key")
_HEAVY = frozenset({"payload", "result", "input", "message", "error"})


def shown_task(
    queue: str, fields: Mapping[str, str], *, is_brief: bool = False, with_lease: bool = False
) -> dict[str, Any]:
    """A task's record as callers see it.

    Args:
        queue: its queue.
        fields: the record.
        is_brief: without what may be long, as in lists.
        with_lease: for the worker that holds it, and nobody else.
    """
    told: dict[str, Any] = {"id": fields["id"], "object": "task", "queue": queue, "state": fields["state"]}
    told["priority"] = int(fields["priority"])
    told["attempt"] = int(fields["attempt"])
    told["max_attempts"] = int(fields["max_attempts"])
    told |= {name: fields.get(name) or None for name in _TEXTS}
    told |= {name: float(fields[name]) if fields.get(name) else None for name in _NUMBERS}
    if not is_brief:
        told |= {name: orjson.loads(fields[name]) if fields.get(name) else None for name in _JSON}
    told["lease_until"] = float(fields["lease_until"]) if fields.get("lease_until") else None
    if with_lease:
        told["lease"] = fields["lease"]
    told["is_dead"] = bool(fields.get("dead"))
    return told


def shown_update(queue: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """An entry of `updates` as callers see it."""
    return {
        "id": fields["task"],
        "object": "task.update",
        "queue": queue,
        "from": fields["from"] or None,
        "state": fields["state"],
        "attempt": int(fields["attempt"]),
        "worker": fields["worker"] or None,
        "reason": fields["reason"] or None,
        "at": float(fields["at"]),
    }


def shown_dead(entry_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """An entry of the dead letter as callers see it."""
    return {
        "id": entry_id,
        "object": "dead_task",
        "task": fields["task"],
        "reason": fields["reason"],
        "attempts": int(fields["attempts"]),
        "error": orjson.loads(fields["error"]) if fields["error"] else None,
        "at": float(fields["at"]),
    }


def shown_queue(queue: str, config: Mapping[str, str]) -> dict[str, Any]:
    """A queue's configuration as callers see it."""
    return {
        "id": queue,
        "object": "queue",
        "durability": config["durability"],
        "max_attempts": int(config["max_attempts"]),
        **{name: float(config[name]) for name in ("lease_s", "backoff_s", "max_backoff_s", "retention_s")},
        **{name: float(config[name]) for name in ("created_at", "changed_at")},
    }


# ── why not ───────────────────────────────────────────────────────────────────────────────────────────────────────

_REFUSALS: Mapping[str, tuple[int, str]] = {
    "queue_not_found": (
        404,
        "There is no such queue: create it with PUT /v1/queues/{queue}, or by submitting a task to it.",
    ),
    "task_not_found": (
        404,
        "There is no such task in this queue: look at its id and the credential, or it ended so long ago that it was removed.",
    ),
    "lease_lost": (
        409,
        "This lease does not hold the task: it ran out, ended, or was never given. Drop the work, and claim again.",
    ),
    "task_canceled": (409, "The task was canceled while you held it: drop the work."),
    "deadline_passed": (409, "The task's deadline has passed, and so it failed: drop the work."),
    "task_ended": (409, "The task has ended; only one in the dead letter can be made ready again, by requeue."),
    "not_paused": (409, "The task waits for no input: only one in input-required or auth-required does."),
    "not_dead": (409, "The task is not in the dead letter: GET …/dead lists what can be requeued."),
    "idempotency_conflict": (
        409,
        "Another task was submitted with this idempotency key: send the same task, or another key.",
    ),
    "task_exists": (409, "Another task has this id: send the same task, or another id."),
}


def refused(code: str, *, param: str | None = None) -> RequestError:
    """The error for a word with which a script says why it did nothing."""
    status, message = _REFUSALS[code]
    return RequestError(message, status=status, code=code, param=param)
