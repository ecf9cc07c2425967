"""Each tenant's list of its entries: a sorted set of their Redis keys by the second they expire.

The lists have no TTL: Redis may evict what has one, and entries whose list is gone could not be found to be removed. What has expired
is forgotten when somebody looks, or by `EntryLists.sweep`. An entry that is gone before its time (replaced, evicted, erased) stays on
the list until then and is passed over. Entries stored before there were lists are on none; they serve until they expire.
"""

from __future__ import annotations

from collections.abc import Iterable

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from proxy.core import keys
from proxy.stores.client import translated

SCAN_COUNT = 200
"""Tenants that one step of a sweep looks at."""


def note(pipe: Pipeline, owner: str, redis_keys: Iterable[str], *, expires_at: float) -> None:
    """Put entries on their tenant's list, in a pipeline that stores them.

    The list before the list of lists: a sweep takes a tenant off only when it has seen its list empty, and then looks again.
    """
    pipe.zadd(keys.entries_key(owner), dict.fromkeys(redis_keys, expires_at))
    pipe.sadd(keys.ENTRY_TENANTS, owner)


class EntryLists:
    """The lists of all tenants. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def sweep(self, *, now_s: float) -> int:
        """Forget what has expired, and tenants that have nothing any more; how many of them were looked at."""
        looked_at = 0
        with translated():
            async for member in self._client.sscan_iter(keys.ENTRY_TENANTS, count=SCAN_COUNT):
                looked_at += 1
                at = keys.entries_key(member.decode())
                await self._client.zremrangebyscore(at, "-inf", now_s)
                if await self._client.exists(at):
                    continue
                await self._client.srem(keys.ENTRY_TENANTS, member)
                if await self._client.exists(at):  # stored into meanwhile
                    await self._client.sadd(keys.ENTRY_TENANTS, member)
        return looked_at
