"""Vectors by hand, and a store with an index of its own, for the tests of long-term memory."""

from __future__ import annotations

import asyncio
import uuid

import numpy as np
from redis.asyncio import Redis

from proxy.core.memory.records import Memory
from proxy.core.memory.storage import Vector
from proxy.stores.memories import MemoryStore
from proxy.stores.memory_index import MemoryIndex

DIM = 8


def axis(number: int, tilt: float = 0.0) -> bytes:
    """A unit vector along one axis, tilted a little towards the next."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[number % DIM], vector[(number + 1) % DIM] = 1.0, tilt
    return bytes((vector / np.float32(np.linalg.norm(vector))).tobytes())


class Shelf:
    """A store, an index of a made-up embedder, a tenant of its own."""

    def __init__(self, client: Redis, *, dim: int = DIM, fingerprint: str | None = None) -> None:
        self.client = client
        self.store = MemoryStore(client)
        self.fingerprint = fingerprint or f"test-{uuid.uuid4().hex}"
        self.index = MemoryIndex(client, self.store, fingerprint=self.fingerprint, dim=dim)
        self.tenant = uuid.uuid4().hex

    async def open(self) -> Shelf:
        await self.index.ensure()
        async with asyncio.timeout(20):
            while not await self.index.is_complete():  # noqa: ASYNC110 - Redis tells nobody when it is done
                await asyncio.sleep(0.01)
        return self

    async def put(self, memory: Memory, vector: bytes | None = None, *, tenant: str | None = None) -> None:
        placed = None if vector is None else Vector(self.fingerprint, vector)
        put = await self.store.put(tenant or self.tenant, memory, expected=0, vector=placed, now=memory.updated_at)
        assert put.is_written
