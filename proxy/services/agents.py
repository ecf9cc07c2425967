"""What a caller may do with agents' states: each call checked, made within a deadline, and its outcome told or raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

from proxy.core.coordination import agents, keys
from proxy.core.coordination.agent_writes import Outcome, Write, Written
from proxy.core.coordination.agents import Bounds, Seat, State
from proxy.core.coordination.stored_values import from_stored
from proxy.core.coordination.versions import Conditions, VersionConflictError
from proxy.core.merge_patch import merge_patch
from proxy.core.stream_ids import BEGINNING
from proxy.errors import RequestError
from proxy.ports import Guard, Keeping, StreamEntry
from proxy.services.tails import Gap, Tails

WINDOW = 500
"""Agents looked at per step while listing only the living or the dead; some 2 ms of Redis' one thread."""
MERGE_TRIES = 50
"""Merges of one write, each undone by another Deja's write in between: this many in a row is a hot spot, not bad luck."""


class AgentStore(Protocol):
    """States of agents; `proxy.stores.agents.AgentStore` says what each method does. They raise StoreError."""

    async def read(self, tenant: str, agent: str) -> State | None:
        """An agent's state."""

    async def read_with_position(self, tenant: str, agent: str) -> tuple[State | None, str]:
        """An agent's state and the id of its newest transition."""

    async def write(self, tenant: str, agent: str, write: Write) -> Written:
        """Create, replace or patch a state."""

    async def delete(self, tenant: str, agent: str, conditions: Conditions) -> Written:
        """Delete a state."""

    async def beat(self, tenant: str, agent: str, *, ttl_s: float) -> tuple[int, float] | None:
        """Note a heartbeat."""

    async def page(
        self, tenant: str, *, status: str | None, below: Seat | None, count: int
    ) -> tuple[list[tuple[Seat, State]], str]:
        """Agents that changed last, first."""

    async def history(self, tenant: str, agent: str, *, after: str, count: int) -> tuple[list[StreamEntry], bool]:
        """Transitions after an id."""

    async def has_history(self, tenant: str, agent: str) -> bool:
        """Whether transitions are kept."""


