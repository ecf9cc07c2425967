"""The first level: entries of exact requests, kept in this process for as long as Redis vouches for them.

Redis tells every process at once which keys changed (`stores.invalidations`), so an entry that was replaced, erased, evicted or called
wrong is gone here too, a round trip later. While nobody listens, nothing is kept, and a hit takes its round trip.

What is read while a change of it is on its way must not be kept. So each reader takes a number before it reads, and what changed since then
is not put in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from proxy.core.models import Entry
from proxy.errors import StoreError, StoreUnavailableError

logger = logging.getLogger("deja.first_level")

ENTRY_OVERHEAD_BYTES = 700
"""Of an entry without its texts, its key and their places in the dictionaries, about."""
CHANGES = 4096
"""Changes remembered one by one; a look-up takes a millisecond, and in that time Redis does not change so many keys."""

RETRY_S = 0.5
"""After the connection was lost: hits take their round trip meanwhile."""
REFUSED_RETRY_S = 60.0
"""After Redis refused to tell of changes, as one for whose user CLIENT TRACKING is forbidden does."""


class Changes(Protocol):
    """What changes in Redis."""

    async def follow(self, *, on_live: Callable[[], None], on_change: Callable[[str | None], None]) -> None:
        """Tell of changes from `on_live` on, a key each, or None for all of them; ends with a StoreError."""


class FirstLevel:
    """Entries by exact key, the longest unused one going first.

    Args:
        max_bytes: of entries, about; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._keys: dict[str, str] = {}  # entry id -> exact key
        self._size_bytes = 0
        self._is_live = False
        self._now = 0  # counts changes
        self._changed: dict[str, int] = {}  # exact key or entry id -> when
        self._forgotten = 0  # changes up to here are no longer in `_changed`

    @property
    def size_bytes(self) -> int:
        """What is kept, about."""
        return self._size_bytes

    def get(self, exact_key: str) -> Entry | None:
        """The entry of exactly this request, if it is here."""
        entry = self._entries.get(exact_key)
        if entry is not None:
            self._entries.move_to_end(exact_key)
        return entry

    async def run(self, changes: Changes) -> None:
        """Follow what changes, until cancelled."""
        has_told = False
        while True:
            try:
                await changes.follow(on_live=lambda: self.live(True), on_change=self._on_change)
            except StoreError as error:
                self.live(False)  # before the pause
                is_refused = not isinstance(error, StoreUnavailableError)
                if is_refused and not has_told:
                    has_told = True
                    logger.warning("exact hits take a round trip to Redis, which does not tell of changes: %s", error)
                await asyncio.sleep(REFUSED_RETRY_S if is_refused else RETRY_S)
            finally:
                self.live(False)

    def _on_change(self, redis_key: str | None) -> None:
        if redis_key is None:
            self.clear()
        else:
            self.changed(redis_key)

    def began(self) -> int:
        """A number to be taken before Redis is read, for `put`."""
        return self._now

    def put(self, exact_key: str, entry: Entry, *, since: int) -> None:
        """Keep what was read, unless it has changed since then, or nobody would say if it did."""
        if not self._is_live or since < self._forgotten:
            return
        if self._changed.get(exact_key, 0) > since or self._changed.get(entry.entry_id, 0) > since:
            return
        size_bytes = _size_bytes(exact_key, entry)
        if size_bytes > self._max_bytes:
            return
        self._drop(exact_key)
        self._entries[exact_key] = entry
        self._keys[entry.entry_id] = exact_key
        self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def changed(self, redis_key: str) -> None:
        """Redis says, or this process knows, that an exact key or an entry changed."""
        self._now += 1
        name = redis_key.rpartition(":")[2] if ":ent_" in redis_key else redis_key
        if len(self._changed) >= CHANGES:
            self._changed.clear()
            self._forgotten = self._now - 1
        self._changed[name] = self._now
        self._drop(self._keys.get(name, name))

    def live(self, is_live: bool) -> None:
        """Whether Redis tells of changes from now on; those before, or from now on, are unknown."""
        self._is_live = is_live and self._max_bytes > 0
        self.clear()

    def clear(self) -> None:
        """Keep nothing of what was read so far."""
        self._now += 1
        self._forgotten = self._now
        self._changed.clear()
        self._entries.clear()
        self._keys.clear()
        self._size_bytes = 0

    def _drop(self, exact_key: str) -> None:
        entry = self._entries.pop(exact_key, None)
        if entry is not None:
            self._keys.pop(entry.entry_id, None)
            self._size_bytes -= _size_bytes(exact_key, entry)


def _size_bytes(exact_key: str, entry: Entry) -> int:
    return ENTRY_OVERHEAD_BYTES + len(exact_key) + len(entry.body) + len(entry.question)
