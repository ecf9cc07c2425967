"""Finding memories: by meaning, by words, by both, or by conditions alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from proxy.core.memory import limits, ranking, words
from proxy.core.memory.ranking import Ranked
from proxy.core.memory.records import FoundMemories, FoundMemory, Search, SearchMode
from proxy.errors import EmbeddingError, IndexMissingError, RequestError, StoreLoadingError
from proxy.ports import Embedder, Guard
from proxy.services.memory_upkeep import MemoryUpkeep

Empty = TypeVar("Empty")


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
        look = self._look_deep if ranking.is_deep(wanted) else self._look
        found, has_more, total = await look(tenant, wanted, narrowed, vector)
        return _page(found, wanted, total, has_more=has_more)

    async def _look(
        self, tenant: str, wanted: Search, narrowed: str, vector: bytes | None
    ) -> tuple[list[FoundMemory], bool, int]:
        """Find by meaning or by words: hardly more than is shown."""
        index, k, terms = self._upkeep.index, ranking.depth(wanted), _terms(wanted)
        near = [] if vector is None else await index.nearest(tenant, narrowed, vector, k)
        said, total = await index.by_words(tenant, narrowed, terms, k) if terms else ([], 0)
        ranked = ranking.ranked(ranking.joined(_within(near, wanted), said, wanted), wanted, now=self._now())
        shown, has_more = _shown(ranked, wanted)
        return [FoundMemory(*one) for one in shown], has_more, max(total, len(ranked))

    async def _look_deep(
        self, tenant: str, wanted: Search, narrowed: str, vector: bytes | None
    ) -> tuple[list[FoundMemory], bool, int]:
        """Rank many, and read those that are shown."""
        index, k, terms = self._upkeep.index, ranking.depth(wanted), _terms(wanted)
        near, (said, total) = await asyncio.gather(
            _nothing([]) if vector is None else index.seats_near(tenant, narrowed, vector, k),
            index.seats_said(tenant, narrowed, terms, k) if terms else _nothing(([], 0)),
        )
        ranked = ranking.ranked(ranking.joined(_within(near, wanted), said, wanted), wanted, now=self._now())
        shown, has_more = _shown(ranked, wanted)
        memories = await index.read(tenant, [seat.memory_id for seat, _, _ in shown]) if shown else []
        found = [
            FoundMemory(memory, distance, score)
            for memory, (_, distance, score) in zip(memories, shown, strict=True)
            if memory is not None  # gone since it was ranked
        ]
        return found, has_more, max(total, len(ranked))


def _terms(wanted: Search) -> Sequence[str]:
    return words.asked(wanted.text) if wanted.mode is not SearchMode.SEMANTIC else ()


def _within(near: list[tuple[Ranked, float]], wanted: Search) -> list[tuple[Ranked, float]]:
    most = wanted.max_distance
    return near if most is None else [hit for hit in near if hit[1] <= most]


def _shown(ranked: list[tuple[Ranked, float, float]], wanted: Search) -> tuple[list[tuple[Ranked, float, float]], bool]:
    end = wanted.offset + wanted.limit
    return ranked[wanted.offset : end], len(ranked) > end


async def _nothing(empty: Empty) -> Empty:
    return empty


def _page(found: list[FoundMemory], wanted: Search, total: int, *, has_more: bool) -> FoundMemories:
    following = wanted.offset + len(found)
    return FoundMemories(tuple(found), total, following if has_more and found else None)
