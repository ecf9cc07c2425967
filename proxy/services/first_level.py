"""The first level: answers of exact requests, kept in this process for as long as Redis vouches for them.

Redis tells every process at once which keys changed (`stores.invalidations`), so an entry that was replaced, erased, evicted or called
wrong is gone here too, a round trip later. While nobody listens, nothing is kept, and a hit takes its round trip.

A question that was answered by meaning is known in its own words from then on (`Known`): asked again, it need not be embedded, searched for
and judged anew, since gates and verifier would say the same of the same two texts. What may have changed is looked at each time: the level,
the entry's freshness. Once anything is called wrong, all that is here is forgotten: it may have been the ground that others stood on.

What is read while a change of it is on its way must not be kept. So each reader takes a number before it reads, and what changed since then
is not put in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from proxy.core import keys
from proxy.core.decision import Verdict
from proxy.core.models import Candidate, Entry
from proxy.errors import StoreError, StoreUnavailableError

logger = logging.getLogger("deja.first_level")

ENTRY_OVERHEAD_BYTES = 700
"""Of an entry without its texts, its key and their places in the dictionaries, about."""
CANDIDATE_OVERHEAD_BYTES = 900
"""Of a candidate and what was said of it, about."""
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


@dataclass(frozen=True, slots=True)
class Known:
    """What came of a question that an entry answers by meaning.

    Attributes:
        entry: that serves.
        chosen: what the index offered of it.
        verdict: of the judge.
    """

    entry: Entry
    chosen: Candidate
    verdict: Verdict

    @classmethod
    def of(cls, entry: Entry, candidates: Sequence[Candidate], verdict: Verdict) -> Known:
        """Keep what serves; the candidates that do not would take several times its memory.

        Args:
            entry: that serves.
            candidates: what the index offered.
            verdict: of the judge; one of them was chosen.
        """
        assert verdict.chosen is not None
        judged = tuple(replace(one, index=0) for one in verdict.judged if one.index == verdict.chosen)
        return cls(entry, candidates[verdict.chosen], replace(verdict, chosen=0, judged=judged))


class FirstLevel:
    """Entries by exact key, and what is known by meaning; the longest unused one going first.

    Args:
        max_bytes: of entries, about; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Entry | Known] = OrderedDict()  # by exact key
        self._keys: dict[str, set[str]] = {}  # entry id -> exact keys
        self._size_bytes = 0
        self._is_live = False
        self._now = 0  # counts changes
        self._changed: dict[str, int] = {}  # exact key or entry id -> when
        self._forgotten = 0  # changes up to here are no longer in `_changed`

    @property
    def size_bytes(self) -> int:
        """What is kept, about."""
        return self._size_bytes

    def get(self, exact_key: str) -> Entry | Known | None:
        """What answers exactly this request, if it is here."""
        kept = self._kept.get(exact_key)
        if kept is not None:
            self._kept.move_to_end(exact_key)
        return kept

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
        if redis_key is None or keys.is_verdict(redis_key):
            self.clear()
        else:
            self.changed(redis_key)

    def began(self) -> int:
        """A number to be taken before Redis is read, for `put`."""
        return self._now

    def put(self, exact_key: str, kept: Entry | Known, *, since: int) -> None:
        """Keep what was read, unless it has changed since then, or nobody would say if it did."""
        if not self._is_live or since < self._forgotten:
            return
        entry_id = _entry(kept).entry_id
        if self._changed.get(exact_key, 0) > since or self._changed.get(entry_id, 0) > since:
            return
        size_bytes = _size_bytes(exact_key, kept)
        if size_bytes > self._max_bytes:
            return
        self._drop(exact_key)
        self._kept[exact_key] = kept
        self._keys.setdefault(entry_id, set()).add(exact_key)
        self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def changed(self, redis_key: str) -> None:
        """Redis says, or this process knows, that an exact key or an entry changed."""
        self._now += 1
        name = redis_key.rpartition(":")[2] if ":ent_" in redis_key else redis_key
        if len(self._changed) >= CHANGES:
            self._changed.clear()
            self._forgotten = self._now - 1
        self._changed[name] = self._now
        for exact_key in tuple(self._keys.get(name, (name,))):
            self._drop(exact_key)

    def live(self, is_live: bool) -> None:
        """Whether Redis tells of changes from now on; those before, or from now on, are unknown."""
        self._is_live = is_live and self._max_bytes > 0
        self.clear()

    def clear(self) -> None:
        """Keep nothing of what was read so far."""
        self._now += 1
        self._forgotten = self._now
        self._changed.clear()
        self._kept.clear()
        self._keys.clear()
        self._size_bytes = 0

    def _drop(self, exact_key: str) -> None:
        kept = self._kept.pop(exact_key, None)
        if kept is None:
            return
        self._size_bytes -= _size_bytes(exact_key, kept)
        entry_id = _entry(kept).entry_id
        self._keys[entry_id].discard(exact_key)
        if not self._keys[entry_id]:
            del self._keys[entry_id]


def _entry(kept: Entry | Known) -> Entry:
    return kept.entry if isinstance(kept, Known) else kept


def _size_bytes(exact_key: str, kept: Entry | Known) -> int:
    entry = _entry(kept)
    size_bytes = ENTRY_OVERHEAD_BYTES + len(exact_key) + len(entry.body) + len(entry.question)
    if isinstance(kept, Known):
        size_bytes += CANDIDATE_OVERHEAD_BYTES + len(kept.chosen.question)
    return size_bytes
