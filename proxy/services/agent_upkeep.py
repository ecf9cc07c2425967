"""Looks every second which agents' heartbeats have run out, so that a death is told though the dead say nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from proxy.errors import StoreError, where
from proxy.ports import Guard

logger = logging.getLogger("deja.agents")

ROUND_S = 1.0
"""Between rounds, and so how late a death is told; one script per tenant with heartbeats each."""
CALLS_S = 5.0
"""For all commands of one round; nobody waits for it."""


class Sweeper(Protocol):
    """Knows who is alive."""

    async def sweep(self) -> int:
        """Write down every death that has not been; returns how many there were. Raises StoreError."""


class AgentUpkeep:
    """The caretaker. Several processes may each have one: a death is written down once.

    Args:
        store: knows who is alive.
        guard: bounds what Redis may cost.
        on_deaths: told how many there were.
        round_s: seconds between rounds.
    """

    def __init__(
        self, store: Sweeper, guard: Guard, *, on_deaths: Callable[[int], None], round_s: float = ROUND_S
    ) -> None:
        self._store = store
        self._guard = guard
        self._on_deaths = on_deaths
        self._round_s = round_s

    async def run(self) -> None:
        """Look after agents until cancelled."""
        while True:
            await asyncio.sleep(self._round_s)
            try:
                async with self._guard.within(CALLS_S):
                    deaths = await self._store.sweep()
            except StoreError as error:
                logger.debug("looking for dead agents is put off: %s", error)
                continue
            except Exception as error:  # whatever it is, the next round must still come
                logger.error("looking for dead agents failed with %s", where(error))
                continue
            if deaths:
                self._on_deaths(deaths)
                logger.info("%d agents are dead: their heartbeats have run out", deaths)
