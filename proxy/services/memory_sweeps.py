"""What runs over many memories of a tenant, step by step: forgetting, and merging those that say the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from proxy.core.memory import forgetting, merging, sameness
from proxy.core.memory.conditions import fulfils
from proxy.core.memory.forgetting import ForgetPolicy, Forgotten
from proxy.core.memory.keys import Kind
from proxy.core.memory.records import Conditions, Memory, MemoryType
from proxy.core.memory.storage import Kept
from proxy.ports import Guard
from proxy.services.memory_judging import SameJudge
from proxy.services.memory_ports import MemoryStore
from proxy.services.memory_upkeep import MemoryUpkeep

PAGE = 100
"""Memories read at a time: some 150 KB."""
DROP_STEP = 25


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        scanned: memories looked at.
        merged: of these, how many said what an older one says, and went into that.
        after: id to go on after where a limit ended the run, None at the end.
    """

    scanned: int
    merged: int
    after: str | None


class MemorySweeps:
    """Walks over memories; see `services.memories.Memories` for the arguments."""

    def __init__(
        self,
        store: MemoryStore,
        upkeep: MemoryUpkeep,
        guard: Guard,
        judge: SameJudge,
        *,
        deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._upkeep = upkeep
        self._guard = guard
        self._judge = judge
        self._deadline_s = deadline_s
        self._now = now

    async def forget(
        self, tenant: str, policy: ForgetPolicy, conditions: Conditions, *, limit: int | None, is_dry_run: bool
    ) -> Forgotten:
        """Forget what a policy lets go of the memories that fulfil the conditions, replaced facts among them.

        Args:
            tenant: whose.
            policy: what goes.
            conditions: among which memories; a budget counts these.
            limit: how many go at most, the least recent first; None for all.
            is_dry_run: only say what would go.
        """
        scanned, meant = 0, list[Memory]()
        async for page in self._pages(tenant, None):
            scanned += len(page)
            meant += [kept.memory for kept in page if fulfils(kept.memory, conditions)]
        ids = forgetting.to_forget(meant, policy, now=self._now())[:limit]
        deleted = 0 if is_dry_run else await self._drop(tenant, ids)
        return Forgotten(scanned, tuple(ids), deleted, is_dry_run)

    async def delete(self, tenant: str, conditions: Conditions) -> int:
        """Remove every memory that fulfils the conditions, pinned and replaced ones too; how many."""
        deleted = 0
        async for page in self._pages(tenant, None):
            meant = [kept.memory.memory_id for kept in page if fulfils(kept.memory, conditions)]
            deleted += await self._drop(tenant, meant)
        return deleted

    async def _drop(self, tenant: str, ids: Sequence[str]) -> int:
        deleted = 0
        for start in range(0, len(ids), DROP_STEP):
            async with self._guard.within(self._deadline_s):
                deleted += await self._store.drop(tenant, dict.fromkeys(ids[start : start + DROP_STEP]))
        return deleted

    async def erase(self, tenant: str, kind: Kind, name: str) -> int:
        """Remove all memories of a user, or a session, pinned and replaced ones among them; how many. May be repeated."""
        async with self._guard.within(self._deadline_s):
            left = await self._store.count_of(tenant, kind, name)
        erased = 0
        if not left:
            return 0
        async for page in self._pages(tenant, None):
            ids = [kept.memory.memory_id for kept in page if getattr(kept.memory, kind.value) == name]
            for start in range(0, len(ids), DROP_STEP):
                async with self._guard.within(self._deadline_s):
                    erased += await self._store.drop(tenant, dict.fromkeys(ids[start : start + DROP_STEP]))
            if erased >= left:
                break
        return erased

    async def compact(self, tenant: str, conditions: Conditions, *, after: str | None, limit: int | None) -> Compacted:
        """Merge each memory into an older one that says the same, if there is one.

        May be stopped at any point and run again: each merge is done or not, and doing it twice changes nothing.

        Args:
            tenant: whose.
            conditions: of the memories that may go into others.
            after: id to begin after, as an earlier run said; None for the begin.
            limit: memories to look at; None for all.
        """
        scanned = merged = 0
        async for page in self._pages(tenant, after):
            chosen = page if limit is None else page[: limit - scanned]
            for kept in chosen:
                scanned += 1
                after = kept.memory.memory_id
                merged += fulfils(kept.memory, conditions) and await self._merge(tenant, kept)
            if limit is not None and scanned >= limit:
                return Compacted(scanned, merged, after)
        return Compacted(scanned, merged, None)

    async def _merge(self, tenant: str, newer: Kept) -> bool:
        memory, index = newer.memory, self._upkeep.index
        if memory.invalid_at is not None or memory.memory_type is MemoryType.MESSAGE or not index.has_vectors:
            return False
        async with self._guard.within(self._deadline_s):
            (vector,) = await self._store.vectors(tenant, [memory.memory_id], index.fingerprint)
            found = [] if vector is None else await index.alike(tenant, memory, vector, sameness.CANDIDATES + 1)
        older = [
            other
            for other, distance in found
            if other.memory_id != memory.memory_id
            and distance <= sameness.MAX_DISTANCE
            and _is_older(other, memory)
            and sameness.may_compare(memory, other)
        ]
        chosen = await self._judge.same(memory.text, [other.text for other in older])
        return chosen is not None and await self._into(tenant, older[chosen].memory_id, newer)

    async def _into(self, tenant: str, older_id: str, newer: Kept) -> bool:
        """Write the merged one first, so that nothing is lost if this stops in between; False where another writer came before."""
        async with self._guard.within(self._deadline_s):
            (older,) = await self._store.read(tenant, [older_id])
            if older is None or older.memory.invalid_at is not None or not _is_older(older.memory, newer.memory):
                return False
            merged = merging.merged(older.memory, newer.memory, now=self._now())
            put = await self._store.put(tenant, merged, expected=older.revision, vector=None, now=self._now())
            if not put.is_written:
                return False
            return await self._store.drop(tenant, {newer.memory.memory_id: newer.revision}) > 0

    async def _pages(self, tenant: str, after: str | None) -> AsyncIterator[Sequence[Kept]]:
        while True:
            async with self._guard.within(self._deadline_s):
                ids = await self._store.ids_after(tenant, after, PAGE)
                page = [kept for kept in await self._store.read(tenant, ids) if kept is not None]
            if not ids:
                return
            yield page
            after = ids[-1]


def _is_older(one: Memory, other: Memory) -> bool:
    return (one.created_at, one.memory_id) < (other.created_at, other.memory_id)
