"""All tenants at a glance, for admins: how their requests went, each tenant's and all together, and what agents share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from proxy.core.history import ALL, Step
from proxy.core.overview import FleetTotals, Overview, TenantName
from proxy.ports import Guard
from proxy.services.history import History

READ_S = 5.0
"""For the counts of all queues; nobody's answer waits for it."""
SHOWN = 50
"""Tenants shown by themselves, the latest: more than anybody reads."""
SLOTS = 10_000
"""Of tenants, read at one look: some 0.8 s, beside requests. Of a week there are fewer tenants."""


class FleetCounter(Protocol):
    """Counts what agents share. Methods raise `StoreError` and its branches only."""

    async def read(self, tenants: Sequence[str], /, *, now_ms: int) -> FleetTotals:
        """Count the agents of these tenants and of all with heartbeats, and all queues."""


class Tenants(Protocol):
    """Who asked lately; `services.ledger.Ledger` is one."""

    async def latest(self, *, since_s: float, count: int) -> list[str]:
        """Tenants with requests since a unix time, the latest first; raises StoreError."""


class Names(Protocol):
    """What admins call tenants; `services.api_keys.ApiKeys` is one."""

    async def tenant_names(self) -> Mapping[str, TenantName]:
        """Of those that keys were made for; raises StoreError."""


class Overviews:
    """Puts overviews together; reading raises StoreError.

    Args:
        history: how requests went.
        tenants: who asked.
        names: what they are called.
        fleet: counts what agents share.
        guard: bounds what Redis may cost.
        now: unix time in seconds.
    """

    def __init__(
        self,
        history: History,
        tenants: Tenants,
        names: Names,
        fleet: FleetCounter,
        guard: Guard,
        *,
        now: Callable[[], float],
    ) -> None:
        self._history = history
        self._tenants = tenants
        self._names = names
        self._fleet = fleet
        self._guard = guard
        self._now = now

    async def read(self, step: Step, count: int) -> Overview:
        """The last slots, the running one among them."""
        slots = await self._history.read(ALL, step, count)
        latest = await self._tenants.latest(since_s=slots[0][0], count=min(SHOWN, max(1, SLOTS // count)))
        counted: dict[str, Counter[str]] = {}
        for tenant in latest:
            counted[tenant] = Counter()
            for _, counts in await self._history.read(tenant, step, count):
                counted[tenant].update(counts)
        async with self._guard.within(READ_S):
            fleet = await self._fleet.read(latest, now_ms=int(self._now() * 1000))
        busiest = dict(sorted(counted.items(), key=lambda pair: -sum(_outcomes(pair[1]))))
        return Overview(slots, busiest, await self._names.tenant_names(), fleet)


def _outcomes(counts: Mapping[str, int]) -> list[int]:
    return [count for line, count in counts.items() if line.startswith("outcome:")]
