"""The last decisions of a tenant, and those that come: for people who look on, not for programs that must have each.

Both streams of the log (`stores.decisions`) are read: what the semantic tier judged, and the rest. Of exact hits there may be thousands a
second, written in packs; of a pack only the last few are handed on, with how many there were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from proxy.core import decision_log, keys
from proxy.core.decision_log import DecisionRecord
from proxy.errors import StoreError, where
from proxy.ports import Guard, StreamEntry
from proxy.services.background import Background
from proxy.services.decisions import READ_S, DecisionReader
from proxy.services.tails import Gap, Tails

logger = logging.getLogger("deja.decisions")

SHOWN = 20
"""Decisions of one batch that are handed on: more in a second than anybody reads."""
WAITING = 16
"""Batches that wait for a slow reader; further ones wait in Redis."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions that came together, oldest first; `left_out` more came with them."""

    records: tuple[DecisionRecord, ...]
    left_out: int = 0


class LiveDecisions:
    """Lists and follows the log. Reading raises `StoreError`s where Redis gives no answer.

    Args:
        store: where decisions are.
        tails: follows its streams.
        guard: bounds what Redis may cost.
        background: runs what reads them.
    """

    def __init__(self, store: DecisionReader, tails: Tails, guard: Guard, background: Background) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self._background = background

    async def recent(
        self, tenant: str, *, namespace: str | None, outcome: str | None, limit: int, looked_at: int
    ) -> list[DecisionRecord]:
        """A tenant's last decisions, newest first.

        Args:
            tenant: whose.
            namespace: only of this one, None for all.
            outcome: only of this one, None for all.
            limit: how many at most.
            looked_at: how many of each stream are looked at to find those of an outcome.
        """
        wanted = limit if outcome is None else looked_at
        async with self._guard.within(READ_S):
            judged = [one async for one in self._store.recent(tenant, namespace, limit=wanted)]
            others = [one async for one in self._store.recent(tenant, namespace, limit=wanted, is_judged=False)]
        fitting = [one for one in (*judged, *others) if outcome in (None, one.outcome)]
        return sorted(fitting, key=lambda one: -one.at)[:limit]

    async def follow(self, tenant: str) -> AsyncIterator[Batch]:
        """Yield a tenant's decisions as they are written; an empty batch when there are none for a while. Ends when Deja shuts down,
        or when Redis does not answer at the beginning."""
        at = keys.decision_keys(tenant)
        batches: asyncio.Queue[Batch | None] = asyncio.Queue(WAITING)
        readers = [
            self._background.spawn(self._read(stream, tenant, batches), name="decisions-tail")
            for stream in (at.judged, at.other)
        ]
        try:
            while (batch := await batches.get()) is not None:
                yield batch
        finally:
            for reader in readers:
                reader.cancel()

    async def _read(self, stream: str, tenant: str, batches: asyncio.Queue[Batch | None]) -> None:
        try:
            async with aclosing(self._tails.follow(stream, after=None)) as tail:  # type: ignore[type-var]
                async for entries in tail:
                    await batches.put(Batch(()) if isinstance(entries, Gap) else self._batch(entries, tenant))
        except StoreError:
            pass
        except Exception as error:  # whatever it is: who follows must not wait for ever
            logger.error("following decisions failed with %s", where(error))
        await batches.put(None)

    def _batch(self, entries: list[StreamEntry], tenant: str) -> Batch:
        told = [one for entry in entries for one in self._store.told_in(tenant, entry.fields)]
        records = tuple(decision_log.from_told(one, tenant=tenant) for one in told[-SHOWN:])
        return Batch(records, max(0, len(told) - SHOWN))
