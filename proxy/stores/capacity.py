"""The cache below its own byte cap, and Redis below its maxmemory, so that queues and state find room: what is worth least goes first.

`keys.EXPIRY` holds each entry's Redis key by the second it expires, `keys.EARNED` what those that were hit have earned (`core.worth`).
What has expired is forgotten. If the rest, at the average size of a sample, weighs more than the cap, or Redis comes near its maxmemory,
some entries are looked at for each one that has to go, and those worth least are removed. An exact order of all would have to be written
with every entry; the least of five is nearly as good (Redis' own LFU does the same; decision 0026 compares).

An entry weighs what its hash takes, its place in the vector index, and the keys that point at it; with it go its exact keys and the context
it opened. One that is gone by itself (evicted, replaced, erased) weighs nothing until its second comes, or until it is looked at.
Several processes trim by themselves: where all see the same excess at once, more goes than must, by a round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.keys import EARNED, EXPIRY
from proxy.core.worth import COST_FIELDS, Stored, Trimmed, Why, name_of, stored, worth
from proxy.stores.client import translated
from proxy.stores.responses import script

SAMPLE = 200
"""Entries weighed per round, some 2 ms of Redis: their mean is within some 10 % of the truth, and the cap is no precise thing."""
ROUND = 500
"""Entries removed at most per round; the next round comes soon."""
LOOKS = 5
"""Entries looked at for each that goes, as Redis' `maxmemory-samples`; and at least `LOOKED_AT`."""
LOOKED_AT = 50
READ_AT_ONCE = 100
"""Entries read by one round trip: some 2 ms of Redis."""
AT_ONCE = 20
"""Entries removed together: taking a vector out of the graph costs Redis up to 0.7 ms, and look-ups wait meanwhile."""
POINTERS_BYTES = 780
"""An entry's exact key (232), its places in `keys.EXPIRY` (189, measured at 600,000) and in its tenant's list (177, at 100,000), and Redis'
tables for both keys and their TTLs."""
INDEXED_BYTES = 810
"""What the index takes for a vector besides a copy of it: neighbours in the graph and a row of each table (M 16, at 100,000)."""
MEMORY_SHARE = 0.88
"""Of maxmemory, below what the doctor calls nearly full: further on Redis may have to evict before the next round, and sessions, too."""
FILLING_S = 30.0
"""Redis would be full within so many seconds, as fast as it grows: rounds come sooner then. Six of the usual ones."""
FORGOTTEN_AT_ONCE = 2000
"""Expired entries that are forgotten by one round trip."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An entry that was looked at; one that is gone weighs nothing, and is worth least."""

    redis_key: str
    size_bytes: int
    worth: float


