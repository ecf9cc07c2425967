"""Fetches new answers in the background, for entries that are stale, or soon will be: stale-while-revalidate and refresh-ahead.

A refresh is the call that a miss would have made, with the credentials of the caller who met the entry; its answer is a new entry, with a
new id. There is one at a time for one request, in all processes together where calls are shared, and a bounded number in all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from proxy.core.freshness import Freshness
from proxy.core.models import Entry
from proxy.errors import UpstreamError
from proxy.services.background import Background
from proxy.services.calls import Decision

MAX_UNDER_WAY = 16
"""Refreshes at once: background work must leave the provider's rate limits to those who wait. More are dropped; a later hit asks again."""
AGAIN_S = 10.0
"""Before a refresh that brought no entry is tried again: a provider that fails is asked by misses often enough."""
MAX_REMEMBERED = 10_000
"""Entries whose hits are counted, and requests whose refresh failed."""

Fetch = Callable[[Decision], Awaitable[str | None]]
"""Asks the provider what a decision's call asks; the id of the entry that was stored, None if none was."""


class Refresher:
    """Decides after each exact hit whether its entry is to be refreshed.

    Args:
        freshness: the settings.
        background: runs the refreshes.
        now: unix time in seconds.
        on_event: told why there was a refresh (`stale`, `ahead`) and what came of it (`stored`, `not-stored`, `failed`, `dropped`).
    """

    def __init__(
        self,
        freshness: Freshness,
        background: Background,
        *,
        now: Callable[[], float],
        on_event: Callable[[str, str], None],
    ) -> None:
        self._freshness = freshness
        self._background = background
        self._now = now
        self._on_event = on_event
        self._under_way: set[str] = set()
        self._hits: OrderedDict[str, int] = OrderedDict()
        self._failed_at: OrderedDict[str, float] = OrderedDict()

    def served(self, decision: Decision, entry: Entry, fetch: Fetch) -> None:
        """An exact hit was served from this entry."""
        if not self._freshness.refreshes or not _may_store(decision):
            return
        now_s = self._now()
        if entry.ttl_left_s(now_s) <= 0:
            why = "stale"
        elif self._freshness.refresh_ahead > 0 and self._is_due(entry, now_s):
            why = "ahead"
        else:
            return
        key = decision.place.fingerprint
        if key in self._under_way or now_s - self._failed_at.get(key, 0.0) < AGAIN_S:
            return
        if len(self._under_way) >= MAX_UNDER_WAY:
            self._on_event(why, "dropped")
            return
        self._under_way.add(key)
        task = self._background.spawn(self._refresh(decision, why, fetch), name="refresh")
        task.add_done_callback(lambda _: self._under_way.discard(key))

    def _is_due(self, entry: Entry, now_s: float) -> bool:
        hits = self._hits.pop(entry.entry_id, 0) + 1
        _remember(self._hits, entry.entry_id, hits)
        return self._freshness.is_due(entry, now_s=now_s, hits=hits)

    async def _refresh(self, decision: Decision, why: str, fetch: Fetch) -> None:
        try:
            how = "stored" if await fetch(decision) is not None else "not-stored"
        except UpstreamError:
            how = "failed"
        if how != "stored":
            _remember(self._failed_at, decision.place.fingerprint, self._now())
        self._on_event(why, how)


def _may_store(decision: Decision) -> bool:
    return decision.call.directives.mode.writes and not decision.is_store_down


def _remember(noted: OrderedDict[str, int] | OrderedDict[str, float], key: str, value: float) -> None:
    noted.pop(key, None)
    noted[key] = value  # type: ignore[assignment]
    while len(noted) > MAX_REMEMBERED:
        noted.popitem(last=False)
