"""When Python looks for garbage, and when freed memory goes back: full collections wait for a quiet second.

A full collection walks every object that is alive and stops the process meanwhile: with 1,000 listening WebSockets for 110 to 130 ms, and
those were the slowest signals of all. It finds next to nothing, since what requests leave is mostly freed by itself. So Python's own are
switched off, the small ones of young objects stay, and this task collects when nobody waits, or when it has been too long.

Memory that was freed goes back to the system more often: batches of the models leave 20 MB and more in glibc's hands, in each thread that
ran them. That needs no Python lock, so it is a thread's business while requests go on.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

YOUNG = 10_000
"""Objects made before the youngest are looked through: some hundred requests' worth, 1 to 2 ms."""
MIDDLE = 20
"""Such looks before the middle generation is looked through too."""
NEVER = 1 << 30
LOOK_S = 1.0
QUIET = 0.05
"""Share of one core in the last second below which nobody waits."""
DUE = 2
"""Looks through the middle generation since the last full collection, from which on one is worth it."""
WORK_S = 2.0
"""Processor seconds after which freed memory is given back: a third of a percent of them."""
LONGEST_S = 600.0
"""A process that is never quiet is collected all the same: garbage in cycles would otherwise pile up."""


def give_back() -> None:
    """Return freed memory to the system: glibc keeps it for each thread that ever allocated much. 2 to 7 ms; nothing on other systems.

    After loading the models that is 18 MB, after batches in three threads another 18 to 29.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def collect() -> None:
    """Collect everything, and give back what it was."""
    gc.collect()
    give_back()


class Collector:
    """Collects garbage when it disturbs nobody.

    Args:
        busy_s: processor seconds of this process so far.
        now: monotonic seconds.
        collect: a full collection, and whatever else is for a quiet second.
    """

    def __init__(
        self,
        *,
        busy_s: Callable[[], float] = time.process_time,
        now: Callable[[], float] = time.monotonic,
        collect: Callable[[], object] = collect,
    ) -> None:
        self._busy_s = busy_s
        self._now = now
        self._collect = collect
        self._collected_at = now()
        self._looked_at, self._was_busy_s = now(), busy_s()
        self._given_back_at_s = busy_s()

    def begin(self) -> None:
        """What is alive now stays for good and is never walked again; full collections are this object's from here on."""
        self._collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(looks=gc.get_count()[2])
            if self.is_worth_giving_back():
                await asyncio.to_thread(give_back)

    def look(self, *, looks: int) -> bool:
        """Collect if it is time to; `looks` are those through the middle generation since the last full collection."""
        now, busy_s = self._now(), self._busy_s()
        is_quiet = busy_s - self._was_busy_s < QUIET * (now - self._looked_at)
        self._looked_at, self._was_busy_s = now, busy_s
        is_overdue = now - self._collected_at >= LONGEST_S
        if looks < DUE or not (is_quiet or is_overdue):
            return False
        self._collect()
        self._collected_at = now
        return True

    def is_worth_giving_back(self) -> bool:
        """Say whether enough work was done since the last yes for memory to lie about."""
        busy_s = self._busy_s()
        if busy_s - self._given_back_at_s < WORK_S:
            return False
        self._given_back_at_s = busy_s
        return True
