"""Claiming tasks, and waiting for them. What nobody receives goes back at once.

A claim is lost in three ways that its leases would mend only when they run out: the worker leaves while the script runs, the worker leaves
before the answer is sent, the script's reply never comes. In each the leases are known, since they are minted here: whatever was handed
out under them is given back, and the attempt does not count.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_replies import OK, Claimed, Fields
from proxy.core.coordination.task_requests import ClaimRequest
from proxy.core.coordination.tasks import refused
from proxy.errors import StoreError
from proxy.ports import Guard
from proxy.services.background import Background
from proxy.services.task_ports import TaskWriter
from proxy.services.task_wakeups import Lines

logger = logging.getLogger("deja.tasks")

GIVE_BACK_AFTER_S = (0.0, 1.0, 5.0)
"""A script whose reply did not come may still be waiting to run; after the last of these the lease has to run out."""


class Claims:
    """Hands out tasks.

    Args:
        store: where they are.
        lines: who waits.
        guard: bounds what Redis may cost.
        background: runs what must end though the caller left.
        deadline_s: for one script.
    """

    def __init__(
        self, store: TaskWriter, lines: Lines, guard: Guard, background: Background, *, deadline_s: float
    ) -> None:
        self._store = store
        self._lines = lines
        self._guard = guard
        self._background = background
        self._deadline_s = deadline_s

    async def claim(self, queue: QueueKeys, request: ClaimRequest, *, wait_s: float) -> tuple[Fields, ...]:
        """The tasks a worker gets; empty when none came within `wait_s`.

        Raises:
            RequestError: 404, there is no such queue.
            StoreError: Redis did not answer; what it may have handed out is given back.
        """
        claimed = await self._once(queue, request)
        if claimed.records or wait_s <= 0 or self._lines.is_closing:
            return claimed.records
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wait_s
        async with self._lines.join(queue.key("wake")) as line:
            while True:
                rings = line.rings
                claimed = await self._once(queue, request)
                left_s = give_up_at - loop.time()
                if claimed.records or left_s <= 0 or self._lines.is_closing:
                    return claimed.records
                line.look_in(claimed.next_due_s)
                await line.wait(rings, left_s)

    def give_back(self, queue: QueueKeys, worker: str, leases: list[str]) -> None:
        """Give back what was handed out under these leases, in the background: nobody received it."""
        if leases:
            self._background.spawn(self._give_back(queue, worker, leases), name="task-give-back")

    async def _once(self, queue: QueueKeys, request: ClaimRequest) -> Claimed:
        leases = [f"lease_{secrets.token_hex(16)}" for _ in range(request.count)]
        # In a task of its own: cut off in the middle, the script may have run and nobody would know what it handed out.
        script: asyncio.Task[Claimed | StoreError] = self._background.spawn(
            self._run(queue, request, leases), name="task-claim"
        )
        try:
            claimed = await asyncio.shield(script)
        except asyncio.CancelledError:
            script.add_done_callback(lambda _: self.give_back(queue, request.worker, leases))
            raise
        if isinstance(claimed, StoreError):
            self.give_back(queue, request.worker, leases)
            raise claimed
        if claimed.word != OK:
            raise refused(claimed.word, param="queue")
        return claimed

    async def _run(self, queue: QueueKeys, request: ClaimRequest, leases: list[str]) -> Claimed | StoreError:
        try:
            async with self._guard.within(self._deadline_s):
                return await self._store.claim(queue, request, leases)
        except StoreError as error:
            return error

    async def _give_back(self, queue: QueueKeys, worker: str, leases: list[str]) -> None:
        for delay_s in GIVE_BACK_AFTER_S:
            await asyncio.sleep(delay_s)
            try:
                async with self._guard.within(self._deadline_s):
                    count = await self._store.give_back(queue, worker, leases)
            except StoreError as error:
                logger.debug("giving back tasks is put off: %s", error)
                continue
            if count:
                logger.debug("%d tasks nobody received are ready again", count)
                return
