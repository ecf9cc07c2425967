"""The cache's own byte cap, below Redis' maxmemory, so that queues and state always find room.

`keys.EXPIRY` holds each entry's Redis key by the second it expires. What has expired is forgotten; if the rest, at the average size of
a sample, weighs more than the cap, the entries that would expire first are removed.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from proxy.core.keys import EXPIRY
from proxy.stores.client import translated

SAMPLE = 20
"""Entries weighed per round: the mean of 20 answers is within some 30 % of the truth, and the cap is no precise thing."""
ROUND = 500
"""Entries removed at most per round; the next round comes seconds later."""


class Capacity:
    """Keeps the cache below its cap. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, *, max_bytes: int) -> None:
        self._client = client
        self._max_bytes = max_bytes

    async def trim(self, *, now_s: float) -> int:
        """Remove what is too much; returns how many entries went."""
        with translated():
            await self._client.zremrangebyscore(EXPIRY, "-inf", now_s)
            count = int(await self._client.zcard(EXPIRY))
            mean_bytes = await self._mean_bytes()
            excess = count - int(self._max_bytes / mean_bytes) if mean_bytes else 0
            if excess <= 0:
                return 0
            oldest: Any = await self._client.zpopmin(EXPIRY, min(excess, ROUND))
            async with self._client.pipeline(transaction=False) as pipe:
                for key, _ in oldest:
                    pipe.unlink(key)
                await pipe.execute()
            return len(oldest)

    async def _mean_bytes(self) -> float:
        sample: Any = await self._client.zrandmember(EXPIRY, SAMPLE)
        if not sample:
            return 0.0
        async with self._client.pipeline(transaction=False) as pipe:
            for key in sample:
                pipe.memory_usage(key, samples=0)  # all fields: one of them holds nearly everything
            sizes = [size for size in await pipe.execute() if size]
        return sum(sizes) / len(sizes) if sizes else 0.0
