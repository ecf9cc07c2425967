"""Sees to what becomes due in queues though nobody asks: leases and deadlines that run out, delays that end, tasks that ended long ago.

Every process does this, and each step is idempotent: two at once do no harm, and none is needed for another to work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from proxy.core.coordination.keys import QueueKeys
from proxy.errors import StoreError, where
from proxy.ports import Guard
from proxy.services.task_ports import QueueNames, TaskSweeper

logger = logging.getLogger("deja.tasks")

ROUND_S = 1.0
"""Between rounds, and so how late a lease is seen to have run out where no worker asks; an idle queue costs some 10 us."""
PRUNE_S = 30.0
"""Between rounds of removing."""
QUEUES_AT_ONCE = 50
"""Queues swept in one round trip."""
PRUNE_ROUNDS = 20
"""Batches removed from one queue in a row; the rest has time until the next round."""
CALLS_S = 5.0
"""For one round trip; nobody waits for it."""


class TaskUpkeep:
    """The caretaker.

    Args:
        store: the queues.
        names: which there are.
        guard: bounds what Redis may cost.
        max_ended: ended tasks kept per queue.
        on_due: told how much was seen to.
        round_s: seconds between rounds.
        prune_s: seconds between rounds of removing.
    """

    def __init__(
        self,
        store: TaskSweeper,
        names: QueueNames,
        guard: Guard,
        *,
        max_ended: int,
        on_due: Callable[[int], None],
        round_s: float = ROUND_S,
        prune_s: float = PRUNE_S,
    ) -> None:
        self._store = store
        self._names = names
        self._guard = guard
        self._max_ended = max_ended
        self._on_due = on_due
        self._round_s = round_s
        self._prune_s = prune_s

    async def run(self) -> None:
        """Look after queues until cancelled."""
        prune_at = time.monotonic() + self._prune_s
        while True:
            await asyncio.sleep(self._round_s)
            try:
                queues = await self._queues()
                await self._sweep(queues)
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + self._prune_s
                    await self._prune(queues)
            except StoreError as error:
                logger.debug("looking after tasks is put off: %s", error)
            except Exception as error:  # whatever it is, the next round must still come
                logger.error("looking after tasks failed with %s", where(error))

    async def _queues(self) -> list[QueueKeys]:
        async with self._guard.within(CALLS_S):
            return [
                QueueKeys(tenant, queue)
                for tenant in await self._names.tenants()
                for queue in await self._names.queues(tenant)
            ]

    async def _sweep(self, queues: list[QueueKeys]) -> None:
        for start in range(0, len(queues), QUEUES_AT_ONCE):
            batch = queues[start : start + QUEUES_AT_ONCE]
            while batch:
                async with self._guard.within(CALLS_S):
                    counts = await self._store.sweep(batch)
                if None in counts:
                    logger.error("%d queues could not be swept", counts.count(None))
                self._on_due(sum(filter(None, counts)))
                batch = [queue for queue, count in zip(batch, counts, strict=True) if count]

    async def _prune(self, queues: list[QueueKeys]) -> None:
        for queue in queues:
            for _ in range(PRUNE_ROUNDS):
                async with self._guard.within(CALLS_S):
                    if not await self._store.prune(queue, keep=self._max_ended):
                        break
