"""Notes that a session asked something a moment ago: one string each, which runs out."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from proxy.stores.client import translated


class AskedStore:
    """Notes in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def note(self, key: str, *, ttl_ms: int) -> bool:
        """Leave a note; whether it was there already. One round trip."""
        with translated():
            before: Any = await self._client.set(key, b"1", px=ttl_ms, get=True)
        return before is not None
