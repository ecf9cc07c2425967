"""Keeps the journal at its cap: away from the appends, so that nothing unread is trimmed by the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from proxy.errors import StoreError, where
from proxy.ports import Guard

logger = logging.getLogger("deja.journal")

ROUND_S = 5.0
"""Between rounds; at 10,000 events a second the journal passes its cap by 50,000, some 12 MB."""
CALL_S = 2.0
"""For one trimming; nobody waits for it."""


class Trimmed(Protocol):
    """What a trimming did; `stores.journal.Trimmed` says what the attributes mean."""

    @property
    def lost(self) -> int:
        """Events that some consumer group may not have acknowledged."""

    @property
    def slowest(self) -> str:
        """The group furthest behind."""

    @property
    def left(self) -> int:
        """Events left."""


class Journal(Protocol):
    """What can be trimmed."""

    async def trim(self) -> Trimmed:
        """Remove what is too much; raises StoreError."""


class JournalUpkeep:
    """The caretaker of the journal.

    Args:
        journal: to be trimmed.
        guard: bounds what Redis may cost.
        on_loss: told how many unacknowledged events were removed.
    """

    def __init__(self, journal: Journal, guard: Guard, *, on_loss: Callable[[int], None]) -> None:
        self._journal = journal
        self._guard = guard
        self._on_loss = on_loss

    async def run(self) -> None:
        """Trim until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Trim once; whatever happens, the next round comes."""
        try:
            async with self._guard.within(CALL_S):
                done = await self._journal.trim()
        except StoreError as error:
            logger.debug("trimming the journal is put off: %s", error)
            return
        except Exception as error:
            logger.error("trimming the journal failed with %s", where(error))
            return
        if done.lost:
            self._on_loss(done.lost)
            logger.warning(
                "the journal is at its hard cap of %d events: %d were removed that its consumer group %r may not have "
                "acknowledged; start its consumers, or remove it with XGROUP DESTROY",
                done.left,
                done.lost,
                done.slowest[:64],
            )
