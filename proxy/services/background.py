"""Tasks that outlive the call that started them.

The event loop keeps only weak references to tasks, so a bare `asyncio.create_task` may vanish half-way; and an exception in it
would be seen by nobody. `spawn` keeps the reference and logs the failure by type. What has to go on for as long as the application
does is begun with `keep`: whatever ends it, foreseen or not, it begins again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.errors import where

logger = logging.getLogger("deja.background")

CANCEL_AGAIN_S = 2.0
"""Longer than any way out; rarely waited for."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before what failed begins again; twice as long each time, until it has gone well for as long as the longest."""


class Background:
    """The background tasks of one application; `aclose` ends them all.

    Args:
        on_failure: told the name of each task that failed, once a failure.
    """

    def __init__(self, on_failure: Callable[[str], None] = lambda _name: None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a coroutine beside the caller and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> asyncio.Task[None]:
        """Run what has to go on: where it fails it is begun anew after a pause; it ends by returning, or with the application."""
        return self.spawn(self._kept(work, name), name=name)

    async def _kept(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        loop, pause_s = asyncio.get_running_loop(), FIRST_PAUSE_S
        while True:
            began_at = loop.time()
            try:
                await work()
            except Exception as error:  # whatever it is: nobody else would ever begin it again
                if loop.time() - began_at >= LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                logger.error("background task %s failed, and begins again in %g s: %s", name, pause_s, where(error))
                self._on_failure(name)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

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
            logger.error("background task %s ended with %s", task.get_name(), where(error))
            self._on_failure(task.get_name())
