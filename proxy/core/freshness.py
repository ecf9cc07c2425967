"""What may still be served once an answer is no longer fresh, and when a new one is fetched ahead (RFC 5861); pure.

    age ──────────────── ttl ─────────────────────────────────────────▶
         fresh   │ ahead  │ stale-while-revalidate: served, and refreshed in the background
                 │        │ stale-if-error: served if the provider fails
                 └ refreshed in the background where an entry is asked for often

Only the exact tier serves what is stale: there the answer is the one to this very request, and old is all it can be.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.models import Directives, Entry, Mode

POPULAR_HITS = 3
"""Hits on an entry, in one process, from which on it is refreshed ahead: fewer say little of the next."""
FAILED = frozenset({500, 502, 503, 504})
"""What RFC 5861, section 4, calls an error; not reaching the provider is one, too."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The settings.

    Attributes:
        stale_while_revalidate_s: seconds past its freshness in which an answer is served while a new one is fetched.
        stale_if_error_s: the same for when the provider fails.
        refresh_ahead: share of its time to live, the last, in which a popular entry is refreshed.
    """

    stale_while_revalidate_s: int = 0
    stale_if_error_s: int = 0
    refresh_ahead: float = 0.0

    @property
    def kept_s(self) -> int:
        """How long entries are kept past their freshness."""
        return max(self.stale_while_revalidate_s, self.stale_if_error_s)

    @property
    def refreshes(self) -> bool:
        """Whether anything is ever fetched in the background."""
        return self.stale_while_revalidate_s > 0 or self.refresh_ahead > 0

    def may_serve(self, entry: Entry, *, now_s: float) -> bool:
        """Whether an entry may be served, fresh or while a new one is fetched."""
        return entry.ttl_left_s(now_s) > -self.stale_while_revalidate_s

    def is_due(self, entry: Entry, *, now_s: float, hits: int) -> bool:
        """Whether a fresh entry is to be refreshed now.

        Args:
            entry: just served.
            now_s: unix time in seconds.
            hits: how often it was served by this process.
        """
        return hits >= POPULAR_HITS and entry.ttl_left_s(now_s) <= self.refresh_ahead * entry.ttl_s

    def stands_in(self, entry: Entry, directives: Directives, *, now_s: float) -> bool:
        """Whether an entry may be served because the provider fails.

        Args:
            entry: of exactly this request, fresh or not: one that was too old for the caller may be the best there is now.
            directives: the caller's own `stale-if-error` goes before the setting, and before its own `max-age`, which it qualifies.
            now_s: unix time in seconds.
        """
        if directives.mode is Mode.SHADOW:
            return False
        if directives.stale_if_error_s is not None:
            return entry.ttl_left_s(now_s) > -directives.stale_if_error_s
        if directives.max_age_s is not None and now_s - entry.created_at > directives.max_age_s:
            return False
        return self.stale_if_error_s > 0 and entry.ttl_left_s(now_s) > -self.stale_if_error_s


FRESH_ONLY = Freshness()
"""Nothing stale is served, and nothing fetched ahead."""
