"""Erasing what queues keep of a session: the tasks that were submitted in it, whatever has become of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.core.coordination.keys import QueueKeys
from proxy.ports import Guard
from proxy.services.task_ports import TaskReader

PAGE = 500
"""Tasks looked at by one script: some milliseconds of Redis' one thread."""


class Eraser(Protocol):
    """Removes tasks."""

    async def erase(self, queue: QueueKeys, session: str, task_ids: Sequence[str]) -> int:
        """Remove those of some tasks that were submitted in a session; returns how many there were. Raises StoreError."""


class TaskErasure:
    """Tasks of a session.

    Args:
        store: removes them.
        reader: lists them.
        guard: bounds what Redis may cost.
        deadline_s: for one page.
    """

    def __init__(self, store: Eraser, reader: TaskReader, guard: Guard, *, deadline_s: float) -> None:
        self._store = store
        self._reader = reader
        self._guard = guard
        self._deadline_s = deadline_s

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove the session's tasks from all the tenant's queues; returns how many there were. May be repeated. Raises StoreError.

        A worker that holds one is told that it is not there. Nothing of their content is anywhere else: updates name ids alone.
        """
        async with self._guard.within(self._deadline_s):
            names = await self._reader.queues(tenant)
        erased = 0
        for name in names:
            queue, before = QueueKeys(tenant, name), None
            while True:
                async with self._guard.within(self._deadline_s):
                    page = await self._reader.page(queue, "tasks", before, PAGE)
                    erased += await self._store.erase(queue, session, [task for _, task in page]) if page else 0
                if len(page) < PAGE:
                    break
                before = page[-1]
        return erased
