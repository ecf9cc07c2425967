"""A task in a worker's hands, and what its handler may raise."""

from __future__ import annotations

import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

MESSAGE_CHARS = 2000
"""Of an error's message that is kept with a task."""


class Retry(Exception):  # noqa: N818  reads as what a handler wants: raise Retry(in_s=60)
    """Raised by a handler: try this task again later. It counts as an attempt.

    Args:
        message: why, kept with the task.
        in_s: seconds from now; None for the queue's back-off.
    """

    def __init__(self, message: str = "", *, in_s: float | None = None) -> None:
        super().__init__(message)
        self.in_s = in_s


class Fatal(Exception):  # noqa: N818
    """Raised by a handler: this task will never succeed; it goes to the dead letter at once."""


class Task:
    """A task that this worker holds.

    Attributes:
        fields: all that Deja tells of it.
        over: set by the worker when it has reported what became of it.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.over = threading.Event()
        self._lost = threading.Event()

    @property
    def id(self) -> str:
        """Its id, the same in every attempt: what to make idempotency keys of."""
        return str(self.fields["id"])

    @property
    def payload(self) -> Any:
        """What was submitted: any JSON value."""
        return self.fields["payload"]

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return int(self.fields["attempt"])

    @property
    def is_lost(self) -> bool:
        """Whether Deja said that the task is no longer this worker's: lease run out, canceled, too late. Drop the work then; the result
        goes nowhere. While Deja cannot be reached it cannot say so.
        """
        return self._lost.is_set()

    def lose(self, why: str) -> None:
        """Note that it is another's now, or nobody's."""
        if not self._lost.is_set() and not self.over.is_set():
            log.warning("task %s is no longer held (%s)", self.id, why)
        self._lost.set()


def failure(error: BaseException, *, retry: bool) -> dict[str, Any]:
    """An error as it is reported: what it is, and whether another attempt may mend it."""
    message = str(error)[:MESSAGE_CHARS].encode(errors="replace").decode()
    told = {"type": type(error).__name__, "message": message}
    return {"error": told, "retry": retry}
