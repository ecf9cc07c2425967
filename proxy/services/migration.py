"""After a change of embedder: what is stored is embedded anew in the background, and found by meaning all the while.

Theory of operation. While entries of the embedder before are left, every look-up asks both indexes, each with a vector of its own space
(`services.both_spaces`, `services.late_index`), and the judge reads each candidate's cosine on the scale of its own space. One process of
many, whoever has the turn, walks through what is left and moves it, entry by entry. When nothing is left, the index before is dropped, and
every process lets the embedder before go as soon as it sees that.

Nothing moves while some process still embeds with the embedder before: it would lose its hits. It says so every few seconds (`beat`), or
says that it ends; so a rolling restart needs no care, and two deployments with two embedders on one Redis leave each other's entries alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from embeddings.base import Embedding
from embeddings.errors import EmbedderError
from proxy.core.spaces import KnownEmbedder, Progress, Waiting
from proxy.errors import StoreError, where
from proxy.ports import Guard
from proxy.services.keeper import why_unreadable

logger = logging.getLogger("deja.migration")

BEAT_S = 10.0
"""Between two words of a process that it embeds with its embedder; a third of the time after which silence counts."""
WATCH_S = 60.0
"""Between looks for entries of another embedder where there were none: a process of before may have stored some on its way out."""
FOLLOW_S = 1.0
"""Between looks at what is left, where another process moves it, or nothing may move yet."""
LEFT_S = 30.0
"""Between two walks where something stays that cannot be moved: it expires. And after the embedder failed."""
RETRY_S = 2.0
"""After Redis failed."""
PLAIN = "plain"
"""A text that every embedder reads."""
CALLS_S = 5.0
"""For the Redis commands of one step; nobody waits for it."""
AT_ONCE = 8
"""Entries embedded and moved together, as many as requests go to the model together: some 10 ms of Redis."""
REMOTE_AT_ONCE = 64
"""Questions in one call to a remote embedder, whose time is its own."""
REST = 2.0
"""Times as long as a step took before the next: a third of the model's core and of Redis' thread, at most, is spent on moving."""
TOLD_S = 30.0
"""Between two lines in the log."""


class EarlierIndex(Protocol):
    """The index of the embedder before. Methods raise `StoreError` and its branches only; see `stores.vectors`."""

    @property
    def documents(self) -> int:
        """Entries in it, when `is_complete` was last asked."""

    async def ensure(self) -> bool:
        """Create it if it is not there."""

    async def is_complete(self) -> bool:
        """Whether all stored entries are in it."""

    async def drop(self) -> None:
        """Let it go; entries stay."""


class Entries(Protocol):
    """Entries on their way. Methods raise `StoreError` and its branches only; see `stores.moving_entries`."""

    async def take_turn(self, process: str) -> bool:
        """Be, or stay, the one process that moves entries."""

    async def leave_turn(self, process: str) -> None:
        """Let another process have it."""

    async def begin(self, *, now_s: float) -> Progress:
        """Note that entries are moving."""

    async def end(self, *, now_s: float) -> None:
        """Note that nothing is left."""

    async def owners(self, cursor: int) -> tuple[int, list[str]]:
        """A step of a walk through the tenants that have entries, from 0 to 0."""

    async def waiting(self, owner: str | None, cursor: int) -> tuple[int, Sequence[Waiting]]:
        """A step of a walk through what is left of a tenant's entries, None for those of named caches; from 0 to 0."""

    async def move(self, owner: str | None, entries: Sequence[tuple[Waiting, bytes | None]]) -> int:
        """Move entries, each with its new vector, None for none; how many did."""


class Names(Protocol):
    """Who embeds with what. Methods raise `StoreError` and its branches only; see `stores.embedder_names`."""

    async def use(self, embedder: KnownEmbedder, *, process: str, now_s: float) -> None:
        """Say that a process embeds with this one."""

    async def leave(self, embedder: KnownEmbedder, *, process: str) -> None:
        """A process embeds no more."""

    async def in_use(self, *, now_s: float) -> frozenset[str]:
        """Tags of those that a process embeds with now."""

    async def indexed(self) -> frozenset[str]:
        """Tags of those whose entries are in an index."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An embedder that was used before, opened.

    Attributes:
        embedder: what it is.
        index: its entries.
        entries: the same, on their way.
        let_go: closes it, once nobody searches its index any more.
    """

    embedder: KnownEmbedder
    index: EarlierIndex
    entries: Entries
    let_go: Callable[[], Awaitable[None]]


