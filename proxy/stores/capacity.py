"""The cache's own byte cap, below Redis' maxmemory, so that queues and state always find room.

`keys.EXPIRY` holds each entry's Redis key by the second it expires. What has expired is forgotten; if the rest, at the average size of
a sample, weighs more than the cap, the entries that would expire first are removed. An entry weighs what its hash takes, its place in the
vector index, and the keys that point at it. One that is gone (evicted, replaced, erased) weighs nothing until its second comes.
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
AT_ONCE = 20
"""Of these, sent together: taking a vector out of the graph costs Redis up to 0.7 ms, and look-ups wait meanwhile."""
POINTERS_BYTES = 780
"""An entry's exact key (232), its places in `keys.EXPIRY` (189, measured at 600,000) and in its tenant's list (177, at 100,000), and Redis'
tables for both keys and their TTLs."""
INDEXED_BYTES = 810
"""What the index takes for a vector besides a copy of it: neighbours in the graph and a row of each table (M 16, at 100,000)."""


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
            oldest: Any = await self._client.zrange(EXPIRY, 0, min(excess, ROUND) - 1)
            return sum(
                [await self._remove(oldest[start : start + AT_ONCE]) for start in range(0, len(oldest), AT_ONCE)]
            )

    async def _remove(self, redis_keys: list[bytes]) -> int:
        async with self._client.pipeline(transaction=False) as pipe:
            for key in redis_keys:
                pipe.unlink(key)
            # Forgotten only after they are gone: what is cut short between the two is done again.
            pipe.zrem(EXPIRY, *redis_keys)
            *removed, _ = await pipe.execute()
        return sum(removed)

    async def _mean_bytes(self) -> float:
        sample: Any = await self._client.zrandmember(EXPIRY, SAMPLE)
        if not sample:
            return 0.0
        async with self._client.pipeline(transaction=False) as pipe:
            for key in sample:
                pipe.memory_usage(key, samples=0)  # all fields: one of them holds nearly everything
                pipe.hstrlen(key, "vector")
            read = await pipe.execute()
        return sum(map(_weight, read[::2], read[1::2])) / len(sample)


def _weight(hash_bytes: int | None, vector_bytes: int) -> int:
    """Bytes that an entry takes in all; None for one that is gone."""
    if hash_bytes is None:
        return 0
    return hash_bytes + POINTERS_BYTES + (vector_bytes + INDEXED_BYTES if vector_bytes else 0)