class Agents:
    """Agents' states. Every method may raise StoreError, and RequestError for what is wrong with the request.

    Args:
        store: where they are.
        tails: follows their transitions.
        guard: bounds what Redis may cost.
        kept: waits until what is acknowledged is kept.
        bounds: how much there may be.
        deadline_s: for one command.
    """

    def __init__(
        self, store: AgentStore, tails: Tails, guard: Guard, kept: Keeping, *, bounds: Bounds, deadline_s: float
    ) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self._kept = kept
        self._bounds = bounds
        self._deadline_s = deadline_s
        self._merging: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def body_bytes(self) -> int:
        """Largest body worth reading: JSON may write a character of four bytes in twelve."""
        return 4 * self._bounds.state_bytes

    async def read(self, tenant: str, agent: str) -> State:
        """An agent's state; RequestError 404 if there is none."""
        agents.checked_id(agent)
        async with self._guard.within(self._deadline_s):
            state = await self._store.read(tenant, agent)
        if state is None:
            raise _not_found()
        return state

    async def replace(self, tenant: str, agent: str, body: Any, conditions: Conditions) -> tuple[State, str]:
        """Make the state what the body says; returns it, and `created`, `updated` or `same`. RequestError 412, 413."""
        agents.checked_id(agent)
        stored = agents.stored_fields(agents.checked_body(body), self._bounds)
        return _result(await self._write(tenant, agent, Write(is_whole=True, set=stored, conditions=conditions)))

    async def patch(self, tenant: str, agent: str, body: Any, conditions: Conditions) -> tuple[State, str]:
        """Change the state by a merge patch (RFC 7396); returns as `replace` does. RequestError 404, 412, 413."""
        agents.checked_id(agent)
        fields = agents.checked_body(body)
        stored = agents.stored_fields(fields, self._bounds)
        write = Write(
            is_whole=False,
            set=stored,
            unset=tuple(name for name, value in fields.items() if value is None),
            conditions=conditions,
        )
        patches = {name: value for name, value in fields.items() if isinstance(value, dict)}
        if not patches:
            return _result(await self._write(tenant, agent, write))
        return await self._merge(tenant, agent, write, patches)

    async def _merge(
        self, tenant: str, agent: str, write: Write, patches: Mapping[str, dict[str, Any]]
    ) -> tuple[State, str]:
        """Patch objects inside fields: read, merge, and write if they are still what was read.

        In turns within one process, so that a hundred callers at once cost a hundred writes, not five thousand tries.
        """
        async with self._merging.setdefault((tenant, agent), asyncio.Lock()):
            seen: dict[str, str | None] = dict.fromkeys(patches)
            for _ in range(MERGE_TRIES):
                whole = {
                    name: merge_patch(None if (text := seen[name]) is None else from_stored(text), patch)
                    for name, patch in patches.items()
                }
                stored = write.set | agents.stored_fields(whole, self._bounds)
                written = await self._write(tenant, agent, replace(write, set=stored, seen=seen))
                if written.outcome is not Outcome.MOVED:
                    return _result(written)
                seen = {name: written.stored.get(name) for name in patches}
        raise RequestError(
            "Others kept changing the same fields, and nothing was written: send the patch again, or fewer at once.",
            status=409,
            code="write_contention",
        )

    async def _write(self, tenant: str, agent: str, write: Write) -> Written:
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            written = await self._store.write(tenant, agent, write)
        self._check(written)
        return written

    def _check(self, written: Written) -> None:
        bounds = self._bounds
        match written.outcome:
            case Outcome.MISSING:
                raise _not_found()
            case Outcome.CONFLICT:
                raise VersionConflictError(None if written.state is None else written.state.version)
            case Outcome.TOO_MANY_AGENTS:
                raise RequestError(
                    f"There are {written.detail} agents already, and there may be {bounds.agents}: delete some, or raise "
                    "DEJA_AGENTS__MAX_AGENTS.",
                    status=409,
                    code="too_many_agents",
                )
            case Outcome.TOO_MANY_FIELDS:
                raise _too_large(f"{written.detail} fields", f"{bounds.fields}")
            case Outcome.TOO_LARGE:
                raise _too_large(f"{written.detail} bytes", f"{bounds.state_bytes}")

    async def delete(self, tenant: str, agent: str, conditions: Conditions) -> int:
        """Delete the state; returns the version that says so. RequestError 404, 412."""
        agents.checked_id(agent)
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            written = await self._store.delete(tenant, agent, conditions)
        self._check(written)
        return int(written.detail)

    async def beat(self, tenant: str, agent: str, *, ttl_s: float) -> tuple[int, float]:
        """Say that the agent lives; returns its version and until when it is alive. RequestError 404."""
        agents.checked_id(agent)
        async with self._guard.within(self._deadline_s):
            found = await self._store.beat(tenant, agent, ttl_s=ttl_s)
        if found is None:
            raise _not_found()
        return found

    async def page(
        self, tenant: str, *, status: str | None, alive: bool | None, below: Seat | None, limit: int
    ) -> tuple[list[State], Seat | None, str]:
        """A page of the tenant's agents, those that changed last first.

        Args:
            tenant: whose.
            status: only those of this status.
            alive: only the living, or only those whose heartbeat ran out.
            below: where the page before ended.
            limit: how many at most.

        Returns:
            The agents; where the next page begins, None if this is the last; the newest transition before they were read.
        """
        found: list[State] = []
        count = limit if alive is None else WINDOW
        position = None
        while True:
            async with self._guard.within(self._deadline_s):
                rows, newest = await self._store.page(tenant, status=status, below=below, count=count)
            position = position or newest
            for seat, state in rows:
                below = seat
                if alive is None or state.alive is alive:
                    found.append(state)
                if len(found) == limit:
                    is_last = len(rows) < count and seat == rows[-1][0]
                    return found, None if is_last else seat, position
            if len(rows) < count:
                return found, None, position

    async def history(
        self, tenant: str, agent: str, *, after: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Transitions after an id, oldest first, and whether some in between are no longer kept; RequestError 404."""
        agents.checked_id(agent)
        async with self._guard.within(self._deadline_s):
            entries, is_gap = await self._store.history(tenant, agent, after=after or BEGINNING, count=limit)
            if not entries and not await self._store.has_history(tenant, agent):
                raise _not_found()
        return [agents.transition(entry.entry_id, entry.fields) for entry in entries], is_gap

    async def watched(self, tenant: str, agent: str, *, after: str | None) -> tuple[State | None, str]:
        """Where a watch begins: the state now for one who has seen nothing yet, and the transition to go on from. RequestError 404."""
        agents.checked_id(agent)
        async with self._guard.within(self._deadline_s):
            if after is not None and await self._store.has_history(tenant, agent):
                return None, after
            state, position = await self._store.read_with_position(tenant, agent)
        if state is None:
            raise _not_found()
        return state, position

    def watch(self, tenant: str, agent: str, *, after: str) -> AsyncIterator[list[StreamEntry] | Gap]:
        """An agent's transitions after an id, as they come; see `Tails.follow`."""
        return self._tails.follow(keys.agent_history(tenant, agent), after=after)

    def watch_all(self, tenant: str, *, after: str | None) -> AsyncIterator[list[StreamEntry] | Gap]:
        """All agents' transitions after an id, or from now on, as they come."""
        return self._tails.follow(keys.agents_feed(tenant), after=after)


def _result(written: Written) -> tuple[State, str]:
    assert written.state is not None, "what was written is there"
    return written.state, written.detail


def _not_found() -> RequestError:
    return RequestError(
        "There is no such agent: it was never written with this credential, or it was deleted. PUT creates it.",
        status=404,
        code="agent_not_found",
        param="agent_id",
    )


def _too_large(would_be: str, limit: str) -> RequestError:
    return RequestError(
        f"The agent's state would have {would_be}, more than {limit}; nothing was written. Remove some, or keep them elsewhere.",
        status=413,
        code="state_too_large",
        param="body",
    )
