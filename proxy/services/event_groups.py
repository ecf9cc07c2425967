"""Consumer groups of streams of events, within deadlines; a consumer that waits holds no connection to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from proxy.core.coordination import keys
from proxy.core.coordination.events import GroupInfo, GroupRead, no_group
from proxy.ports import Guard
from proxy.services.background import Background
from proxy.services.tails import Tails

LOOK_AGAIN_S = 5.0
"""While waiting: between two looks for what others have left, which nothing announces."""
GRACE_S = 1.0
"""How much longer than it wants a wait may take to begin; after that Redis is asked anew, and its absence told."""


class EventGroupStore(Protocol):
    """Consumer groups. Methods raise `StoreError` and its branches, and RequestError where said."""

    async def create(self, tenant: str, stream: str, group: str, *, start: str) -> bool:
        """Make a group; False if it was there. RequestError 409: too many."""

    async def read(
        self, tenant: str, stream: str, group: str, consumer: str, *, count: int, is_recovering: bool, min_idle_ms: int
    ) -> GroupRead:
        """Give a consumer its next events. RequestError 404: no such group."""

    async def acknowledge(self, tenant: str, stream: str, group: str, event_ids: Sequence[str]) -> int:
        """Take events off what is pending. RequestError 404: no such group."""

    async def groups(self, tenant: str, stream: str) -> list[GroupInfo]:
        """A stream's groups."""

    async def delete(self, tenant: str, stream: str, group: str) -> bool:
        """Remove a group; False if there was none."""


class EventGroups:
    """A tenant's consumer groups; raises StoreError when Redis does not do its part in time, RequestError 404 for an unknown group.

    Args:
        store: where they are.
        tails: tells of new events.
        guard: bounds what Redis may cost.
        background: where a caller that waits is watched.
        deadline_s: for one command.
    """

    def __init__(
        self, store: EventGroupStore, tails: Tails, guard: Guard, background: Background, *, deadline_s: float
    ) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self.background = background
        self._deadline_s = deadline_s

    async def create(self, tenant: str, stream: str, group: str, *, start: str) -> tuple[GroupInfo, bool]:
        """Make a group that gets what follows an id (`$`: what comes from now on); one that is there stays as it is.

        Returns:
            The group, and whether it is new.
        """
        async with self._guard.within(self._deadline_s):
            is_new = await self._store.create(tenant, stream, group, start=start)
        return await self.group(tenant, stream, group), is_new

    async def read(
        self,
        tenant: str,
        stream: str,
        group: str,
        consumer: str,
        *,
        count: int,
        wait_s: float,
        is_recovering: bool,
        min_idle_s: float,
    ) -> GroupRead:
        """Give a consumer its next events, and wait for some if there are none.

        Args:
            tenant: whose.
            stream: of events.
            group: of the stream.
            consumer: who reads; it comes into being by that.
            count: how many events at most.
            wait_s: seconds to wait for the first; 0 not to.
            is_recovering: begin with what this consumer was given and has not acknowledged.
            min_idle_s: what nobody acknowledged for so long is given anew, to whoever asks.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wait_s
        while True:
            async with self._guard.within(self._deadline_s):
                found = await self._store.read(
                    tenant,
                    stream,
                    group,
                    consumer,
                    count=count,
                    is_recovering=is_recovering,
                    min_idle_ms=round(min_idle_s * 1000),
                )
            left_s = give_up_at - loop.time()
            if found.events or left_s <= 0:
                return found
            if not await self._is_woken(keys.events(tenant, stream), found.position, min(left_s, LOOK_AGAIN_S)):
                return found

    async def _is_woken(self, key: str, position: str, wait_s: float) -> bool:
        """Wait for an entry after a position, at most so long; False when Deja shuts down."""
        try:
            async with (
                asyncio.timeout(wait_s + GRACE_S),
                aclosing(self._tails.follow(key, after=position, idle_s=wait_s)) as tail,  # type: ignore[type-var]
            ):
                async for _ in tail:
                    return True
        except TimeoutError:
            return True
        return False

    async def acknowledge(self, tenant: str, stream: str, group: str, event_ids: Sequence[str]) -> int:
        """Take events off what is pending; how many there were."""
        async with self._guard.within(self._deadline_s):
            return await self._store.acknowledge(tenant, stream, group, event_ids)

    async def groups(self, tenant: str, stream: str) -> list[GroupInfo]:
        """A stream's groups by name; none for a stream that is not there."""
        async with self._guard.within(self._deadline_s):
            return await self._store.groups(tenant, stream)

    async def group(self, tenant: str, stream: str, group: str) -> GroupInfo:
        """One of them."""
        found = next((each for each in await self.groups(tenant, stream) if each.name == group), None)
        if found is None:
            raise no_group(group, stream)
        return found

    async def delete(self, tenant: str, stream: str, group: str) -> None:
        """Remove a group with what it has pending."""
        async with self._guard.within(self._deadline_s):
            if not await self._store.delete(tenant, stream, group):
                raise no_group(group, stream)
