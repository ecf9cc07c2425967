"""Tasks that outlive the call that started them.

The event loop keeps only weak references to tasks, so a bare `asyncio.create_task` may vanish half-way; and an exception in it
would be seen by nobody. `spawn` keeps the reference and logs the failure by type.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("deja.background")

CANCEL_AGAIN_S = 2.0
"""Longer than any way out; rarely waited for."""


class Background:
    """The background tasks of one application; `aclose` ends them all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a coroutine beside the caller and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def aclose(self) -> None:
        """Cancel what still runs and wait for it."""
        while self._tasks:  # a task on its way out may spawn another
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            # Again after a while: `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes together with its result.
            ended, _ = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)
            self._tasks.difference_update(ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            # The type alone: a message may quote a prompt.
            logger.error("background task %s ended with %s", task.get_name(), type(error).__name__)
