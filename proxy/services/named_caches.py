"""Named caches: an application stores and looks up by itself, and Deja decides what serves, as for a completion.

The same routing, the same embedder and index, the same judge. What is the application's own is where the answer comes from, so nothing
goes upstream here: a miss, or a cache that cannot be asked, is no match and a named reason.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from embeddings.base import Embedding
from proxy.core import keys, named_caches, routing
from proxy.core.decision import Judged, Scope
from proxy.core.models import Candidate, Entry, Forwarded, HitKind, Reason, WireMode
from proxy.core.named_caches import Content, Match, Search
from proxy.core.outcome import Outcome
from proxy.errors import EmbeddingError, IndexMissingError, StoreError, StoreFullError, StoreLoadingError, where
from proxy.ports import Embedder, Guard, Judge, VectorIndex
from proxy.services import ids
from proxy.services.background import Background
from proxy.services.keeper import why_unreadable

logger = logging.getLogger("deja.caches")

DROP_STEP = 25
"""Entries that one step of a deletion removes. Taking one out of the vector graph costs Redis up to 0.7 ms (10,000 entries, a busy
machine), and it serves others only between the steps."""

FREE_WAIT_S = 1.0
"""How long a flush waits for the room to be freed, so that a small cache is gone from memory too when it returns; LangCache's SDK gives
up after 5 s."""


class Store(Protocol):
    """Where the entries lie. Methods raise `StoreError` and its branches only."""

    async def flushes(self, flushes_key: str) -> int:
        """How often a cache was flushed."""

    async def flush(self, flushes_key: str) -> int:
        """Count one more flush; how often it was flushed before."""

    async def put(
        self,
        entry: Entry,
        *,
        room: str,
        redis_key: str,
        tags: str,
        vector: bytes | None,
        prints: Sequence[str],
        ttl_ms: int,
    ) -> None:
        """Store an entry with its exact keys, atomically."""

    async def find(self, room: str, prints: Sequence[str]) -> tuple[int, Entry] | None:
        """The first entry that one of some fingerprints leads to, and which one did."""

    async def fetch(self, redis_key: str) -> Entry | None:
        """Read an entry by its key; None if it is gone."""

    async def locate(self, room: str, fingerprint: str) -> str | None:
        """The Redis key that a fingerprint leads to."""

    async def drop(self, room: str, redis_keys: Sequence[str], *, tag: str) -> int:
        """Remove those of some entries that bear a TAG; how many."""

    async def scan(self, room: str, cursor: int) -> tuple[int, list[str]]:
        """One step of a walk over the Redis keys of a room's entries."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings named caches need.

    Attributes:
        lookup_deadline_s: for each group of Redis reads.
        store_deadline_s: for one store, and for each step of a deletion.
        candidates: neighbours to look at.
        default_ttl_s: where the caller names none.
        body_bytes: the largest request body.
        response_bytes: the largest response that is stored.
    """

    lookup_deadline_s: float
    store_deadline_s: float
    candidates: int
    default_ttl_s: int
    body_bytes: int
    response_bytes: int


@dataclass(slots=True)
class Found:
    """What a search found: the matches, best first, and what became of it as for a completion."""

    matches: list[Match] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)


class NamedCaches:
    """The caches of all tenants.

    Attributes:
        policy: the settings.
        active: searches and stores being answered now.
    """

    def __init__(
        self,
        *,
        store: Store,
        vectors: VectorIndex,
        guard: Guard,
        embedder: Embedder,
        judge: Judge,
        background: Background,
        policy: Policy,
        on_index_missing: Callable[[], None],
        now: Callable[[], float],
        on_hit: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        self.policy = policy
        self.active = 0
        self._store = store
        self._vectors = vectors
        self._guard = guard
        self._embedder = embedder
        self._judge = judge
        self._background = background
        self._on_index_missing = on_index_missing
        self._now = now
        self._on_hit = on_hit

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def put(self, tenant: str, cache_id: str, content: Content, *, ttl_ms: int | None) -> str:
        """Store an entry, in place of an earlier one of the same prompt and attributes; returns its public id.

        Raises:
            StoreError: it was not stored.
        """
        self.active += 1
        try:
            return await self._put(tenant, cache_id, content, ttl_ms or self.policy.default_ttl_s * 1000)
        finally:
            self.active -= 1

    async def _put(self, tenant: str, cache_id: str, content: Content, ttl_ms: int) -> str:
        text = named_caches.canonical(content.prompt)
        vector, _ = await self._vector(tenant, text)
        entry = Entry(
            entry_id=ids.entry_id(),
            question=text if vector is not None else "",
            body=named_caches.to_body(content),
            wire=WireMode.JSON,
            created_at=self._now(),
            # Upwards: Redis lets the keys expire to the millisecond, and no sooner than that is it stale.
            ttl_s=math.ceil(ttl_ms / 1000),
        )
        async with self._guard.within(self.policy.store_deadline_s):
            room = await self._room(tenant, cache_id)
            await self._store.put(
                entry,
                room=room,
                redis_key=keys.entry_key(self._embedder.fingerprint, room, entry.entry_id),
                tags=named_caches.tags(room, content.attributes),
                vector=None if vector is None else vector.vector.tobytes(),
                prints=named_caches.prints(room, entry.entry_id, content),
                ttl_ms=ttl_ms,
            )
        return named_caches.public_id(entry.entry_id)

    async def _vector(self, tenant: str, text: str) -> tuple[Embedding | None, str | None]:
        """The embedding of a text, or why it may not, or cannot, be matched by meaning."""
        if (reason := routing.exact_only(text, has_tools=False)) is not None:
            return None, reason
        try:
            embedding = await self._embedder.embed(text, whose=tenant)
        except EmbeddingError as error:
            logger.debug("not embedded: %s", error)
            return None, Reason.EMBEDDER_UNAVAILABLE
        unreadable = why_unreadable(embedding)
        return (None, unreadable) if unreadable is not None else (embedding, None)

    async def delete(self, tenant: str, cache_id: str, public_id: str) -> bool:
        """Remove one entry; False if this tenant's cache has none of this id.

        Raises:
            StoreError: it may still be there.
        """
        entry_id = named_caches.entry_id_of(public_id)
        async with self._guard.within(self.policy.store_deadline_s):
            room = await self._room(tenant, cache_id)
            redis_key = await self._store.locate(room, named_caches.id_print(room, entry_id))
            if redis_key is None:
                return False
            return await self._store.drop(room, [redis_key], tag=keys.attributes_tag(room, {})) > 0

    async def delete_matching(self, tenant: str, cache_id: str, attributes: dict[str, str]) -> int:
        """Remove the entries of a cache that have all of these attributes ({}: every entry), step by step; how many.

        What is stored meanwhile may stay.

        Raises:
            StoreError: some may still be there.
        """
        async with self._guard.within(self.policy.store_deadline_s):
            room = await self._room(tenant, cache_id)
        return await self._drop(room, keys.attributes_tag(room, attributes))

    async def flush(self, tenant: str, cache_id: str) -> None:
        """Empty a cache. On return none of its entries is found any more; the room they take is freed step by step.

        The cache moves to another room, so that it is empty at once however much was in it.

        Raises:
            StoreError: it may not be empty.
        """
        flushes_key = keys.flushes_key(tenant, cache_id)
        try:
            async with self._guard.within(self.policy.store_deadline_s):
                before = await self._store.flush(flushes_key)
        except StoreFullError:  # Redis lets nothing be counted now; removing it may
            await self.delete_matching(tenant, cache_id, {})
            return
        room = keys.cache_room(tenant, cache_id, before)
        freeing = self._background.spawn(self._free(room), name="free-flushed-cache")
        await asyncio.wait({freeing}, timeout=FREE_WAIT_S)

    async def _free(self, room: str) -> None:
        try:
            await self._drop(room, keys.attributes_tag(room, {}))
        except StoreError as error:  # nothing finds them, and their time will come
            logger.info("some entries of a flushed cache stay until they expire: %s", error)

    async def _drop(self, room: str, tag: str) -> int:
        cursor, dropped = 0, 0
        while True:
            async with self._guard.within(self.policy.store_deadline_s):
                cursor, found = await self._store.scan(room, cursor)
            for start in range(0, len(found), DROP_STEP):
                async with self._guard.within(self.policy.store_deadline_s):
                    dropped += await self._store.drop(room, found[start : start + DROP_STEP], tag=tag)
            if not cursor:
                return dropped

    async def _room(self, tenant: str, cache_id: str) -> str:
        """Where the cache is now; one round trip."""
        return keys.cache_room(tenant, cache_id, await self._store.flushes(keys.flushes_key(tenant, cache_id)))

    # --- reading ---------------------------------------------------------------------------------------------------------------

    async def search(self, tenant: str, cache_id: str, wanted: Search) -> Found:
        """Find entries that serve. Never raises on account of the cache: no match, and the outcome says why."""
        self.active += 1
        looking = _Looking(tenant, cache_id, wanted)
        try:
            await self._look(looking)
        except StoreError as error:
            looking.bypass(self._reason_of(error))
        except Exception as error:  # the wall around the cache: the application goes on without
            logger.error("a search failed with %s", where(error))
            looking.bypass(Reason.CACHE_ERROR)
        finally:
            self.active -= 1
        looking.settle(now_s=self._now())
        for match in looking.found.matches:
            self._on_hit(match.entry)
        return looking.found

    def _reason_of(self, error: StoreError) -> Reason:
        if isinstance(error, IndexMissingError):
            self._on_index_missing()
            return Reason.INDEX_LOADING
        return Reason.INDEX_LOADING if isinstance(error, StoreLoadingError) else Reason.REDIS_UNAVAILABLE

    async def _look(self, looking: _Looking) -> None:
        await self._repeat(looking)
        if looking.is_satisfied:
            return
        if HitKind.SEMANTIC not in looking.wanted.strategies or looking.wanted.is_repeat_only:
            looking.reason = looking.reason or Reason.MODE_EXACT
            return
        await self._by_meaning(looking)

    async def _repeat(self, looking: _Looking) -> None:
        """The same text; by the strategy `exact`, as LangCache has it, in upper or lower case, if the judge lets that pass."""
        wanted = looking.wanted
        with looking.timed("lookup"):
            async with self._guard.within(self.policy.lookup_deadline_s):
                looking.room = room = await self._room(looking.tenant, looking.cache_id)
                prints = [named_caches.repeat_print(room, wanted.prompt, wanted.attributes)]
                if HitKind.EXACT in wanted.strategies:
                    prints.append(named_caches.folded_print(room, wanted.prompt, wanted.attributes))
                hit = await self._store.find(room, prints)
        if hit is None:
            return
        position, entry = hit
        if position == 0:
            looking.take(entry, 1.0, wanted.strategies[0], now_s=self._now())
        elif entry.question and routing.exact_only(looking.text, has_tools=False) is None:
            alike = Candidate("", entry.entry_id, entry.question, 0.0, entry.created_at, entry.ttl_s)
            judged = await self._judged(looking, [alike])
            if judged is not None and judged.objections:  # "us" and "US": what a softer gate says of case alone counts
                looking.reason = min(judged.objections)
            elif judged is not None:
                looking.take(entry, 1.0, HitKind.EXACT, now_s=self._now())

    async def _by_meaning(self, looking: _Looking) -> None:
        with looking.timed("embed"):
            embedding, looking.reason = await self._vector(looking.tenant, looking.text)
        if embedding is None:
            return
        wanted = looking.wanted
        with looking.timed("lookup"):
            async with self._guard.within(self.policy.lookup_deadline_s):
                found = await self._vectors.nearest(
                    keys.attributes_tag(looking.room, wanted.attributes),
                    embedding.vector,
                    k=max(self.policy.candidates, wanted.max_results),
                    earlier=embedding.earlier,
                )
        fresh = looking.not_yet_taken(found, now_s=self._now())
        looking.reason = Reason.BELOW_CONFIDENCE if fresh else Reason.NO_CANDIDATE
        looking.outcome.similarity = fresh[0].similarity if fresh else None
        near = [candidate for candidate in fresh if candidate.similarity >= wanted.threshold]
        while near and not looking.is_satisfied:
            chosen = await self._judged(looking, near)
            if chosen is None:
                return
            candidate = near.pop(chosen.index)
            with looking.timed("lookup"):
                async with self._guard.within(self.policy.lookup_deadline_s):
                    entry = await self._store.fetch(candidate.redis_key)
            looking.take(entry, candidate.similarity, HitKind.SEMANTIC, now_s=self._now())

    async def _judged(self, looking: _Looking, candidates: Sequence[Candidate]) -> Judged | None:
        """The candidate that serves, by the one judge; the threshold has been met before, and is no level of confidence."""
        with looking.timed("verify"):
            verdict = await self._judge.judge(looking.text, candidates, scope=looking.scope)
        if not looking.found.matches:
            looking.outcome.candidates, looking.outcome.verdict = tuple(candidates), verdict
        if verdict.chosen is None:
            looking.reason = verdict.reason or Reason.BELOW_CONFIDENCE
            return None
        return next(judged for judged in verdict.judged if judged.index == verdict.chosen)


class _Looking:
    """One search on its way; `room` is known once Redis was asked."""

    def __init__(self, tenant: str, cache_id: str, wanted: Search) -> None:
        self.tenant = tenant
        self.cache_id = cache_id
        # A namespace never begins with a slash, so a cache shares its error budget with none.
        self.scope = Scope(tenant, f"/caches/{cache_id}")
        self.wanted = wanted
        self.room = ""
        self.text = named_caches.canonical(wanted.prompt)
        self.found = Found()
        self.reason: str | None = None
        self._bypass: str | None = None

    @property
    def outcome(self) -> Outcome:
        return self.found.outcome

    @property
    def is_satisfied(self) -> bool:
        return len(self.found.matches) >= self.wanted.max_results

    def take(self, entry: Entry | None, similarity: float, strategy: HitKind, *, now_s: float) -> None:
        """Add an entry to what was found, unless it is gone or stale."""
        if entry is None or entry.remaining_s(now_s) <= 0:
            self.reason = self.reason or Reason.NO_CANDIDATE
            return
        content = named_caches.from_body(entry.body)
        self.found.matches.append(Match(entry, content, min(1.0, max(0.0, similarity)), strategy))

    def not_yet_taken(self, candidates: Sequence[Candidate], *, now_s: float) -> list[Candidate]:
        """The fresh candidates that are not among the matches."""
        taken = {match.entry.entry_id for match in self.found.matches}
        return [one for one in candidates if one.entry_id not in taken and now_s - one.created_at < one.ttl_s]

    def bypass(self, reason: str) -> None:
        """The cache could not be asked; what was found before that stands."""
        self._bypass = reason

    def settle(self, *, now_s: float) -> None:
        """Write what became of the search into its outcome."""
        if self.found.matches:
            best = self.found.matches[0]
            self.outcome.serve(best.strategy, best.entry, now_s=now_s)
            self.outcome.similarity = best.similarity
        elif self._bypass is not None:
            self.outcome.forward(Forwarded.BYPASS, self._bypass)
        else:
            self.outcome.forward(Forwarded.MISS, self.reason or Reason.NO_CANDIDATE)

    def timed(self, stage: str) -> _Timed:
        """Measure a block into the outcome."""
        return _Timed(self.outcome.timings_ms, stage)


class _Timed:
    """Adds the milliseconds of a block to a stage."""

    def __init__(self, timings_ms: dict[str, float], stage: str) -> None:
        self._timings_ms = timings_ms
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took_ms = (time.perf_counter() - self._started) * 1000
        self._timings_ms[self._stage] = self._timings_ms.get(self._stage, 0.0) + took_ms
