"""Finding memories: by meaning, by words, by both, or by conditions alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.core.memory import limits, ranking, words
from proxy.core.memory.records import FoundMemories, FoundMemory, Search, SearchMode
from proxy.errors import EmbeddingError, IndexMissingError, RequestError, StoreLoadingError
from proxy.ports import Embedder, Guard
from proxy.services.memory_ports import Hit
from proxy.services.memory_upkeep import MemoryUpkeep


class MemorySearch:
    """Searches; see `services.memories.Memories` for the arguments."""

    def __init__(
        self, upkeep: MemoryUpkeep, guard: Guard, embedder: Embedder, *, deadline_s: float, now: Callable[[], float]
    ) -> None:
        self._upkeep = upkeep
        self._guard = guard
        self._embedder = embedder
        self._deadline_s = deadline_s
        self._now = now

    async def search(self, tenant: str, wanted: Search, *, is_use: bool = True) -> FoundMemories:
        """Find a tenant's memories, best first; those that hold now unless `as_of` says when.

        Args:
            tenant: whose.
            wanted: what is looked for.
            is_use: it counts as a use of what is found; False for the background, or nothing would ever be forgotten for want of use.

        Raises:
            RequestError: 400 naming what cannot be searched for; 503 where a text cannot be embedded now.
            StoreLoadingError: the index is still being built, and part of the memories would be missing.
        """
        limits.checked_search(wanted)
        vector = await self._vector(tenant, wanted)
        try:
            async with self._guard.within(self._deadline_s):
                narrowed = await self._upkeep.index.narrowed(
                    tenant, wanted.conditions, as_of=wanted.as_of, now=self._now()
                )
                if narrowed is None:
                    return FoundMemories((), 0, None)
                found = await self._find(tenant, wanted, narrowed, vector)
        except IndexMissingError:
            self._upkeep.index_missing()
            raise
        if is_use:
            self._upkeep.found(tenant, [one.memory for one in found.found])
        return found

    async def _vector(self, tenant: str, wanted: Search) -> bytes | None:
        if not wanted.text.strip() or wanted.mode is SearchMode.KEYWORD:
            return None
        try:
            return (await self._embedder.embed(wanted.text, whose=tenant)).vector.tobytes()
        except EmbeddingError as error:
            raise RequestError(
                f"Nothing can be found by meaning now, since the embedder is not there: {error} A keyword search works.",
                status=503,
                code="embedder_unavailable",
                kind="embedder_error",
            ) from error

    async def _find(self, tenant: str, wanted: Search, narrowed: str, vector: bytes | None) -> FoundMemories:
        if not self._upkeep.is_complete:
            raise StoreLoadingError("The index of memories is still being built; it will serve by itself.")
        index = self._upkeep.index
        if not wanted.text.strip():
            memories, total = await index.newest(tenant, narrowed, offset=wanted.offset, limit=wanted.limit)
            listed = [FoundMemory(memory, 0.0, 1.0) for memory in memories]
            return _page(listed, wanted, total, has_more=wanted.offset + len(listed) < total)
        k = ranking.depth(wanted)
        near, (said, total) = await asyncio.gather(
            self._near(tenant, wanted, narrowed, vector, k), self._said(tenant, wanted, narrowed, k)
        )
        ranked = ranking.ranked(ranking.joined(near, said, wanted), wanted, now=self._now())
        shown = ranked[wanted.offset : wanted.offset + wanted.limit]
        return _page(shown, wanted, max(total, len(ranked)), has_more=len(ranked) > wanted.offset + len(shown))

    async def _near(self, tenant: str, wanted: Search, narrowed: str, vector: bytes | None, k: int) -> list[Hit]:
        if vector is None:
            return []
        found = await self._upkeep.index.nearest(tenant, narrowed, vector, k)
        most = wanted.max_distance
        return found if most is None else [hit for hit in found if hit[1] <= most]

    async def _said(self, tenant: str, wanted: Search, narrowed: str, k: int) -> tuple[list[Hit], int]:
        terms = words.asked(wanted.text) if wanted.mode is not SearchMode.SEMANTIC else ()
        return await self._upkeep.index.by_words(tenant, narrowed, terms, k) if terms else ([], 0)


def _page(found: list[FoundMemory], wanted: Search, total: int, *, has_more: bool) -> FoundMemories:
    following = wanted.offset + len(found)
    return FoundMemories(tuple(found), total, following if has_more and found else None)
