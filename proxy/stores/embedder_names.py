"""Which embedders there have been on this Redis, who embeds with them now, and where their entries may lie.

Nothing of it is on the way to a hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core.spaces import EMBEDDERS, USERS, KnownEmbedder, homes, known_from_wire, tag_of_index
from proxy.stores.client import translated

USED_S = 30.0
"""A process that has not said for so long that it embeds is taken for dead; one that ends in order says so."""


class EmbedderNames:
    """Embedders by name. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def use(self, embedder: KnownEmbedder, *, process: str, now_s: float) -> None:
        """Say that a process embeds with this one. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hset(EMBEDDERS, embedder.tag, embedder.to_wire())
                pipe.zadd(USERS, {_user(embedder.tag, process): now_s})
                pipe.zremrangebyscore(USERS, "-inf", now_s - USED_S)
                await pipe.execute()

    async def leave(self, embedder: KnownEmbedder, *, process: str) -> None:
        """A process embeds no more."""
        with translated():
            await self._client.zrem(USERS, _user(embedder.tag, process))

    async def known(self) -> list[KnownEmbedder]:
        """All there have been."""
        with translated():
            found: Any = await self._client.hvals(EMBEDDERS)
        return [known_from_wire(raw) for raw in found]

    async def in_use(self, *, now_s: float) -> frozenset[str]:
        """Tags of those that a process embeds with now."""
        with translated():
            found: Any = await self._client.zrangebyscore(USERS, now_s - USED_S, "+inf")
        return frozenset(member.decode().partition(" ")[0] for member in found)

    async def indexed(self) -> frozenset[str]:
        """Tags of those whose entries are in an index."""
        with translated():
            names = await self._client.execute_command("FT._LIST")  # type: ignore[no-untyped-call]
        return frozenset(tag for name in names if (tag := tag_of_index(name.decode())) is not None)

    async def homes(self, redis_keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Where each of some entries may lie by now, the key given first. One round trip."""
        with translated():
            tags: Any = await self._client.hkeys(EMBEDDERS)
        known = [tag.decode() for tag in tags]
        return [homes(redis_key, known) for redis_key in redis_keys]


def _user(tag: str, process: str) -> str:
    return f"{tag} {process}"
