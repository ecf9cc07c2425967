"""What must be looked after while Deja serves: the vector index is there and complete, the cache stays below its cap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from proxy.core.worth import Trimmed, Why
from proxy.errors import StoreError, where
from proxy.ports import Guard

logger = logging.getLogger("deja.upkeep")

INDEX_RETRY_S = 0.5
"""Between attempts while the index is not there: hits by meaning wait for it."""
CALLS_S = 5.0
"""For all commands of one round; nobody waits for it."""
ROUND_S = 5.0
"""Between rounds when all is well: some 2 ms of Redis each."""
BEHIND_S = 0.5
"""Between rounds while there is still too much in the cache, or Redis fills up: each takes up to 400 ms of it, in pieces."""


class Index(Protocol):
    """A vector index that can be looked after."""

    async def ensure(self) -> bool:
        """Create it if it is not there; True if it had to be."""

    async def is_complete(self) -> bool:
        """Whether all stored entries are in it."""


class Cap(Protocol):
    """A cache that can be trimmed."""

    async def trim(self, *, now_s: float) -> Trimmed:
        """Remove what is too much."""


class Upkeep:
    """The caretaker.

    Args:
        cap: the cache's byte cap.
        guard: bounds what Redis may cost.
        on_evict: told of entries that were removed, and why.
        now: unix time in seconds.

    Attributes:
        has_looked: set once a first round has ended, however it ended.
        index_state: `ready`, `loading`, `missing`, `unknown`, or what it waits for.
    """

    def __init__(
        self, cap: Cap, guard: Guard, *, on_evict: Callable[[Trimmed], None], now: Callable[[], float]
    ) -> None:
        self._index: Index | None = None
        self._cap = cap
        self._guard = guard
        self._on_evict = on_evict
        self._now = now
        self._wake = asyncio.Event()
        self._is_trimming = False
        self.has_looked = asyncio.Event()
        self.index_state = "waiting for the embedder"

    def watch(self, index: Index) -> None:
        """The embedder is there, and so its index is known."""
        self._index = index
        self.index_missing()

    def index_missing(self) -> None:
        """A search found no index, or nothing in one that is not whole: look at once."""
        if self.index_state == "loading":
            return  # it is being looked at twice a second, and every search may say so meanwhile
        self.index_state = "missing"
        self._wake.set()

    async def run(self) -> None:
        """Look after things until cancelled."""
        while True:
            self._wake.clear()
            pause_s = await self._round()
            self.has_looked.set()
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """Look after everything once; seconds until the next round."""
        try:
            async with self._guard.within(CALLS_S):
                if self._index is not None:
                    if await self._index.ensure():
                        logger.info("the vector index was not there and has been created")
                    self.index_state = "ready" if await self._index.is_complete() else "loading"
                trimmed = await self._cap.trim(now_s=self._now())
        except StoreError as error:
            self.index_state = "unknown"
            logger.debug("upkeep put off: %s", error)
            return INDEX_RETRY_S
        except Exception as error:  # whatever it is, the next round must still come
            self.index_state = "unknown"
            logger.error("upkeep failed with %s", where(error))
            return INDEX_RETRY_S
        if trimmed.count:
            self._on_evict(trimmed)
            if not self._is_trimming:  # once; the metric tells how it goes on
                over = "Redis is near its maxmemory" if trimmed.why is Why.MEMORY else "the cache is over its cap"
                logger.info("%s: %d entries are removed, those that saved least for their size", over, trimmed.count)
        self._is_trimming = trimmed.count > 0
        if trimmed.is_behind:
            return BEHIND_S
        return ROUND_S if self._index is not None and self.index_state == "ready" else INDEX_RETRY_S
