"""The ledger in Redis: counts per tenant and day, added in batches, read by day; and what was spent, for budgets.

A batch of one tenant and day is one Lua script with a marker, so that one that is sent again because no answer came counts once; the
batches of a flush share a round trip. Keys and fields: `core.ledger_keys`, `core.ledger.field_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import ledger, ledger_keys
from proxy.core.ledger import Cell, Counts
from proxy.stores.client import translated
from proxy.stores.responses import script

BATCH_TTL_S = 86_400
"""How long a batch is known; a worker that is cut off from Redis for longer than a day may count its last batch twice."""
DAY_FIELDS = 20_000
"""Fields of a tenant's day, some 2 MB: about a thousand pairs of model and namespace, of some 15 lines each."""
SPENT_DAY_TTL_S = 3 * 86_400
SPENT_MONTH_TTL_S = 63 * 86_400
"""Budgets look at the period that runs; one more is kept to look back at."""
DAYS_PER_TRIP = 64
"""Hashes read in one round trip."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Pico-USD of a tenant in the day and the month that a batch belongs to, this batch and those of other processes included."""

    day: int
    month: int


class LedgerStore:
    """Counts in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        keep_days: how long a day's counts stay.
    """

    def __init__(self, client: Redis, *, keep_days: int) -> None:
        self._client = client
        self._keep_s = keep_days * 86_400
        self._script = client.register_script(script("add_usage"))

    async def add(
        self, batch_id: str, counts: Mapping[tuple[str, str], Mapping[Cell, Counts]], *, now_s: float
    ) -> list[Spent]:
        """Add counts; sent again under the same id, none is added again. One round trip.

        Args:
            batch_id: of this flush alone, hex.
            counts: (tenant, ISO date) -> its cells.
            now_s: unix time, by which tenants are listed.

        Returns:
            What each tenant has spent, in the order of `counts`.
        """
        with translated():
            try:
                replies = await self._send(batch_id, counts, now_s)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                await self._client.script_load(self._script.script)
                replies = await self._send(batch_id, counts, now_s)
        return [Spent(int(day), int(month)) for _, day, month in replies]

    async def read(self, tenant: str, days: Iterable[str]) -> dict[Cell, Counts]:
        """The counts of a tenant's days, ISO dates."""
        found: dict[Cell, Counts] = {}
        wanted = list(days)
        for start in range(0, len(wanted), DAYS_PER_TRIP):
            some = wanted[start : start + DAYS_PER_TRIP]
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for day in some:
                        pipe.hgetall(ledger_keys.usage(tenant, day))
                    read = await pipe.execute()
            for day, fields in zip(some, read, strict=True):
                found |= ledger.cells_of(tenant, day, fields)
        return found

    async def tenants(self, *, since_s: float, count: int) -> list[str]:
        """Tenants with counts since a unix time, the latest first, at most so many; who is past keeping is forgotten."""
        with translated():
            found: list[Any] = await self._client.zrevrangebyscore(
                ledger_keys.TENANTS, "+inf", since_s, start=0, num=count
            )
        return [tenant.decode() for tenant in found]

    async def spent(self, tenants: Sequence[str], *, day: str, month: str) -> list[Spent]:
        """What tenants have spent in a day and a month, in their order. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for tenant in tenants:
                    pipe.get(ledger_keys.spent(tenant, day))
                    pipe.get(ledger_keys.spent(tenant, month))
                read = [int(amount or 0) for amount in await pipe.execute()]
        return [Spent(*pair) for pair in zip(read[::2], read[1::2], strict=True)]

    async def _send(
        self, batch_id: str, counts: Mapping[tuple[str, str], Mapping[Cell, Counts]], now_s: float
    ) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for (tenant, day), cells in counts.items():
                keys, arguments = self._arguments(batch_id, tenant, day, cells)
                pipe.evalsha(self._script.sha, len(keys), *keys, *arguments)
            pipe.zadd(ledger_keys.TENANTS, {tenant: now_s for tenant, _ in counts})
            pipe.zremrangebyscore(ledger_keys.TENANTS, "-inf", now_s - self._keep_s)
            replies: list[Any] = await pipe.execute()
        return replies[: len(counts)]

    def _arguments(
        self, batch_id: str, tenant: str, day: str, cells: Mapping[Cell, Counts]
    ) -> tuple[list[str], list[Any]]:
        spent = sum(ledger.spent_of(counts) for counts in cells.values())
        keys = [
            ledger_keys.batch(tenant, f"{batch_id}-{day}"),
            ledger_keys.usage(tenant, day),
            ledger_keys.spent(tenant, day),
            ledger_keys.spent(tenant, day[:7]),
        ]
        arguments: list[Any] = [BATCH_TTL_S, self._keep_s, SPENT_DAY_TTL_S, SPENT_MONTH_TTL_S, DAY_FIELDS, spent]
        for cell, counts in cells.items():
            for line, count in counts.items():
                arguments += (ledger.field_of(cell, line), ledger.other_field(line), count)
        return keys, arguments