class Earnings:
    """What entries have earned. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._earn = client.register_script(script("earn"))

    async def add(self, earned: Mapping[str, float]) -> None:
        """Add earnings by name of the entry, as `core.worth.earned` counts them. One round trip."""
        with translated():
            await self._earn(keys=[EARNED], args=[part for pair in earned.items() for part in pair])


class Capacity:
    """Keeps the cache below its cap. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        max_bytes: the cap.
        cost_of: what a call that an entry answers costs in pico-USD, by what is known of it and its size in bytes.
    """

    def __init__(self, client: Redis, *, max_bytes: int, cost_of: Callable[[Stored, int], int]) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._cost_of = cost_of
        self._evict = client.register_script(script("evict"))
        self._seen_at = 0.0  # when Redis' memory was last looked at
        self._left_bytes = 0.0  # what was used after that round

    async def trim(self, *, now_s: float) -> Trimmed:
        """Remove what is too much."""
        with translated():
            await self._forget_expired(now_s)
            count = int(await self._client.zcard(EXPIRY))
            await self._bound_earnings(count)
            mean_bytes = await self._mean_bytes()
            used_bytes, maxmemory = await self._memory()
            is_filling = self._is_filling(used_bytes, maxmemory, now_s)
            excess_bytes, why = self._excess(count * mean_bytes, used_bytes, maxmemory)
            worst = await self._worst(excess_bytes, mean_bytes) if excess_bytes > 0 else []
            parts = (worst[start : start + AT_ONCE] for start in range(0, len(worst), AT_ONCE))
            removed = sum([await self._remove([one.redis_key for one in part]) for part in parts])
        freed_bytes = sum(one.size_bytes for one in worst)
        self._seen_at, self._left_bytes = now_s, used_bytes - freed_bytes
        return Trimmed(removed, why, is_behind=is_filling or 0 < freed_bytes < excess_bytes)

    async def _forget_expired(self, now_s: float) -> None:
        while True:
            gone: Any = await self._client.zrange(EXPIRY, "-inf", now_s, byscore=True, offset=0, num=FORGOTTEN_AT_ONCE)
            await self._forget([key.decode() for key in gone])
            if len(gone) < FORGOTTEN_AT_ONCE:
                return

    async def _forget(self, redis_keys: Sequence[str]) -> None:
        if not redis_keys:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.zrem(EARNED, *map(name_of, redis_keys))
            pipe.zrem(EXPIRY, *redis_keys)
            await pipe.execute()

    async def _bound_earnings(self, count: int) -> None:
        """Of entries that were erased, or hit while they were removed, earnings are left over: they sink, and so go first."""
        surplus = int(await self._client.zcard(EARNED)) - count
        if surplus > 0:
            await self._client.zremrangebyrank(EARNED, 0, surplus - 1)

    async def _memory(self) -> tuple[int, int]:
        """Bytes that Redis uses, as it counts when it evicts (not what it holds for replicas and its file), and may use; 0: no limit."""
        memory: Any = await self._client.info("memory")
        return memory["used_memory"] - memory.get("mem_not_counted_for_evict", 0), memory.get("maxmemory", 0)

    def _is_filling(self, used_bytes: int, maxmemory: int, now_s: float) -> bool:
        """Whether Redis would soon be full if it went on as since the last round."""
        grown_bytes, passed_s = used_bytes - self._left_bytes, now_s - self._seen_at
        if not (maxmemory and self._seen_at and grown_bytes > 0 and passed_s > 0):
            return False
        return (maxmemory - used_bytes) / (grown_bytes / passed_s) < FILLING_S

    def _excess(self, weight_bytes: float, used_bytes: int, maxmemory: int) -> tuple[float, Why]:
        """How many bytes of entries have to go, and why."""
        over_cap = weight_bytes - self._max_bytes
        over_memory = min(weight_bytes, used_bytes - MEMORY_SHARE * maxmemory) if maxmemory else 0.0
        return (over_memory, Why.MEMORY) if over_memory > max(over_cap, 0) else (over_cap, Why.CAP)

    async def _worst(self, excess_bytes: float, mean_bytes: float) -> list[_Candidate]:
        """Look at some entries; the least worth of them that weigh so much together."""
        wanted = min(ROUND, math.ceil(excess_bytes / mean_bytes))
        found = await self._look_at(await self._random(max(LOOKED_AT, wanted * LOOKS)))
        found.sort(key=lambda one: one.worth)
        worst: list[_Candidate] = []
        freed_bytes = 0
        for one in found:
            if freed_bytes >= excess_bytes or len(worst) == ROUND:
                break
            worst.append(one)
            freed_bytes += one.size_bytes
        return worst

    async def _remove(self, redis_keys: Sequence[str]) -> int:
        await self._client.script_load(self._evict.script)
        async with self._client.pipeline(transaction=False) as pipe:
            for redis_key in redis_keys:
                room = keys.room_of(redis_key)
                pipe.evalsha(self._evict.sha, 1, redis_key, keys.exact_key(room, ""), keys.context_key(room, ""))
            removed: Any = await pipe.execute()
        # Forgotten only after they are gone: what is cut short between the two is done again.
        await self._forget(redis_keys)
        return sum(removed)

    async def _random(self, count: int) -> list[str]:
        found: Any = await self._client.zrandmember(EXPIRY, count)
        return [key.decode() for key in found or ()]

    async def _look_at(self, redis_keys: Sequence[str]) -> list[_Candidate]:
        found: list[_Candidate] = []
        for start in range(0, len(redis_keys), READ_AT_ONCE):
            batch = redis_keys[start : start + READ_AT_ONCE]
            sizes = await self._sizes(batch)
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zmscore(EARNED, [name_of(key) for key in batch])
                for key in batch:
                    pipe.hmget(key, COST_FIELDS)
                hits, *read = await pipe.execute()
            found += map(self._candidate, batch, sizes, hits, read)
        return found

    def _candidate(
        self, redis_key: str, size_bytes: int, hits: float | None, fields: Sequence[bytes | None]
    ) -> _Candidate:
        entry = stored(dict(zip(COST_FIELDS, fields, strict=True)))
        if entry is None:
            return _Candidate(redis_key, 0, -math.inf)
        cost = self._cost_of(entry, size_bytes)
        return _Candidate(
            redis_key, size_bytes, worth(cost, created_at=entry.created_at, hits=hits, size_bytes=size_bytes)
        )

    async def _mean_bytes(self) -> float:
        sizes = await self._sizes(await self._random(SAMPLE))
        return sum(sizes) / len(sizes) if sizes else 0.0

    async def _sizes(self, redis_keys: Sequence[str]) -> list[int]:
        """Bytes that entries take in all."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in redis_keys:
                pipe.memory_usage(key, samples=0)  # all fields: one of them holds nearly everything
                pipe.hstrlen(key, "vector")
            read: Any = await pipe.execute()
        return list(map(_weight, redis_keys, read[::2], read[1::2]))


def _weight(redis_key: str, hash_bytes: int | None, vector_bytes: int) -> int:
    """Bytes that an entry takes in all; None for one that is gone."""
    if hash_bytes is None:
        return 0
    is_indexed = vector_bytes and redis_key.startswith(keys.ENTRY)  # vectors that callers asked for are in no index
    return hash_bytes + POINTERS_BYTES + (vector_bytes + INDEXED_BYTES if is_indexed else 0)
