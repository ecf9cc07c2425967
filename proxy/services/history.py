"""What happened over time, for the dashboard: requests by outcome, durations, money and verdicts, by the minute and the quarter of an hour.

Noting is an addition in memory; every two seconds what came together is added to Redis. A picture, not a ledger: what a killed process had
not written is missing, and a batch whose reply is lost is counted twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from proxy.core import history
from proxy.core.history import ALL, STEPS, Step
from proxy.errors import StoreError
from proxy.ports import Guard

FLUSH_S = 2.0
"""How long counts wait: a page that is kept open is a few seconds behind, and Redis runs one script a tenant for it."""
WRITE_S = 2.0
"""For one batch; nobody waits for it."""
READ_S = 2.0
"""For a picture: up to `QUARTER.slots` small hashes."""
MAX_CELLS = 20_000
"""Slots that wait while Redis is away, some 20 MB."""

Cell = tuple[str, Step, int]
"""Tenant, step and start of a slot."""


class HistoryKeeper(Protocol):
    """Where slots are kept. Methods raise `StoreError` and its branches only."""

    async def add(self, cells: Mapping[Cell, Mapping[str, int]], /) -> None:
        """Add counts to slots."""

    async def read(self, tenant: str, step: Step, starts: Sequence[int], /) -> list[dict[str, int]]:
        """The counts of some slots, in their order."""


class History:
    """Notes, adds up, tells.

    Args:
        store: where slots are kept.
        guard: bounds what Redis may cost.
        now: unix time in seconds.

    Attributes:
        dropped: slots that were left out for want of room.
    """

    def __init__(self, store: HistoryKeeper, guard: Guard, *, now: Callable[[], float]) -> None:
        self._store = store
        self._guard = guard
        self._now = now
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._lines: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[Cell, Counter[str]] = {}
        self.dropped = 0

    # --- noting ----------------------------------------------------------------------------------------------------------------

    def answered(self, tenant: str, outcome: str, duration_s: float) -> None:
        """A request was answered. On every request's way: a microsecond or two."""
        self._answered[tenant, outcome, history.bucket_of(duration_s)] += 1

    def booked(self, tenant: str, counts: Mapping[str, int]) -> None:
        """The ledger has booked these."""
        for line, amount in history.money(counts).items():
            self._lines[tenant, line] += amount

    def audited(self, tenant: str, *, is_wrong: bool) -> None:
        """An audit of a hit that counts for the wrong-hit rate came to a verdict."""
        self._lines[tenant, "wrong" if is_wrong else "right"] += 1

    def voted(self, tenant: str, verdict: str) -> None:
        """A caller said of a hit that it was `right` or `wrong`."""
        self._lines[tenant, f"vote_{verdict}"] += 1

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Add what was noted before to Redis; while that does not answer, it waits."""
        self._sort()
        batch, self._waiting = self._waiting, {}
        if not batch:
            return
        try:
            async with self._guard.within(WRITE_S):
                await self._store.add(batch)
        except StoreError:
            for cell, counts in batch.items():
                self._wait(cell, counts)

    async def drain(self, *, deadline_s: float) -> None:
        """On the way out: write what waits, if Redis takes it in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self.flush()

    def _sort(self) -> None:
        """Put what was noted into the slots of now: at most `FLUSH_S` late."""
        answered, self._answered = self._answered, Counter()
        lines, self._lines = self._lines, Counter()
        by_tenant: dict[str, Counter[str]] = {}
        for (tenant, outcome, bucket), count in answered.items():
            counts = by_tenant.setdefault(tenant, Counter())
            for line in history.answered(outcome, bucket):
                counts[line] += count
        for (tenant, line), count in lines.items():
            by_tenant.setdefault(tenant, Counter())[line] += count
        everybody: Counter[str] = Counter()
        for counts in by_tenant.values():
            everybody.update(counts)
        now_s = self._now()
        for tenant, counts in ({ALL: everybody} | by_tenant if everybody else by_tenant).items():
            for step in STEPS.values():
                self._wait((tenant, step, step.start(now_s)), counts)

    def _wait(self, cell: Cell, counts: Counter[str]) -> None:
        if cell not in self._waiting and len(self._waiting) >= MAX_CELLS:
            self.dropped += 1
            return
        self._waiting.setdefault(cell, Counter()).update(counts)

    # --- telling ---------------------------------------------------------------------------------------------------------------

    async def read(self, tenant: str, step: Step, count: int) -> list[tuple[int, dict[str, int]]]:
        """The last slots of a tenant, (start in unix seconds, counts), oldest first, the running one last; raises StoreError."""
        await self.flush()
        last = step.start(self._now())
        starts = [last - back * step.seconds for back in reversed(range(count))]
        async with self._guard.within(READ_S):
            return list(zip(starts, await self._store.read(tenant, step, starts), strict=True))
