"""Streams of events, within deadlines: append, read in pages, follow, and keep them as short as their owners wish.

An append that finds its stream too long or too old has it trimmed just after, beside the request; a slow sweep does the same for
streams that nobody appends to any more. Consumer groups are in `event_groups`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.coordination import keys
from proxy.core.coordination.events import Fields, Filters, StreamInfo, Trimmed, no_stream
from proxy.errors import StoreError
from proxy.ports import Guard, Keeping, StreamEntry
from proxy.services.background import Background
from proxy.services.tails import Gap, Tails

logger = logging.getLogger("deja.events")

PAGE = 500
"""Entries read from Redis at once."""
ANSWER_BYTES = 8 << 20
"""Of events in one answer, about: a thousand of the largest would be 256 MB. The answer says where to go on."""
SCANNED = 5000
"""Entries one request looks through for its filter: some 50 ms of one core. The answer says where to go on."""
IDLE_S = 15.0
"""Silence after which a follower is told that all is well: below what proxies close a connection for."""
TRIM_INTERVAL_S = 0.25
"""Between two trims of one stream by one process, however fast it grows."""
SWEEP_S = 60.0
"""Between two sweeps: an age limit is kept that exactly."""
COMPLAINT_S = 60.0
"""Between two log lines about events that were removed unread; the metric counts each."""


class EventStore(Protocol):
    """Streams of events. Methods raise `StoreError` and its branches, and RequestError where said."""

    async def append(self, tenant: str, stream: str, events: Sequence[Fields]) -> tuple[list[str], bool]:
        """Append all or none; their ids, and whether there is something to trim. RequestError 409: too many streams."""

    async def page(
        self, tenant: str, stream: str, *, after: str | None, before: str | None, count: int, is_ascending: bool
    ) -> list[StreamEntry]:
        """Entries between two ids, both left out."""

    async def trim(self, tenant: str, stream: str) -> tuple[Trimmed, bool]:
        """Remove a bounded part of what the policy does not keep; also, whether there may be more."""

    async def trim_now(
        self, tenant: str, stream: str, *, max_events: int | None, max_age_s: float | None, before: str | None
    ) -> Trimmed:
        """Remove exactly what need not be kept."""

    async def configure(self, tenant: str, stream: str, wanted: dict[str, int | None]) -> None:
        """Say what a stream keeps. RequestError 409: too many streams."""

    async def stream(self, tenant: str, stream: str) -> StreamInfo:
        """What is known of a stream; RequestError 404: there is none."""

    async def streams(self, tenant: str) -> list[str]:
        """Names of a tenant's streams."""

    async def delete(self, tenant: str, stream: str) -> bool:
        """Remove a stream; False if there was none."""

    async def tenants(self) -> list[str]:
        """Tenants that have streams."""

    async def forget_tenant(self, tenant: str) -> None:
        """Take a tenant without streams off that list."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a stream.

    Attributes:
        entries: that pass the filter, in the order asked for.
        position: the last entry looked at, wanted or not; None if there was none. The next page begins behind it.
        is_more: there are entries behind it.
    """

    entries: list[StreamEntry]
    position: str | None
    is_more: bool


