"""Slots of the dashboard's history in Redis: small hashes that expire by themselves. What is in them: `core.history`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import history
from proxy.core.history import Step
from proxy.stores.client import translated
from proxy.stores.responses import script

SLOTS_PER_TRIP = 128
"""Hashes read in one round trip: some 100 KB, a millisecond of Redis' one thread."""

Cells = Mapping[tuple[str, Step, int], Mapping[str, int]]
"""(tenant, step, start of the slot) -> its counts."""


class HistoryStore:
    """Slots in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._script = client.register_script(script("add_history"))

    async def add(self, cells: Cells) -> None:
        """Add counts: one script a tenant, all in one round trip."""
        calls = _calls(cells)
        with translated():
            try:
                await self._send(calls)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                await self._client.script_load(self._script.script)
                await self._send(calls)

    async def read(self, tenant: str, step: Step, starts: Sequence[int]) -> list[dict[str, int]]:
        """The counts of some slots, in their order; empty for one without any."""
        found: list[dict[str, int]] = []
        for at in range(0, len(starts), SLOTS_PER_TRIP):
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for start in starts[at : at + SLOTS_PER_TRIP]:
                        pipe.hgetall(history.key(tenant, step, start))
                    read = await pipe.execute()
            found += [{line.decode(): int(count) for line, count in fields.items()} for fields in read]
        return found

    async def _send(self, calls: Sequence[Sequence[Any]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(self._script.sha, *call)
            await pipe.execute()


def _calls(cells: Cells) -> list[list[Any]]:
    """Number of keys, keys and arguments of each tenant's script."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    arguments: defaultdict[str, list[Any]] = defaultdict(list)
    for (tenant, step, start), counts in cells.items():
        keys[tenant].append(history.key(tenant, step, start))
        # The oldest slot that is shown is as old as all of them together; one more is being filled.
        arguments[tenant] += ((step.slots + 1) * step.seconds, len(counts))
        for pair in counts.items():
            arguments[tenant] += pair
    return [[len(named), *named, *arguments[tenant]] for tenant, named in keys.items()]
