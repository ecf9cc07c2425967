"""What hits earn for their entries, so that the cache knows what it is worth to keep; what worth is stands in `core.worth`.

Noting a hit is an addition in memory. With each round of upkeep what came together is priced and added to Redis in one round trip, and
then the cache is trimmed by it. A killed process takes the hits since its last round with it, some seconds of them: they only rank.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from proxy.core import worth
from proxy.core.prices import PriceList, Tariff
from proxy.core.usage import Usage, from_wire
from proxy.core.worth import Stored, Trimmed
from proxy.errors import StoreFullError
from proxy.services.upkeep import Cap

logger = logging.getLogger("deja.worth")

MAX_WAITING = 50_000
"""Entries whose hits wait while Redis is away, some 20 MB; hits of others are not noted then."""
ADDED_AT_ONCE = 1000
"""Entries in one script: some 2 ms of Redis' one thread."""


class EarningsKeeper(Protocol):
    """Where earnings are kept. Methods raise `StoreError` and its branches only; see `stores.capacity`."""

    async def add(self, earned: Mapping[str, float]) -> None:
        """Add earnings by name of the entry."""


class CallPrices:
    """What calls cost, known price or not.

    Args:
        prices: of models.
        tariff_of: under which prices a model is called, by the name that requests give it.
    """

    def __init__(self, prices: PriceList, tariff_of: Callable[[str], Tariff]) -> None:
        self._prices = prices
        self._tariff_of = tariff_of

    def of_entry(self, entry: Stored, size_bytes: int) -> int:
        """Pico-USD of the call that an entry answers."""
        return self.of_call(entry.usage, self._tariff_of(entry.model) if entry.model else None, size_bytes)

    def of_call(self, usage: Usage | None, tariff: Tariff | None, size_bytes: int) -> int:
        """Pico-USD of a call; None for what is not known."""
        cost = self._prices.cost(usage, tariff) if usage is not None and tariff is not None else None
        return worth.nominal_cost(usage, size_bytes) if cost is None else cost.total


@dataclass(slots=True)
class _Hits:
    """Hits of one entry that are still to be added."""

    usage: bytes | int
    tariff: Tariff | None
    size_bytes: int
    count: int = 0


class Earnings:
    """Notes hits, and lets the cache be trimmed by them. Is a `Cap`.

    Args:
        store: where earnings are kept.
        cap: trims.
        prices: of calls.
    """

    def __init__(self, store: EarningsKeeper, cap: Cap, prices: CallPrices) -> None:
        self._store = store
        self._cap = cap
        self._prices = prices
        self._waiting: dict[str, _Hits] = {}

    def served(self, entry_id: str, *, usage: bytes | int, tariff: Tariff | None, size_bytes: int) -> None:
        """An entry served a request. An addition; read and priced later.

        Args:
            entry_id: of the entry.
            usage: of the call it spares, as `Usage.to_wire` wrote it, b"" where it is not known; of an embedded input its tokens.
            tariff: of that call, None where there is none.
            size_bytes: of the answer.
        """
        hits = self._waiting.get(entry_id)
        if hits is None:
            if len(self._waiting) >= MAX_WAITING:
                return
            hits = self._waiting[entry_id] = _Hits(usage, tariff, size_bytes)
        hits.count += 1

    async def trim(self, *, now_s: float) -> Trimmed:
        """Add what hits have earned, then remove what is too much."""
        try:
            await self._add(now_s)
        except StoreFullError as error:  # all the more there is to be removed; hits wait
            logger.debug("hits wait: %s", error)
        return await self._cap.trim(now_s=now_s)

    async def _add(self, now_s: float) -> None:
        while self._waiting:
            batch = {entry_id: self._waiting.pop(entry_id) for entry_id in list(islice(self._waiting, ADDED_AT_ONCE))}
            try:
                await self._store.add(
                    {worth.name_of(entry_id): self._earned(hits, now_s) for entry_id, hits in batch.items()}
                )
            except BaseException:  # a deadline among them: not lost, unless they were added and only the reply was late
                self._put_back(batch)
                raise

    def _put_back(self, batch: Mapping[str, _Hits]) -> None:
        for entry_id, hits in batch.items():
            waiting = self._waiting.setdefault(entry_id, hits)
            if waiting is not hits:
                waiting.count += hits.count

    def _earned(self, hits: _Hits, now_s: float) -> float:
        usage = Usage(hits.usage) if isinstance(hits.usage, int) else from_wire(hits.usage)
        cost = self._prices.of_call(usage, hits.tariff, hits.size_bytes)
        return worth.earned(hits.count * max(cost, 1), at_s=now_s)
