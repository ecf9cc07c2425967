"""Following Redis Streams for many readers: each gets every entry after the one it names, in order; none is missed.

A stream that is followed is read once per process, however many follow it. A follower first pages through what is there; once it has caught
up it is handed what arrives. One that falls behind what is kept here goes back to paging, so that the slowest costs the others nothing.

    follow(after) ──page──▶ caught up ──new entries──▶ …
         ▲                        │ fell behind the buffer
         └────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from proxy.core.stream_ids import order
from proxy.errors import StoreError
from proxy.ports import Guard, StreamEntry, StreamTails
from proxy.services.background import Background

logger = logging.getLogger("deja.tails")

PAGE = 200
"""Entries read at once while catching up."""
BUFFER = 1000
"""Entries of a stream kept for its followers: a burst of a second; who is further behind reads them from Redis again."""
BLOCK_MS = 5000
"""One blocking read; another follows. Bounds how long a half-dead connection goes unnoticed."""
SILENT_S = 5.0
"""How much longer than that a connection may stay silent before it is given up."""
NUDGE_S = 0.005
"""Between attempts to have the reader look at a new stream."""
RETRY_S = 0.5
"""Between attempts while Redis is away."""


class Gap:
    """Stands in place of entries that may have been trimmed away before the follower read them."""


GAP: Final = Gap()


class _Feed:
    """What arrived lately in one stream, and who waits for more. Followers hold cursors: how many entries have arrived before."""

    def __init__(self, position: str) -> None:
        self.position = position  # the last entry read
        self.since = position  # entries after this one are in the buffer
        self.buffer: list[StreamEntry] = []
        self.dropped = 0  # entries that have left the buffer
        self.followers = 0
        self.arrived = asyncio.Event()

    def take(self, entries: Sequence[StreamEntry]) -> None:
        """Add what arrived and wake everyone."""
        self.buffer += entries
        self.position = entries[-1].entry_id
        if len(self.buffer) > 2 * BUFFER:  # by halves: dropping one at a time would move the rest each time
            old = self.buffer[:-BUFFER]
            self.buffer = self.buffer[-BUFFER:]
            self.since = old[-1].entry_id
            self.dropped += len(old)
        self.arrived.set()
        self.arrived = asyncio.Event()

    def cursor(self, position: str) -> int | None:
        """The cursor of a follower whose last entry this is, None if it lacks some that are not in the buffer."""
        at = order(position)
        if at < order(self.since):
            return None
        return self.dropped + sum(order(entry.entry_id) <= at for entry in self.buffer)

    def after(self, cursor: int) -> list[StreamEntry] | None:
        """What has arrived since, None if it is not all in the buffer any more."""
        return None if cursor < self.dropped else self.buffer[cursor - self.dropped :]


def _later(entries: list[StreamEntry], position: str) -> list[StreamEntry]:
    """Those after a position: paging may have run ahead of what the reader has seen."""
    if not entries or order(entries[0].entry_id) > order(position):
        return entries
    return [entry for entry in entries if order(entry.entry_id) > order(position)]


class Tails:
    """Hands out what is appended to streams.

    Args:
        store: reads them.
        guard: bounds what Redis may cost.
        background: runs the one task that waits.
        deadline_s: for a read that need not wait.
    """

    def __init__(self, store: StreamTails, guard: Guard, background: Background, *, deadline_s: float) -> None:
        self._store = store
        self._guard = guard
        self._deadline_s = deadline_s
        self._background = background
        self._feeds: dict[str, _Feed] = {}
        self._awaited: frozenset[str] = frozenset()
        self._reader: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()

    async def follow(
        self, key: str, *, after: str | None, idle_s: float = 15.0
    ) -> AsyncIterator[list[StreamEntry] | Gap]:
        """Yield the entries after an id as they come, for ever; an empty list after `idle_s` without any.

        Ends when Deja shuts down. While Redis is away the follower waits, and goes on where it was.

        Args:
            key: Redis key of the stream; it need not exist yet.
            after: id of the last entry the follower has; None begins with what arrives from now on.
            idle_s: seconds after which an empty list tells that nothing happened.

        Raises:
            StoreError: Redis did not answer at the very beginning.
        """
        async with self._guard.within(self._deadline_s):
            newest = await self._store.last_id(key)
            is_trimmed = after is not None and await self._store.is_trimmed_after(key, after)
        position = newest if after is None else after
        if is_trimmed:
            yield GAP
        feed = self._join(key, newest)
        try:
            await self._see_to_it(key)
            cursor = feed.cursor(position)
            while not self._is_closing.is_set():
                arrived = feed.arrived  # taken before looking, or what comes in between would be slept through
                entries = None if cursor is None else feed.after(cursor)
                if cursor is not None and entries is not None:
                    cursor += len(entries)
                    entries = _later(entries, position)
                else:
                    entries = await self._page(key, position)
                if entries:
                    position = entries[-1].entry_id
                    yield entries
                elif not await self._is_woken(arrived, idle_s):
                    yield []
                if cursor is None or cursor < feed.dropped:
                    cursor = feed.cursor(position)
        finally:
            self._leave(key, feed)

    def close(self) -> None:
        """Let every follower end: Deja shuts down."""
        self._is_closing.set()
        for feed in self._feeds.values():
            feed.arrived.set()

    async def _is_woken(self, arrived: asyncio.Event, idle_s: float) -> bool:
        try:
            async with asyncio.timeout(idle_s):
                await arrived.wait()
        except TimeoutError:
            return False
        return True

    async def _page(self, key: str, position: str) -> list[StreamEntry]:
        while not self._is_closing.is_set():
            try:
                async with self._guard.within(self._deadline_s):
                    return await self._store.page(key, after=position, count=PAGE)
            except StoreError as error:
                logger.debug("reading on is put off: %s", error)
                await asyncio.sleep(RETRY_S)
        return []

    def _join(self, key: str, newest: str) -> _Feed:
        feed = self._feeds.setdefault(key, _Feed(newest))
        feed.followers += 1
        return feed

    async def _see_to_it(self, key: str) -> None:
        """Return once the reader waits for this stream, too."""
        if self._reader is None or self._reader.done():
            self._reader = self._background.keep(self._read, name="tails")
        while key not in self._awaited and not self._is_closing.is_set():
            with contextlib.suppress(StoreError):  # without Redis the reader does not wait either
                async with self._guard.within(self._deadline_s):
                    await self._store.interrupt()  # finds nobody while the reader is between two waits: hence the loop
            await asyncio.sleep(NUDGE_S)

    def _leave(self, key: str, feed: _Feed) -> None:
        feed.followers -= 1
        if not feed.followers and self._feeds.get(key) is feed:
            del self._feeds[key]

    async def _read(self) -> None:
        """Wait for all streams that are followed, until none is."""
        try:
            await self._read_all()
        finally:
            self._awaited = frozenset()

    async def _read_all(self) -> None:
        while self._feeds and not self._is_closing.is_set():
            feeds = dict(self._feeds)
            self._awaited = frozenset(feeds)
            try:
                arrived = await self._store.wait({key: feed.position for key, feed in feeds.items()}, block_ms=BLOCK_MS)
            except StoreError as error:
                logger.debug("waiting for streams is put off: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            for key, entries in arrived.items():
                feeds[key].take(entries)
