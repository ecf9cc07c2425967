"""Records what happened off the hot path: a bounded queue, written in batches; what does not fit is counted, never silently lost.

While Redis is away the batch is kept and tried again; the queue fills, and from then on the newest records are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from proxy.errors import StoreError, StoreFullError, StoreUnavailableError, where
from proxy.ports import Guard

logger = logging.getLogger("deja.recorder")

BATCH_RECORDS = 200
"""Records per round trip: some 100 KB of commands, a few milliseconds of Redis' one thread."""
GATHER_S = 0.02
"""How long a first record waits for company: one write for many costs the requests in between least."""
RETRY_S = 0.5
FLUSH_POLL_S = 0.005
WRITE_S = 2.0
"""For one batch; nobody waits for it, so a slow Redis is given time."""


R = TypeVar("R")
Written = TypeVar("Written", contravariant=True)


class RecordStore(Protocol[Written]):
    """Where records go."""

    async def append(self, records: Sequence[Written]) -> None:
        """Write a batch; raises StoreError."""


class Together(Generic[Written]):
    """Several stores that take the same records, each its own part of them; written in this order."""

    def __init__(self, *stores: RecordStore[Written]) -> None:
        self._stores = stores

    async def append(self, records: Sequence[Written]) -> None:
        """Write a batch to all; where one fails the whole batch is tried again."""
        for store in self._stores:
            await store.append(records)


class Recorder(Generic[R]):
    """The queue and its writer.

    Args:
        store: where records go.
        guard: bounds what Redis may cost.
        queue_records: how many may wait.
        on_drop: told of each record that did not fit or could not be written.
        what: is recorded, for the log.
        size_of: bytes of a record; None where they do not matter.
        queue_bytes: how many bytes may wait, by `size_of`.
    """

    def __init__(
        self,
        store: RecordStore[R],
        guard: Guard,
        *,
        queue_records: int,
        on_drop: Callable[[int], None],
        what: str = "records of sessions and journal",
        size_of: Callable[[R], int] | None = None,
        queue_bytes: int = 0,
    ) -> None:
        self._store = store
        self._what = what
        self._guard = guard
        # Not asyncio.Queue, whose bookkeeping costs more than all else a record does on the hot path.
        self._queue: deque[R] = deque()
        self._queue_records = queue_records
        self._has_come = asyncio.Event()
        self._batch: list[R] = []  # taken from the queue, not yet written; outlives a cancelled `run`, for `drain`
        self._on_drop = on_drop
        self._is_dropping = False
        self._size_of = size_of
        self._queue_bytes = queue_bytes
        self._waiting_bytes = 0
        self._taken = 0  # records that `put` let in
        self._settled = 0  # of these, in order: written, or given up
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Records not yet written."""
        return len(self._batch) + len(self._queue)

    def put(self, record: R) -> None:
        """Take a record; returns at once."""
        if len(self._queue) >= self._queue_records:
            self._drop(1, "the queue is full")
            return
        if size := self._size(record):
            if self._waiting_bytes + size > self._queue_bytes:
                self._drop(1, "too many bytes are waiting")
                return
            self._waiting_bytes += size
        if not self._queue:
            self._has_come.set()
        self._queue.append(record)
        self._taken += 1

    async def flush(self, *, deadline_s: float) -> None:
        """Return once all that was put before is written or given up, or the deadline is over: who reads may see what he did."""
        until = self._taken
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self._settled < until:  # noqa: ASYNC110 - rare, and short
                    await asyncio.sleep(FLUSH_POLL_S)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            if not self._batch:
                self._has_come.clear()
                if not self._queue:
                    await self._has_come.wait()
                await asyncio.sleep(GATHER_S)
            self._fill_batch()
            while not await self._is_written(self._batch):  # noqa: ASYNC110 - Redis sends no event when it is back
                await asyncio.sleep(RETRY_S)
            self._settle()

    async def drain(self, *, deadline_s: float) -> None:
        """On the way out, after `run` was cancelled: write what waits, within the deadline; the rest is counted as dropped.

        What `run` was writing just then may be written twice.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while self._fill_batch():
                    try:
                        await self._append(self._batch)
                    except StoreError:
                        self._drop(len(self._batch), "Redis is away at shutdown")
                    except Exception as error:
                        self._drop(len(self._batch), where(error))
                    self._settle()
        except TimeoutError:
            self._drop(self.waiting, "Redis is too slow at shutdown")

    def _size(self, record: R) -> int:
        return 0 if self._size_of is None else self._size_of(record)

    def _settle(self) -> None:
        """The batch is written, or given up."""
        self._settled += len(self._batch)
        self._waiting_bytes -= sum(map(self._size, self._batch))
        self._batch = []

    def _fill_batch(self) -> bool:
        """Take what waits, as far as it fits; whether there is anything to write."""
        while len(self._batch) < BATCH_RECORDS and self._queue:
            self._batch.append(self._queue.popleft())
        return bool(self._batch)

    async def _is_written(self, batch: list[R]) -> bool:
        """Try once; False means try again."""
        try:
            await self._append(batch)
        except (StoreUnavailableError, StoreFullError):
            return False
        except StoreError as error:  # Redis refuses these very commands: trying again would block all that follows
            self._drop(len(batch), str(error))
            return True
        except Exception as error:  # whatever it is, the next batch must still be written
            self._drop(len(batch), where(error))
            return True
        self._is_dropping = False
        return True

    async def _append(self, batch: Sequence[R]) -> None:
        async with self._guard.within(WRITE_S):
            await self._store.append(batch)

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        self._on_drop(count)
        if not self._is_dropping:
            self._is_dropping = True
            logger.warning("recorder: dropping %s, %s", self._what, why)