class Events:
    """A tenant's streams of events; raises StoreError when Redis does not do its part in time.

    Args:
        store: where they are.
        tails: follows them.
        guard: bounds what Redis may cost.
        kept: waits until what is acknowledged is kept.
        background: runs what outlives a request.
        deadline_s: for one command.
        event_bytes: of one event, at most.
        body_bytes: of one request, at most.
        on_append: told how many events were appended.
        on_missed: told how many events were removed before a consumer group had them.
    """

    def __init__(
        self,
        store: EventStore,
        tails: Tails,
        guard: Guard,
        kept: Keeping,
        background: Background,
        *,
        deadline_s: float,
        event_bytes: int,
        body_bytes: int,
        on_append: Callable[[int], None],
        on_missed: Callable[[int], None],
    ) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self._kept = kept
        self._background = background
        self._deadline_s = deadline_s
        self.event_bytes = event_bytes
        self.body_bytes = body_bytes
        self._on_append = on_append
        self._on_missed = on_missed
        self._trims: dict[tuple[str, str], bool] = {}  # streams being trimmed -> whether there is more to trim since
        self._complained_at = -COMPLAINT_S

    async def append(self, tenant: str, stream: str, events: Sequence[Fields]) -> list[str]:
        """Append events, all or none; their ids in order."""
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            event_ids, is_due = await self._store.append(tenant, stream, events)
        self._on_append(len(event_ids))
        if is_due:
            if (tenant, stream) not in self._trims:
                self._background.spawn(self._trim_while_due(tenant, stream), name="events-trim")
            self._trims[tenant, stream] = True
        return event_ids

    async def read(
        self,
        tenant: str,
        stream: str,
        *,
        after: str | None,
        before: str | None,
        limit: int,
        is_ascending: bool,
        filters: Filters,
    ) -> Page:
        """Read a part of a stream; a stream that is not there reads as an empty one."""
        found: list[StreamEntry] = []
        position: str | None = None
        scanned = size = 0
        while True:
            count = PAGE if filters else min(PAGE, limit + 1 - len(found))
            async with self._guard.within(self._deadline_s):
                page = await self._store.page(
                    tenant, stream, after=after, before=before, count=count, is_ascending=is_ascending
                )
            for entry in page:
                if len(found) == limit or size >= ANSWER_BYTES:
                    return Page(found, position, is_more=True)
                position = entry.entry_id
                if filters.passes(entry.fields):
                    found.append(entry)
                    size += sum(map(len, entry.fields.values()))
            scanned += len(page)
            if len(page) < count or scanned >= SCANNED:
                return Page(found, position, is_more=len(page) == count)
            after, before = (position, before) if is_ascending else (after, position)

    async def follow(self, tenant: str, stream: str, *, after: str | None) -> AsyncIterator[list[StreamEntry] | Gap]:
        """Every entry after an id, in order, as `services.tails` yields them; None begins with what comes from now on."""
        async with self._guard.within(self._deadline_s):  # an error now is a status; in the stream it would be a break
            await self._store.page(tenant, stream, after=None, before=None, count=1, is_ascending=True)
        return self._tails.follow(keys.events(tenant, stream), after=after, idle_s=IDLE_S)

    async def trim_now(
        self, tenant: str, stream: str, *, max_events: int | None, max_age_s: float | None, before: str | None
    ) -> Trimmed:
        """Remove exactly what need not be kept; what a consumer group has not acknowledged stays."""
        async with self._guard.within(self._deadline_s):
            return await self._store.trim_now(tenant, stream, max_events=max_events, max_age_s=max_age_s, before=before)

    async def configure(self, tenant: str, stream: str, wanted: dict[str, int | None]) -> StreamInfo:
        """Say what a stream keeps, and have it so at once; the stream need not be there yet."""
        async with self._guard.within(self._deadline_s):
            await self._store.configure(tenant, stream, wanted)
        await self._trim(tenant, stream)
        return await self.stream(tenant, stream)

    async def stream(self, tenant: str, stream: str) -> StreamInfo:
        """What is known of a stream; RequestError 404 if there is none."""
        async with self._guard.within(self._deadline_s):
            return await self._store.stream(tenant, stream)

    async def streams(self, tenant: str) -> list[str]:
        """Names of a tenant's streams, in order."""
        async with self._guard.within(self._deadline_s):
            return await self._store.streams(tenant)

    async def delete(self, tenant: str, stream: str) -> None:
        """Remove a stream with its events and groups; RequestError 404 if there is none."""
        async with self._guard.within(self._deadline_s):
            if not await self._store.delete(tenant, stream):
                raise no_stream(stream)

    async def sweep(self) -> None:
        """Trim every stream once."""
        async with self._guard.within(self._deadline_s):
            tenants = await self._store.tenants()
        for tenant in tenants:
            streams = await self.streams(tenant)
            if not streams:
                async with self._guard.within(self._deadline_s):
                    await self._store.forget_tenant(tenant)
            for stream in streams:
                await self._trim(tenant, stream)

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S * random.uniform(0.5, 1.5))  # noqa: S311  replicas need not sweep together
            try:
                await self.sweep()
            except StoreError as error:
                logger.debug("the sweep of events is put off: %s", error)

    async def _trim_while_due(self, tenant: str, stream: str) -> None:
        try:
            while self._trims[tenant, stream]:
                self._trims[tenant, stream] = False
                await self._trim(tenant, stream)
                await asyncio.sleep(TRIM_INTERVAL_S)
        except StoreError as error:
            logger.debug("trimming events is put off: %s", error)
        finally:
            del self._trims[tenant, stream]

    async def _trim(self, tenant: str, stream: str) -> None:
        is_more = True
        while is_more:
            async with self._guard.within(self._deadline_s):
                trimmed, is_more = await self._store.trim(tenant, stream)
            if trimmed.missed:
                self._on_missed(trimmed.missed)
                self._complain(stream)

    def _complain(self, stream: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= COMPLAINT_S:
            self._complained_at = now
            logger.warning(
                "events: stream %s holds more than max_unread_events: events were removed that a consumer group had not read. "
                "Have its consumers catch up, or delete the group.",
                stream,
            )