class _Step(Enum):
    """What is to be done next."""

    MOVE = auto()
    FOLLOW = auto()
    HOLD = auto()
    END = auto()


class Migration:
    """Moves entries to the embedder in use.

    Args:
        embedder: the one in use.
        embed: of it: texts to vectors, in order. Blocks; may raise EmbedderError.
        names: who embeds with what.
        find: opens an embedder of before that has entries left, and has its index searched; None where there is none.
        guard: bounds what Redis may cost.
        process: names this one.
        on_moved: told how many entries moved.
        now: unix time in seconds.

    Attributes:
        left: entries of the embedder before; None where there are none.
        has_looked: set once a first look has ended, however it ended.
    """

    def __init__(
        self,
        *,
        embedder: KnownEmbedder,
        embed: Callable[[Sequence[str]], list[Embedding]],
        names: Names,
        find: Callable[[], Awaitable[Earlier | None]],
        guard: Guard,
        process: str,
        on_moved: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        self._embedder = embedder
        self._embed = embed
        self._names = names
        self._find = find
        self._guard = guard
        self._process = process
        self._on_moved = on_moved
        self._now = now
        self._earlier: Earlier | None = None
        self._is_held_up = False
        self._told_at = 0.0
        self.left: int | None = None
        self.has_looked = asyncio.Event()

    async def beat(self) -> None:
        """Say who embeds with what, until cancelled."""
        while True:
            with suppress(StoreError):
                async with self._guard.within(CALLS_S):
                    await self._names.use(self._embedder, process=self._process, now_s=self._now())
            await asyncio.sleep(BEAT_S)

    async def leave(self, *, deadline_s: float) -> None:
        """On the way out: let others move what was embedded here, without waiting for this process to be taken for dead."""
        with suppress(StoreError):
            async with self._guard.within(deadline_s):
                await self._names.leave(self._embedder, process=self._process)
                if self._earlier is not None:
                    await self._earlier.entries.leave_turn(self._process)

    async def run(self) -> None:
        """Look for entries of an embedder of before, and move them, until cancelled."""
        while True:
            try:
                pause_s = await self._round()
            except (StoreError, EmbedderError) as error:
                logger.debug("moving entries put off: %s", error)
                pause_s = RETRY_S if isinstance(error, StoreError) else LEFT_S
            except Exception as error:  # whatever it is, the next round must still come
                logger.error("moving entries failed with %s", where(error))
                pause_s = LEFT_S
            self.has_looked.set()
            await asyncio.sleep(pause_s)

    async def _round(self) -> float:
        """One step; how many seconds the next one may wait."""
        if self._earlier is None:
            self._earlier = await self._find()
            if self._earlier is None:
                return WATCH_S
        earlier = self._earlier
        async with self._guard.within(CALLS_S):
            step = await self._next(earlier)
        match step:
            case _Step.END:
                return await self._end(earlier)
            case _Step.HOLD:
                return self._hold_up(earlier)
            case _Step.FOLLOW:
                return FOLLOW_S
            case _Step.MOVE:
                async with self._guard.within(CALLS_S):
                    progress = await earlier.entries.begin(now_s=self._now())
                self._tell(earlier, progress.moved)
                return 0.0 if await self._walk(earlier, progress.moved) else LEFT_S

    async def _next(self, earlier: Earlier) -> _Step:
        """Look how things stand, and drop the index once nothing is left in it."""
        if earlier.embedder.tag not in await self._names.indexed():
            return _Step.END  # another process has moved the last entry
        await earlier.index.ensure()
        is_whole = await earlier.index.is_complete()
        self.left = earlier.index.documents
        if earlier.embedder.tag in await self._names.in_use(now_s=self._now()):
            await earlier.entries.begin(now_s=self._now())
            await earlier.entries.leave_turn(self._process)
            return _Step.HOLD
        if not await earlier.entries.take_turn(self._process):
            return _Step.FOLLOW
        if not is_whole or self.left:
            return _Step.MOVE
        await earlier.index.drop()
        await earlier.entries.end(now_s=self._now())
        await earlier.entries.leave_turn(self._process)
        return _Step.END

    def _hold_up(self, earlier: Earlier) -> float:
        if not self._is_held_up:
            self._is_held_up = True
            logger.info(
                "entries of the embedder %s stay where they are while another Deja embeds with it; they answer here, too",
                earlier.embedder.fingerprint,
            )
        return FOLLOW_S

    async def _end(self, earlier: Earlier) -> float:
        self._earlier, self.left, self._is_held_up = None, None, False
        logger.info(
            "no entry of the embedder %s is left; if DEJA_EMBEDDER__PREVIOUS_SOURCE is set, it may go",
            earlier.embedder.fingerprint,
        )
        await earlier.let_go()
        return WATCH_S

    def _tell(self, earlier: Earlier, moved: int) -> None:
        now = time.monotonic()
        if self._told_at and now - self._told_at < TOLD_S:
            return
        self._told_at = now
        logger.info(
            "entries of the embedder %s are embedded anew: %d have moved, %d are left",
            earlier.embedder.fingerprint,
            moved,
            self.left or 0,
        )

    # --- moving ----------------------------------------------------------------------------------------------------------------

    async def _walk(self, earlier: Earlier, moved_before: int) -> int:
        """Move what can be moved; how many entries did."""
        moved = 0
        async for owner, embedded in self._embedded(earlier.entries):
            for start in range(0, len(embedded), AT_ONCE):
                started = time.monotonic()
                part = embedded[start : start + AT_ONCE]
                async with self._guard.within(CALLS_S):
                    count = await earlier.entries.move(owner, part)
                self._on_moved(count)
                moved += count
                self.left = max(0, (self.left or 0) - len(part))
                self._tell(earlier, moved_before + moved)
                async with self._guard.within(CALLS_S):
                    if not await self._may_go_on(earlier):
                        return moved
                await asyncio.sleep(REST * (time.monotonic() - started))
        return moved

    async def _may_go_on(self, earlier: Earlier) -> bool:
        """Whether it is still this process' turn, and nobody has come back to the embedder before."""
        if earlier.embedder.tag in await self._names.in_use(now_s=self._now()):
            return False
        return await earlier.entries.take_turn(self._process)

    async def _left(self, entries: Entries) -> AsyncIterator[tuple[str | None, Sequence[Waiting]]]:
        """All that can be moved, a tenant's entries together."""
        at = -1
        while at:
            async with self._guard.within(CALLS_S):
                at, owners = await entries.owners(max(at, 0))
            for owner in owners:
                async for found in self._of(entries, owner):
                    yield owner, found
        async for found in self._of(entries, None):
            yield None, found

    async def _of(self, entries: Entries, owner: str | None) -> AsyncIterator[Sequence[Waiting]]:
        at = -1
        while at:
            async with self._guard.within(CALLS_S):
                at, found = await entries.waiting(owner, max(at, 0))
            # What no key opens stays: it may be that the keys are mended.
            yield [one for one in found if one.question is not None]

    async def _embedded(
        self, entries: Entries
    ) -> AsyncIterator[tuple[str | None, Sequence[tuple[Waiting, bytes | None]]]]:
        """The same with new vectors, some at a time."""
        is_remote = not self._embedder.source
        at_once = REMOTE_AT_ONCE if is_remote else AT_ONCE
        async for owner, found in self._left(entries):
            for start in range(0, len(found), at_once):
                started = time.monotonic()
                part = found[start : start + at_once]
                vectors = await self._vectors([one.question for one in part if one.question])
                if not is_remote:
                    await asyncio.sleep(REST * (time.monotonic() - started))
                yield (
                    owner,
                    [
                        (one, vectors[one.question] if one.question else None)
                        for one in part
                        if not one.question or one.question in vectors
                    ],
                )

    async def _vectors(self, texts: Sequence[str]) -> dict[str, bytes | None]:
        """Vectors of texts, None for those that are not read whole; without those that the embedder refuses. May raise EmbedderError."""
        if not texts:
            return {}
        try:
            # Beside the threads that requests wait for, and not among what those remember.
            embedded = await asyncio.to_thread(self._embed, texts)
        except EmbedderError:
            await asyncio.to_thread(self._embed, [PLAIN])  # raises where it is not the texts that are at fault
            return {} if len(texts) == 1 else await self._one_by_one(texts)
        return dict(zip(texts, map(_vector, embedded), strict=True))

    async def _one_by_one(self, texts: Sequence[str]) -> dict[str, bytes | None]:
        """A text that is refused must not hold the others up for ever."""
        found: dict[str, bytes | None] = {}
        for text in texts:
            found |= await self._vectors([text])
        return found


def _vector(embedding: Embedding) -> bytes | None:
    """None where the new embedder does not read the text whole: then no look-up by meaning may find it."""
    return None if why_unreadable(embedding) is not None else embedding.vector.tobytes()
