"""One wait for the disk for all writes that want it: while one is under way, the next ones gather.

Redis syncs its file once a second, so a wait takes half a second on average, whoever waits. With a connection for each, the number of
connections would bound how many tasks a second can be accepted; with a shared wait it does not.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from proxy.errors import RequestError, StoreError
from proxy.services.background import Background

SPARE_S = 1.0
"""How much longer than its own limit a wait may take before its connection is given up."""


class Disk(Protocol):
    """Confirms what was written."""

    async def confirm(self, *, timeout_ms: int) -> str:
        """The life of the server in which all earlier writes are on disk, "" if time ran out. Raises StoreError."""


class GroupCommit:
    """Waits for the disk.

    Args:
        disk: confirms.
        background: runs the waits: a caller who leaves must not end what others wait for.
        timeout_s: longest wait.
    """

    def __init__(self, disk: Disk, background: Background, *, timeout_s: float) -> None:
        self._disk = disk
        self._background = background
        self._timeout_s = timeout_s
        self._waiting: list[tuple[str, asyncio.Future[str]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def wait(self, life: str) -> None:
        """Return once what was written in this life of the server is on disk.

        Raises:
            RequestError: 503, it is not known to be.
        """
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((life, told))
        if self._runner is None or self._runner.done():
            self._runner = self._background.spawn(self._run(), name="task-sync")
        why = await told
        if why:
            raise RequestError(
                f"The queue wants its tasks on disk, and it is not known whether this one is: {why} Send it again, unchanged (a submission "
                "with its idempotency key).",
                status=503,
                code="not_confirmed",
                kind="store_error",
            )

    async def check(self) -> None:
        """Whether the server can confirm at all.

        Raises:
            RequestError: 409, it cannot.
        """
        try:
            async with asyncio.timeout(self._timeout_s + SPARE_S):
                await self._disk.confirm(timeout_ms=1)
        except TimeoutError as error:
            raise StoreError("Redis did not answer.") from error
        except StoreError as error:
            if type(error) is not StoreError:  # away, loading, full: nothing to do with the wish
                raise
            raise RequestError(
                f"`durability` cannot be fsync: {error} It needs Redis 7.2 or later with `appendonly yes`.",
                status=409,
                code="durability_unavailable",
                param="durability",
            ) from error

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            life, why = "", ""
            try:
                async with asyncio.timeout(self._timeout_s + SPARE_S):
                    life = await self._disk.confirm(timeout_ms=round(self._timeout_s * 1000))
            except TimeoutError:
                why = "Redis did not answer."
            except StoreError as error:
                why = str(error)
            why = why or (f"Redis did not confirm it within {self._timeout_s:g} s." if not life else "")
            for wanted, told in batch:
                if not told.done():
                    told.set_result(why or ("" if life == wanted else "Redis was restarted just then."))
