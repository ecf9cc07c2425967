"""Long-term memory with the real models on a real Redis, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from redis.asyncio import Redis

from embeddings.base import Embedder
from embeddings.batching import BatchingEmbedder, BatchingVerifier
from proxy.services.background import Background
from proxy.services.embedding import NO_FINGERPRINT, BoundedEmbedder
from proxy.services.memories import Memories
from proxy.services.memory_judging import SameJudge
from proxy.services.memory_upkeep import MemoryUpkeep
from proxy.stores.breaker import Guard
from proxy.stores.memories import MemoryStore
from proxy.stores.memory_index import MemoryIndex
from tests.keeping import KeptAtOnce
from tests.proxy.core.memory.builders import NOW


@dataclass
class Clock:
    """The time, which stands still until a test moves it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """The parts of one process.

    Attributes:
        memories: the service.
        upkeep: its caretaker, running.
        embedder: empty until `use`.
    """

    client: Redis
    memories: Memories
    upkeep: MemoryUpkeep
    store: MemoryStore
    embedder: BoundedEmbedder
    judge: SameJudge
    clock: Clock = field(default_factory=Clock)

    def use(self, model: Embedder, verifier: BatchingVerifier) -> None:
        """The models are there."""
        self.embedder.use(BatchingEmbedder(model))
        self.judge.use(verifier)
        self.upkeep.use(MemoryIndex(self.client, self.store, fingerprint=model.fingerprint, dim=model.dim))

    async def ready(self) -> None:
        """Wait until the index is there."""
        async with asyncio.timeout(20):
            while not self.upkeep.is_complete:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def rigged(client: Redis, *, deadline_s: float = 5.0) -> AsyncIterator[Rig]:
    """The service without models, until `use`."""
    clock, guard, store = Clock(), Guard(client.ping), MemoryStore(client)
    embedder = BoundedEmbedder(deadline_s=5, is_alone=lambda: True)
    bare = MemoryIndex(client, store, fingerprint=NO_FINGERPRINT, dim=0)
    upkeep = MemoryUpkeep(store, guard, embedder, bare, now=clock)
    judge = SameJudge(deadline_s=5)
    memories = Memories(store, upkeep, guard, embedder, judge, KeptAtOnce(), deadline_s=deadline_s, now=clock)
    background = Background()  # as the proxy runs it: one cancellation may be swallowed
    background.spawn(upkeep.run(), name="memory-upkeep")
    try:
        yield Rig(client, memories, upkeep, store, embedder, judge, clock)
    finally:
        await background.aclose()
        await embedder.aclose()
        await guard.aclose()
