"""Long-term memory: storing without saying a thing twice, changing, removing. REST, MCP and the proxy all call this one service.

Finding is `services.memory_search`, what runs over many memories `services.memory_sweeps`; `Memories` has their methods too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from embeddings.base import Embedding
from proxy.core.memory import keys, limits, merging, replacing, sameness
from proxy.core.memory.forgetting import ForgetPolicy, Forgotten
from proxy.core.memory.records import Conditions, FoundMemories, Memory, Search, Stored, StoredMemory
from proxy.core.memory.storage import Kept, Vector
from proxy.errors import EmbeddingError, IndexMissingError, RequestError, StoreError
from proxy.ports import Embedder, Guard, Keeping
from proxy.services.memory_judging import SameJudge
from proxy.services.memory_ports import Hit, MemoryStore
from proxy.services.memory_search import MemorySearch
from proxy.services.memory_sweeps import Compacted, MemorySweeps
from proxy.services.memory_upkeep import MemoryUpkeep

logger = logging.getLogger("deja.memory")

ATTEMPTS = 40
"""At a write that others keep coming before: each that fails means that another one succeeded."""
STEP_ASIDE_S = 0.004
"""Waited at most before each further attempt, times the attempts so far: writers that collided should not meet again."""
EMBEDDED_AT_ONCE = 32
"""Texts that wait for the model together: some 100 ms, so that requests beside a large batch get their turn."""
DROP_STEP = 25
"""Memories that one step removes; taking one out of the vector graph costs Redis up to 0.7 ms."""
EDITABLE = frozenset({
    "text", "memory_type", "user", "session", "namespace", "topics", "entities", "event_at", "is_pinned",
})  # fmt: skip


class Memories:
    """The memories of all tenants. Every method may raise StoreError: Redis gave no answer, or is full; nothing acknowledged is lost.

    Args:
        store: where they lie.
        upkeep: knows the index, and looks after it.
        guard: bounds what Redis may cost.
        embedder: makes vectors.
        judge: says whether two say the same.
        kept: waits until what is acknowledged is kept.
        deadline_s: for each group of Redis commands.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: MemoryStore,
        upkeep: MemoryUpkeep,
        guard: Guard,
        embedder: Embedder,
        judge: SameJudge,
        kept: Keeping,
        *,
        deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._kept = kept
        self._store = store
        self._upkeep = upkeep
        self._guard = guard
        self._embedder = embedder
        self._judge = judge
        self._deadline_s = deadline_s
        self._now = now
        self._search = MemorySearch(upkeep, guard, embedder, deadline_s=deadline_s, now=now)
        self._sweeps = MemorySweeps(store, upkeep, guard, judge, deadline_s=deadline_s, now=now)

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def store(
        self, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = True, ends_older: bool = False
    ) -> list[StoredMemory]:
        """Store memories; what became of each, in order.

        An id that is there is overwritten. Else, deduplicated: a memory that says the same is kept in place of this one and takes its
        labels and times. A fact named in `replaces` stops to hold, and stays. Storing the same again changes nothing that matters, so a
        call that failed half-way is simply made again. Without an embedder a memory is stored all the same, and gets its vector later.

        Args:
            tenant: whose.
            memories: in the order in which they are to be stored.
            is_deduplicated: look for memories that say the same.
            ends_older: let a plain statement of an attribute that has one value at a time ("User lives in Rome") end an older one of
                another value: for what is drawn from a conversation, where nobody says what replaces what.

        Raises:
            RequestError: 400, 413 naming the field; 404 where `replaces` names a memory that is not there. Those before it are stored.
        """
        if len(memories) > limits.MAX_BATCH:
            raise RequestError(
                f"{len(memories)} memories in one call; send {limits.MAX_BATCH} at most.",
                status=413,
                code="too_many_memories",
            )
        given = [limits.checked(memory) for memory in memories]
        embeddings = await self._embed(tenant, [memory.text for memory in given])
        async with self._kept.keeping():
            return [
                await self._store_one(tenant, memory, embedding, is_deduplicated, ends_older)
                for memory, embedding in zip(given, embeddings, strict=True)
            ]

    async def _store_one(
        self, tenant: str, memory: Memory, embedding: Embedding | None, is_deduplicated: bool, ends_older: bool
    ) -> StoredMemory:
        digest = keys.text_digest(memory)
        for attempt in range(ATTEMPTS):
            await _step_aside(attempt)
            async with self._guard.within(self._deadline_s):
                (there,) = await self._store.read(tenant, [memory.memory_id])
                says = await self._store.says(tenant, digest) if there is None and is_deduplicated else None
            if there is not None:
                outcome = await self._overwrite(tenant, there, memory, embedding)
            elif (
                says is not None and memory.replaces is None and (twin := await self._holding(tenant, says)) is not None
            ):
                outcome = await self._merge(tenant, twin, memory)
            else:
                outcome = await self._add(
                    tenant, memory, embedding, is_deduplicated, is_exclusive=says is None, ends_older=ends_older
                )
            if outcome is not None:
                return outcome
        raise StoreError("A memory is being changed by too many writers at once; send it again.")

    async def _add(
        self,
        tenant: str,
        memory: Memory,
        embedding: Embedding | None,
        is_deduplicated: bool,
        *,
        is_exclusive: bool,
        ends_older: bool,
    ) -> StoredMemory | None:
        """Store one whose id is new; None where someone else was faster."""
        older: Memory | None = None
        if is_deduplicated and memory.replaces is None:
            alike = await self._alike(tenant, memory, embedding)
            near = [other for other, distance in alike if distance <= sameness.MAX_DISTANCE]
            index = await self._judge.same(memory.text, [other.text for other in near])
            if index is not None:
                twin = await self._holding(tenant, near[index].memory_id)
                return None if twin is None else await self._merge(tenant, twin, memory)
            if ends_older:
                older = next((other for other, _ in alike if replacing.takes_place_of(memory, other)), None)
        if older is not None:
            memory = replace(memory, replaces=older.memory_id)
        return await self._write(
            tenant,
            memory,
            0,
            embedding,
            Stored.CREATED,
            is_exclusive=is_deduplicated and is_exclusive and older is None,
        )

    async def _overwrite(
        self, tenant: str, there: Kept, memory: Memory, embedding: Embedding | None
    ) -> StoredMemory | None:
        updated = merging.overwritten(there.memory, memory, now=self._now())
        has_said = there.memory.replaces == updated.replaces
        return await self._write(tenant, updated, there.revision, embedding, Stored.UPDATED, is_replacing=not has_said)

    async def _write(
        self,
        tenant: str,
        memory: Memory,
        expected: int,
        embedding: Embedding | None,
        what: Stored,
        *,
        is_exclusive: bool = False,
        is_replacing: bool = True,
    ) -> StoredMemory | None:
        """Write one, and end the fact it replaces; None where someone else was faster."""
        replaced: tuple[str, float] | None = None
        async with self._guard.within(self._deadline_s):
            if memory.replaces is not None and is_replacing:
                (older,) = await self._store.read(tenant, [memory.replaces])
                if older is None:
                    raise _no_such(memory.replaces)
                if older.memory.invalid_at is None:
                    replaced = (memory.replaces, merging.invalid_from(older.memory, memory))
            put = await self._store.put(
                tenant,
                memory,
                expected=expected,
                vector=self._vector(embedding),
                is_exclusive=is_exclusive,
                replaced=replaced,
                now=self._now(),
            )
        if not put.is_written:
            return None
        if embedding is None:
            self._upkeep.vector_missing()
        return StoredMemory(memory, what) if replaced is None else StoredMemory(memory, Stored.REPLACED, replaced[0])

    async def _merge(self, tenant: str, twin: Kept, memory: Memory) -> StoredMemory | None:
        """Let a memory that is there take what another has; None where someone else was faster."""
        kept = merging.merged(twin.memory, memory, now=self._now())
        async with self._guard.within(self._deadline_s):
            put = await self._store.put(tenant, kept, expected=twin.revision, vector=None, now=self._now())
        return StoredMemory(kept, Stored.MERGED, kept.memory_id) if put.is_written else None

    async def _holding(self, tenant: str, memory_id: str) -> Kept | None:
        async with self._guard.within(self._deadline_s):
            (kept,) = await self._store.read(tenant, [memory_id])
        return kept if kept is not None and kept.memory.invalid_at is None else None

    async def _alike(self, tenant: str, memory: Memory, embedding: Embedding | None) -> list[Hit]:
        """The memories that may say the same or the contrary, with distances, nearest first; none where that cannot be told."""
        # Of a text that was not read whole the rest may differ: it is never merged by meaning.
        if embedding is None or embedding.is_truncated or not self._upkeep.index.has_vectors:
            return []
        try:
            async with self._guard.within(self._deadline_s):
                found = await self._upkeep.index.alike(tenant, memory, embedding.vector.tobytes(), sameness.CANDIDATES)
        except IndexMissingError:  # stored all the same; a compaction finds what was missed
            self._upkeep.index_missing()
            return []
        return [
            (other, distance)
            for other, distance in found
            if other.memory_id != memory.memory_id and sameness.may_compare(memory, other)
        ]

    async def _embed(self, tenant: str, texts: Sequence[str]) -> list[Embedding | None]:
        found: list[Embedding | None] = []
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            group = texts[start : start + EMBEDDED_AT_ONCE]
            found += await asyncio.gather(*(self._embed_one(tenant, text) for text in group))
        return found

    async def _embed_one(self, tenant: str, text: str) -> Embedding | None:
        try:
            return await self._embedder.embed(text, whose=tenant)
        except EmbeddingError as error:
            logger.debug("a memory is stored without its vector: %s", error)
            return None

    def _vector(self, embedding: Embedding | None) -> Vector | None:
        return None if embedding is None else Vector(self._embedder.fingerprint, embedding.vector.tobytes())

    # --- one by one ------------------------------------------------------------------------------------------------------------

    async def get(self, tenant: str, memory_id: str) -> Memory | None:
        """A tenant's memory, be it replaced or not; None if there is none of this id."""
        async with self._guard.within(self._deadline_s):
            (kept,) = await self._store.read(tenant, [memory_id])
        return None if kept is None else kept.memory

    async def edit(self, tenant: str, memory_id: str, changes: Mapping[str, Any]) -> Memory | None:
        """Change some of a memory's fields; as it is now, None if there is none of this id.

        Args:
            tenant: whose.
            memory_id: which.
            changes: names of `Memory`'s fields, those in `EDITABLE`, with their new values.

        Raises:
            RequestError: 400 naming the field that cannot be changed, or not to this.
        """
        if wrong := sorted(set(changes) - EDITABLE):
            raise RequestError(
                f"`{wrong[0]}` of a memory cannot be changed; these can: {', '.join(sorted(EDITABLE))}.",
                param=wrong[0],
                code="invalid_memory",
            )
        for attempt in range(ATTEMPTS):
            await _step_aside(attempt)
            async with self._guard.within(self._deadline_s):
                (there,) = await self._store.read(tenant, [memory_id])
            if there is None:
                return None
            changed = limits.checked(replace(there.memory, **changes, updated_at=self._now()))
            embedding = (await self._embed(tenant, [changed.text]))[0] if changed.text != there.memory.text else None
            async with self._kept.keeping(), self._guard.within(self._deadline_s):
                put = await self._store.put(
                    tenant, changed, expected=there.revision, vector=self._vector(embedding), now=self._now()
                )
            if put.is_written:
                return changed
        raise StoreError("A memory is being changed by too many writers at once; send the change again.")

    async def delete(self, tenant: str, memory_ids: Sequence[str]) -> int:
        """Remove a tenant's memories for good; how many of them were there."""
        ids, dropped = list(dict.fromkeys(memory_ids)), 0
        async with self._kept.keeping():
            for start in range(0, len(ids), DROP_STEP):
                async with self._guard.within(self._deadline_s):
                    dropped += await self._store.drop(tenant, dict.fromkeys(ids[start : start + DROP_STEP]))
        return dropped

    async def delete_matching(self, tenant: str, conditions: Conditions) -> int:
        """Remove a tenant's memories that fulfil the conditions for good, pinned and replaced ones too; how many."""
        return await self._sweeps.delete(tenant, conditions)

    # --- many ------------------------------------------------------------------------------------------------------------------

    async def search(self, tenant: str, wanted: Search, *, is_use: bool = True) -> FoundMemories:
        """Find a tenant's memories; see `MemorySearch.search`."""
        return await self._search.search(tenant, wanted, is_use=is_use)

    async def forget(
        self,
        tenant: str,
        policy: ForgetPolicy,
        conditions: Conditions | None = None,
        *,
        limit: int | None = None,
        is_dry_run: bool = False,
    ) -> Forgotten:
        """Forget what a policy lets go; see `MemorySweeps.forget`."""
        return await self._sweeps.forget(tenant, policy, conditions or Conditions(), limit=limit, is_dry_run=is_dry_run)

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove all memories of a session for good, pinned ones too; how many."""
        return await self._sweeps.erase(tenant, keys.Kind.SESSION, session)

    async def erase_user(self, tenant: str, user: str) -> int:
        """Remove all memories of a user for good, pinned ones too; how many."""
        return await self._sweeps.erase(tenant, keys.Kind.USER, user)

    async def compact(
        self, tenant: str, conditions: Conditions | None = None, *, after: str | None = None, limit: int | None = None
    ) -> Compacted:
        """Merge memories that say the same; see `MemorySweeps.compact`."""
        return await self._sweeps.compact(tenant, conditions or Conditions(), after=after, limit=limit)


async def _step_aside(attempt: int) -> None:
    if attempt:
        await asyncio.sleep(STEP_ASIDE_S * min(attempt, 10) * secrets.randbelow(1000) / 1000)


def _no_such(memory_id: str) -> RequestError:
    return RequestError(
        f"There is no memory {memory_id!r} to be replaced; leave `replaces` out, or name one that is there.",
        status=404,
        param="replaces",
        code="memory_not_found",
    )
