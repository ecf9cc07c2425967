"""How many agents, queues and tasks there are, of all tenants together. Reads only, a few commands a tenant and queue, in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.tasks import TaskState
from proxy.core.overview import FleetTotals
from proxy.stores.client import translated

PAGE = 200
"""Tenants, or queues, of one round trip: some 2,000 counts, 2 ms of Redis' one thread."""

_T = TypeVar("_T")


class FleetTotalsStore:
    """Counts over all tenants. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def read(self, tenants: Sequence[str], *, now_ms: int) -> FleetTotals:
        """Count.

        Args:
            tenants: whose agents are counted; queues are those of all there are.
            now_ms: unix milliseconds.
        """
        with translated():
            beating: list[Any] = await self._client.zrange(keys.AGENT_TENANTS, 0, -1)
            agents, alive = await self._agents(sorted({*tenants, *(name.decode() for name in beating)}), now_ms)
            queues = await self._queues([name.decode() async for name in self._client.sscan_iter(keys.QUEUE_TENANTS)])
            tasks, dead = await self._tasks(queues)
        return FleetTotals(agents, alive, len(queues), tasks, dead)

    async def _agents(self, tenants: Sequence[str], now_ms: int) -> tuple[int, int]:
        agents = alive = 0
        for page in _pages(tenants):
            async with self._client.pipeline(transaction=False) as pipe:
                for tenant in page:
                    pipe.zcard(keys.agents(tenant))
                    pipe.zcount(keys.agents_alive(tenant), f"({now_ms}", "+inf")
                counts: list[int] = await pipe.execute()
            agents, alive = agents + sum(counts[::2]), alive + sum(counts[1::2])
        return agents, alive

    async def _queues(self, tenants: Sequence[str]) -> list[QueueKeys]:
        found: list[QueueKeys] = []
        for page in _pages(tenants):
            async with self._client.pipeline(transaction=False) as pipe:
                for tenant in page:
                    pipe.smembers(keys.queues(tenant))
                named: list[Any] = await pipe.execute()
            found += [
                QueueKeys(tenant, name.decode()) for tenant, names in zip(page, named, strict=True) for name in names
            ]
        return found

    async def _tasks(self, queues: Sequence[QueueKeys]) -> tuple[dict[str, int], int]:
        tasks: Counter[str] = Counter({str(state): 0 for state in TaskState})
        dead = 0
        for page in _pages(queues):
            async with self._client.pipeline(transaction=False) as pipe:
                for queue in page:
                    pipe.xlen(queue.key("dead"))
                    for state in TaskState:
                        pipe.zcard(queue.key(f"state:{state}"))
                counts: list[int] = await pipe.execute()
            width = 1 + len(TaskState)
            dead += sum(counts[::width])
            for at, state in enumerate(TaskState, start=1):
                tasks[str(state)] += sum(counts[at::width])
        return dict(tasks), dead


def _pages(items: Sequence[_T]) -> list[Sequence[_T]]:
    return [items[at : at + PAGE] for at in range(0, len(items), PAGE)]
