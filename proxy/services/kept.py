"""What is acknowledged is kept: an answer waits until Redis has handed the write to the operating system, or has it on disk.

Redis answers a write before either is sure (`stores.append_file` says when). So a look at its append-only file follows each write, one
for all writes that came in meanwhile; nearly always it says that nothing waits, and costs a round trip. A restart between write and
look would make the look worthless: the server's life is asked for before the write, and has to be the same after it.

    async with kept.keeping():        the write stands inside; behind it, it survives kill -9 of any process
        …

    life = await kept.life()      the same by hand: which run of the server this is; known but for the first time
    …                             the write
    await kept.written(life)      or on_disk(life): it survives a power failure, too
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from proxy.core.coordination.kept import FileStanding
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard
from proxy.services.background import Background

LIFE_S = 1.0
"""How long the server is taken for the one last seen: a restart in that time makes a write fail that may well have been kept."""
POLL_S = 0.005
"""Between looks while something waits: an fsync takes milliseconds, or much longer on a busy disk."""
SPARE_S = 1.0
"""How much longer than its own limit a wait for the disk may take before its connection is given up."""


class AppendFile(Protocol):
    """Redis' append-only file. Methods raise StoreError."""

    async def look(self) -> FileStanding:
        """How far it is now."""

    async def sync(self, *, timeout_ms: int) -> str:
        """The life of the server in which all earlier writes are on disk, "" if time ran out."""


@dataclass(slots=True, eq=False)
class _Waiter:
    life: str
    told: asyncio.Future[Exception | None]
    target_bytes: int | None = None  # the file's size from which on the write is in it
    seen_bytes: int = 0  # its size at the last look
    looks: int = 0

    def tell(self, error: Exception | None) -> None:
        if not self.told.done():
            self.told.set_result(error)


class Kept:
    """Waits for writes. Whatever it raises means: the write may or may not be kept.

    Args:
        file: the append-only file.
        guard: bounds what Redis may cost.
        background: runs what many wait for: a caller who leaves must not end it.
        deadline_s: for one look.
        patience_s: longest wait for a write to be handed over, or to be on disk.
    """

    def __init__(
        self, file: AppendFile, guard: Guard, background: Background, *, deadline_s: float, patience_s: float
    ) -> None:
        self._file = file
        self._guard = guard
        self._background = background
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._life, self._seen_at = "", -math.inf
        self._written = _Round(background, self._look_round)
        self._on_disk = _Round(background, self._disk_round)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Leave the block once what was written inside survives the death of any process.

        Raises:
            RequestError: 503, it is not known to.
            StoreError: Redis did not answer.
        """
        life = await self.life()
        yield
        await self.written(life)

    async def life(self) -> str:
        """Which run of the server this is, as seen within `LIFE_S`."""
        if asyncio.get_running_loop().time() - self._seen_at > LIFE_S:
            await self._looked()
        return self._life

    async def written(self, life: str) -> None:
        """Return once a write that was sent after `life` was known, and has been answered, survives the death of any process.

        Raises:
            RequestError: 503, it is not known to.
            StoreError: Redis did not answer.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._written.join(life)
        except TimeoutError:
            raise _unconfirmed(f"Redis did not write it to its file within {self._patience_s:g} s.") from None

    async def on_disk(self, life: str) -> None:
        """The same, and it survives a power failure.

        Raises:
            RequestError: 503, it is not known to.
            StoreError: Redis did not answer.
        """
        await self._on_disk.join(life)

    async def check_disk(self) -> None:
        """Whether the server can tell what is on disk.

        Raises:
            RequestError: 409, it cannot.
        """
        try:
            async with asyncio.timeout(self._patience_s + SPARE_S):
                await self._file.sync(timeout_ms=1)
        except TimeoutError as error:
            raise StoreError("Redis did not answer.") from error
        except StoreError as error:
            if type(error) is not StoreError:  # away, loading, full: says nothing about what it can do
                raise
            raise RequestError(
                f"`durability` cannot be fsync: {error} It needs Redis 7.2 or later with `appendonly yes`.",
                status=409,
                code="durability_unavailable",
                param="durability",
            ) from error

    async def _looked(self) -> FileStanding:
        async with self._guard.within(self._deadline_s):
            standing = await self._file.look()
        self._life, self._seen_at = standing.life, asyncio.get_running_loop().time()
        return standing

    async def _look_round(self, waiters: list[_Waiter]) -> list[_Waiter]:
        """One look for all of them; returns those who have to wait on."""
        standing = await self._looked()
        left = []
        for waiter in waiters:
            if waiter.life != standing.life:
                waiter.tell(_unconfirmed("Redis was restarted just then."))
            elif not standing.is_kept or not standing.waiting_bytes:
                waiter.tell(None)
            elif waiter.target_bytes is None or standing.written_bytes < waiter.seen_bytes:  # it has been rewritten
                waiter.target_bytes = standing.written_bytes + standing.waiting_bytes
                left.append(waiter)
            elif standing.written_bytes >= waiter.target_bytes:
                waiter.tell(None)
            else:
                left.append(waiter)
            waiter.seen_bytes = standing.written_bytes
            waiter.looks += 1
        return left

    async def _disk_round(self, waiters: list[_Waiter]) -> list[_Waiter]:
        """One wait for all of them."""
        try:
            async with asyncio.timeout(self._patience_s + SPARE_S):
                life = await self._file.sync(timeout_ms=round(self._patience_s * 1000))
        except TimeoutError:
            life = ""
        for waiter in waiters:
            if not life:
                waiter.tell(_unconfirmed(f"Redis did not say within {self._patience_s:g} s that it is on disk."))
            else:
                waiter.tell(None if waiter.life == life else _unconfirmed("Redis was restarted just then."))
        return []


class _Round:
    """Gathers waiters while a round is under way, and takes all of them along in the next one."""

    def __init__(self, background: Background, go_round: Callable[[list[_Waiter]], Awaitable[list[_Waiter]]]) -> None:
        self._background = background
        self._go_round = go_round
        self._waiting: list[_Waiter] = []
        self._runner: asyncio.Task[None] | None = None

    async def join(self, life: str) -> None:
        """Wait for a round that begins after this moment, or for the one that brings the end."""
        waiter = _Waiter(life, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if self._runner is None or self._runner.done():
            self._runner = self._background.spawn(self._run(), name="kept")
        error = await waiter.told
        if error is not None:
            raise error

    async def _run(self) -> None:
        carried: list[_Waiter] = []
        while self._waiting or carried:
            waiters, self._waiting = [*carried, *self._waiting], []
            waiters = [waiter for waiter in waiters if not waiter.told.done()]
            try:
                carried = await self._go_round(waiters)
            except Exception as error:  # whatever it is, they all have to hear of it
                for waiter in waiters:
                    waiter.tell(error)
                carried = []
            if (
                carried and min(waiter.looks for waiter in carried) > 1
            ):  # the second look follows at once: most end with it
                await asyncio.sleep(POLL_S)


def _unconfirmed(why: str) -> RequestError:
    return RequestError(
        f"It may or may not have been kept: {why} Send it again, unchanged (a submission with its idempotency key or id).",
        status=503,
        code="not_confirmed",
        kind="store_error",
    )
