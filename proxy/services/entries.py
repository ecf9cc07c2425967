"""A tenant's entries: listed, read, removed one by one or by conditions. Waits for Redis as long as it takes a page; nobody's hit does.

Removing many is two steps: `count` says how many and gives a token, `invalidate` wants the token. It stops after `REMOVED_AT_ONCE` and
says that there is more, so that one request does not take minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.entries import ENTRY_ID, Cursor, Listed, Page, Wanted
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard

logger = logging.getLogger("deja.entries")

CALL_S = 2.0
"""For one page; nobody's answer waits for it but that of who asks for it."""
LOOKED_AT = 2000
"""Entries a list looks at for one answer, wanted or not: ten pages, some 50 ms."""
REMOVED_AT_ONCE = 10_000
"""Entries one call removes, at most: about a second."""
SWEEP_S = 60.0
"""Between sweeps; what they find costs memory and nothing else."""


class Store(Protocol):
    """Where entries are. Methods raise `StoreError` and its branches only."""

    async def page(self, tenant: str, cursor: Cursor, *, now_s: float) -> Page:
        """The next entries of a tenant, those that expire last first."""

    async def find(self, tenant: str, entry_id: str) -> Listed | None:
        """A tenant's entry of an id."""

    async def content(self, redis_key: str) -> dict[str, bytes]:
        """All fields of an entry; empty if it is gone."""

    async def remove(self, tenant: str, entries: Sequence[Listed]) -> int:
        """Remove entries with what leads to them and through them; how many were still there."""


class Lists(Protocol):
    """The lists of all tenants."""

    async def sweep(self, *, now_s: float) -> int:
        """Forget what has expired. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of an invalidation.

    Attributes:
        removed: entries that went now.
        is_done: none is left under the conditions.
    """

    removed: int
    is_done: bool


class Entries:
    """Entries of tenants. Methods raise StoreError without Redis.

    Args:
        store: where they are.
        lists: the lists of all tenants.
        guard: bounds what Redis may cost.
        now: unix time in seconds.
    """

    def __init__(self, store: Store, lists: Lists, guard: Guard, *, now: Callable[[], float]) -> None:
        self._store = store
        self._lists = lists
        self._guard = guard
        self._now = now

    async def listing(
        self, tenant: str, wanted: Wanted, *, cursor: Cursor, limit: int
    ) -> tuple[list[Listed], Cursor | None]:
        """The next entries that are wanted, and where to go on; fewer than `limit` where others had to be looked at in between."""
        found: list[Listed] = []
        looked_at, at = 0, cursor
        while True:
            page = await self._page(tenant, at)
            for one in page.found:
                if one.is_wanted(wanted):
                    found.append(one)
                if len(found) == limit:
                    return found, page.following(upto=one.redis_key)
            looked_at += len(page.members)
            following = page.following()
            if following is None or looked_at >= LOOKED_AT:
                return found, following
            at = following

    async def read(self, tenant: str, entry_id: str) -> tuple[Listed, dict[str, bytes]]:
        """An entry and all its fields; RequestError 404 where this tenant has none of this id."""
        one = await self._find(tenant, entry_id)
        async with self._guard.within(CALL_S):
            content = await self._store.content(one.redis_key)
        if not content:
            raise _not_found()
        return one, content

    async def delete(self, tenant: str, entry_id: str) -> None:
        """Remove an entry; RequestError 404 where this tenant has none of this id."""
        one = await self._find(tenant, entry_id)
        async with self._guard.within(CALL_S):
            await self._store.remove(tenant, [one])

    async def walk(self, tenant: str, wanted: Wanted) -> AsyncIterator[Listed]:
        """All entries that are wanted."""
        at: Cursor | None = Cursor()
        while at is not None:
            page = await self._page(tenant, at)
            for one in page.found:
                if one.is_wanted(wanted):
                    yield one
            at = page.following()

    async def count(self, tenant: str, wanted: Wanted) -> tuple[int, str]:
        """How many are wanted, and the token that `invalidate` asks for."""
        counted = 0
        async for _ in self.walk(tenant, wanted):
            counted += 1
        return counted, wanted.token(tenant)

    async def invalidate(self, tenant: str, wanted: Wanted, *, token: str) -> Removal:
        """Remove what is wanted; RequestError 409 where the token is not that of a count under these conditions."""
        if token != wanted.token(tenant):
            raise RequestError(
                "The token is not that of these conditions: send them with `dry_run: true`, look at the count, and send its token along.",
                status=409,
                code="token_mismatch",
                param="token",
            )
        removed, at = 0, Cursor()
        while True:
            page = await self._page(tenant, at)
            going = [one for one in page.found if one.is_wanted(wanted)]
            async with self._guard.within(CALL_S):
                removed += await self._store.remove(tenant, going)
            following = page.following(removed=frozenset(one.redis_key for one in going))
            if following is None or removed >= REMOVED_AT_ONCE:
                logger.info("invalidated %d entries", removed)
                return Removal(removed, following is None)
            at = following

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                async with self._guard.within(SWEEP_S):
                    await self._lists.sweep(now_s=self._now())
            except StoreError as error:
                logger.debug("sweep put off: %s", error)

    async def _page(self, tenant: str, at: Cursor) -> Page:
        async with self._guard.within(CALL_S):
            return await self._store.page(tenant, at, now_s=self._now())

    async def _find(self, tenant: str, entry_id: str) -> Listed:
        if not ENTRY_ID.fullmatch(entry_id):
            raise _not_found()
        async with self._guard.within(CALL_S):
            found = await self._store.find(tenant, entry_id)
        if found is None:
            raise _not_found()
        return found


def _not_found() -> RequestError:
    return RequestError("There is no entry of this id, or its time is over.", status=404, code="entry_not_found")
