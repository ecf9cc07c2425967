"""What long-term memory does off the path of requests: its index is there, vectors that are missing are made, what was found is noted."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from proxy.core.memory.records import Memory
from proxy.core.memory.storage import Vector
from proxy.errors import EmbeddingError, StoreError, where
from proxy.ports import Embedder, Guard
from proxy.services.memory_ports import MemoryIndex, MemoryStore

logger = logging.getLogger("deja.memory")

ROUND_S = 1.0
INDEX_RETRY_S = 0.2
LOOK_EVERY = 60
"""Rounds between looks for memories without a vector that another process left."""
CALLS_S = 5.0
"""For the commands of one step; nobody waits for it."""
TOUCH_AFTER_S = 60.0
"""A memory's `accessed_at` may lag behind by so much: each note of it is indexed anew by Redis, vector and all, 0.4 to 1 ms."""
NOTE_EVERY_S = 0.04
"""Between two such notes, so that they take Redis some 3 % of its time and no search waits for more than one. What waits longer is noted
later, with the right count."""
MAX_WAITING = 20_000
EMBEDDED_AT_ONCE = 32


class MemoryUpkeep:
    """The caretaker of memories.

    Args:
        store: where they are.
        guard: bounds what Redis may cost.
        embedder: makes vectors.
        index: without vectors, until there is an embedder.
        now: unix time in seconds.

    Attributes:
        index: the one to search now.
        is_complete: it knows every memory; False until looked at.
    """

    def __init__(
        self, store: MemoryStore, guard: Guard, embedder: Embedder, index: MemoryIndex, *, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._guard = guard
        self._embedder = embedder
        self._now = now
        self._found: OrderedDict[tuple[str, str], tuple[float, float, int]] = OrderedDict()
        self._wake = asyncio.Event()
        self._rounds_to_look = 0
        self.index = index
        self.is_complete = False

    def use(self, index: MemoryIndex) -> None:
        """The embedder is there, and so its index is known."""
        self.index = index
        self.index_missing()

    def index_missing(self) -> None:
        """A search found no index: look at once."""
        self.is_complete = False
        self._rounds_to_look = 0
        self._wake.set()

    def vector_missing(self) -> None:
        """A memory was stored without a vector."""
        self._rounds_to_look = 0

    def found(self, tenant: str, memories: Sequence[Memory]) -> None:
        """Note that a search returned these; what cannot be kept waiting is forgotten, oldest first."""
        now = self._now()
        for memory in memories:
            at = (tenant, memory.memory_id)
            due, _, times = self._found.get(at, (memory.accessed_at + TOUCH_AFTER_S, now, 0))
            self._found[at] = (due, now, times + 1)
        while len(self._found) > MAX_WAITING:
            self._found.popitem(last=False)

    async def run(self) -> None:
        """Look after things until cancelled."""
        while True:
            self._wake.clear()
            is_well = await self._round()
            try:
                async with asyncio.timeout(ROUND_S if is_well else INDEX_RETRY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        try:
            if not self.is_complete:  # a guard around nothing would learn that Redis answers
                async with self._guard.within(CALLS_S):
                    if await self.index.ensure():
                        logger.info("the index of memories was not there and has been created")
                    self.is_complete = await self.index.is_complete()
            if self.is_complete:
                await self._embed_missing()
            await self._note()
        except StoreError as error:
            logger.debug("upkeep of memories put off: %s", error)
            return False
        except EmbeddingError as error:
            logger.debug("memories wait for their vectors: %s", error)
            self._rounds_to_look = 1
        except Exception as error:  # whatever it is, the next round must still come
            logger.error("upkeep of memories failed with %s", where(error))
            return False
        return self.is_complete

    async def _note(self) -> None:
        now = self._now()
        due = [at for at, (due, _, _) in self._found.items() if due <= now]
        for tenant, memory_id in due[: int(ROUND_S / NOTE_EVERY_S)]:
            if self._wake.is_set():
                return
            noted = self._found.pop((tenant, memory_id), None)
            if noted is None:  # dropped meanwhile, since too many waited
                continue
            _, at, times = noted
            async with self._guard.within(CALLS_S):
                await self._store.touch(tenant, memory_id, at=at, times=times)
            await asyncio.sleep(NOTE_EVERY_S)

    async def _embed_missing(self) -> None:
        if self._rounds_to_look > 0:
            self._rounds_to_look -= 1
            return
        while self.index.has_vectors:
            async with self._guard.within(CALLS_S):
                missing = await self.index.without_vector(EMBEDDED_AT_ONCE)
            embedded = sum(await asyncio.gather(*(self._embed_one(tenant, memory_id) for tenant, memory_id in missing)))
            if not embedded:
                break
            logger.info("%d memories had no vector of this embedder and have one now", embedded)
        self._rounds_to_look = LOOK_EVERY

    async def _embed_one(self, tenant: str, memory_id: str) -> bool:
        async with self._guard.within(CALLS_S):
            (kept,) = await self._store.read(tenant, [memory_id])
        if kept is None:
            return False
        embedding = await self._embedder.embed(kept.memory.text)
        if self._embedder.fingerprint != self.index.fingerprint:
            return False
        async with self._guard.within(CALLS_S):
            return await self._store.set_vector(
                tenant, kept, Vector(self.index.fingerprint, embedding.vector.tobytes())
            )
