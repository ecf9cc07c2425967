"""Replayed responses in Redis, one hash each: `entry_id` (the replay's own id) and `kept` (JSON, sealed where keys are set)."""

from __future__ import annotations

from redis.asyncio import Redis

from proxy.core.follow_ups import replayed_key
from proxy.stores.client import translated
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal


class ReplayedResponses:
    """Implements `proxy.services.follow_ups.Replayed`. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._seal = seal

    async def put(self, room: str, response_id: str, kept: bytes, *, ttl_s: int) -> None:
        """Keep a replay."""
        key, sealed = replayed_key(room), self._seal.seal(kept, entry_id=response_id, field="kept")
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping={"entry_id": response_id, "kept": sealed})
                pipe.expire(key, ttl_s)
                await pipe.execute()

    async def get(self, room: str, response_id: str) -> bytes | None:
        """What is kept of a replay; None if nothing is, or it cannot be opened."""
        with translated():
            found = await self._client.hget(replayed_key(room), "kept")
        return self._seal.open(found, entry_id=response_id, field="kept") if isinstance(found, bytes) else None

    async def delete(self, room: str) -> bool:
        """Forget a replay; whether there was one."""
        with translated():
            return bool(await self._client.unlink(replayed_key(room)))
