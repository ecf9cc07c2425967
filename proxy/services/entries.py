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
from proxy.core.entry_lines import Line, read_line, write_line
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard

logger = logging.getLogger("deja.entries")

CALL_S = 2.0
"""For one page; nobody's answer waits for it but that of who asks for it."""
LOOKED_AT = 2000
"""Entries a list looks at for one answer, wanted or not: ten pages, 60 ms."""
REMOVED_AT_ONCE = 10_000
"""Entries one call removes, at most: 5.5 s if nine others lie between two of them."""
EXPORTED_AT_ONCE = 50
"""Entries whose content is read or written by one round trip: 0.5 MB of answers of 10 KB."""
SWEEP_S = 60.0
"""Between sweeps; what they find costs memory and nothing else."""


class Store(Protocol):
    """Where entries are. Methods raise `StoreError` and its branches only."""

    async def page(self, tenant: str, cursor: Cursor, *, now_s: float) -> Page:
        """The next entries of a tenant, those that expire last first."""

    async def find(self, tenant: str, entry_id: str) -> Listed | None:
        """A tenant's entry of an id."""

    async def contents(self, redis_keys: Sequence[str]) -> list[dict[str, bytes]]:
        """All fields of some entries; none of one that is gone."""

    async def restore(self, tenant: str, lines: Sequence[Line], *, now_s: float) -> int:
        """Put entries back that are not there, for as long as they would still be; how many were."""

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


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of exported entries.

    Attributes:
        restored: put back.
        present: passed over, since there is an answer already, or this one was called wrong.
        expired: their time is over.
        refused: not written by this Deja, for this tenant, as they are.
    """

    restored: int
    present: int
    expired: int
    refused: int


class Entries:
    """Entries of tenants. Methods raise StoreError without Redis.

    Args:
        store: where they are.
        lists: the lists of all tenants.
        guard: bounds what Redis may cost.
        secret: Deja's own, which seals what is exported.
        now: unix time in seconds.
    """

    def __init__(self, store: Store, lists: Lists, guard: Guard, *, secret: bytes, now: Callable[[], float]) -> None:
        self._store = store
        self._secret = secret
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
            (content,) = await self._store.contents([one.redis_key])
        if not content:
            raise _not_found()
        return one, content

    async def delete(self, tenant: str, entry_id: str) -> None:
        """Remove an entry; RequestError 404 where this tenant has none of this id."""
        one = await self._find(tenant, entry_id)
        async with self._guard.within(CALL_S):
            await self._store.remove(tenant, [one])

    async def _walk(self, tenant: str, wanted: Wanted) -> AsyncIterator[list[Listed]]:
        """All entries that are wanted, page by page; a page may hold none."""
        at: Cursor | None = Cursor()
        while at is not None:
            page = await self._page(tenant, at)
            yield [one for one in page.found if one.is_wanted(wanted)]
            at = page.following()

    async def export(self, tenant: str, wanted: Wanted) -> AsyncIterator[bytes]:
        """All entries that are wanted, as lines of `core.entry_lines`."""
        async for found in self._walk(tenant, wanted):
            for start in range(0, len(found), EXPORTED_AT_ONCE):
                part = [one.redis_key for one in found[start : start + EXPORTED_AT_ONCE]]
                async with self._guard.within(CALL_S):
                    contents = await self._store.contents(part)
                yield b"".join(
                    write_line(redis_key, fields, tenant=tenant, secret=self._secret)
                    for redis_key, fields in zip(part, contents, strict=True)
                    if fields
                )

    async def restore(self, tenant: str, lines: Sequence[bytes]) -> Restored:
        """Put exported entries back; what is there already stays, and what was not exported for this tenant is refused."""
        now_s = self._now()
        read = [read_line(line, tenant=tenant, secret=self._secret) for line in lines]
        known = [line for line in read if line is not None]
        fresh = [line for line in known if line.entry.expires_at > now_s]
        restored = 0
        for start in range(0, len(fresh), EXPORTED_AT_ONCE):
            async with self._guard.within(CALL_S):
                restored += await self._store.restore(tenant, fresh[start : start + EXPORTED_AT_ONCE], now_s=now_s)
        return Restored(restored, len(fresh) - restored, len(known) - len(fresh), len(read) - len(known))

    async def count(self, tenant: str, wanted: Wanted) -> tuple[int, str]:
        """How many are wanted, and the token that `invalidate` asks for."""
        counted = 0
        async for found in self._walk(tenant, wanted):
            counted += len(found)
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
