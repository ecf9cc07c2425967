"""Agents' states: a hash each, their transitions as streams, sorted sets to list them by. Each method is one script, and atomic.

state      hash    version, last_updated (unix s), alive, alive_until once it is dead, and the caller's fields (text or JSON)
history    stream  {type, agent, version, at, set:<field> …, unset:<field> …}: one entry per transition, versions without a gap
feed       stream  the same entries of all the tenant's agents
agents     zset    agents by when they last changed (unix ms); one more for each status
alive      zset    agents by when their heartbeat runs out (unix ms); those whose death has been written down are no longer in it
floor      string  highest version of a deleted agent, so that one that comes back goes on above it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core.coordination import keys
from proxy.core.coordination.agent_writes import Outcome, Write, Written
from proxy.core.coordination.agents import Bounds, Seat, State, state_of
from proxy.core.coordination.versions import Conditions, Versions
from proxy.core.stream_ids import BEGINNING
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.responses import script

LISTED = ("version", "last_updated", "alive", "alive_until", "status", "current_task", "assigned_by")
"""Fields read for a list; what may be large is left out."""
SWEEP = 100
"""Deaths written down by one script, some 20 us each: Redis has one thread."""
SWEPT_AT_ONCE = 100
"""Tenants per round trip."""
REGISTERED_S = 60.0
"""How long a process takes a tenant for one that sweepers know, whatever happened to Redis meanwhile."""
MAX_REGISTERED = 10_000
FORGOTTEN_S = 86_400.0
"""After its last heartbeat has run out, for so long a tenant is swept in vain: more than clocks of machines may differ."""


@dataclass(frozen=True, slots=True)
class _Names:
    """Keys and beginnings of keys of one tenant, as the scripts take them."""

    tenant: str

    @property
    def shared(self) -> list[str]:
        return [keys.agents(self.tenant), keys.agents_alive(self.tenant), keys.agents_feed(self.tenant)]

    @property
    def beginnings(self) -> list[str]:
        return [
            keys.agent(self.tenant, ""),
            keys.agent_history(self.tenant, ""),
            keys.agents_of_status(self.tenant, ""),
        ]


class AgentStore:
    """States in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        bounds: how much there may be.
        now: unix time in seconds; only for knowing which tenants to sweep.
    """

    def __init__(self, client: Redis, *, bounds: Bounds, now: Callable[[], float]) -> None:
        self._client = client
        self._bounds = bounds
        self._now = now
        self._registered: dict[str, float] = {}  # tenant -> until when it need not be registered again
        common = script("agent_transition")
        self._write, self._delete, self._beat, self._sweep = (
            client.register_script(f"{common}\n{script(name)}")
            for name in ("agent_write", "agent_delete", "agent_beat", "agent_sweep")
        )
        self._read = client.register_script(script("agent_read"))
        self._list = client.register_script(script("agent_list"))

    async def read(self, tenant: str, agent: str) -> State | None:
        """An agent's state, None if there is none."""
        return (await self._read_at(tenant, agent, "0"))[0]

    async def read_with_position(self, tenant: str, agent: str) -> tuple[State | None, str]:
        """An agent's state and the id of the newest transition, both of one moment."""
        return await self._read_at(tenant, agent, "1")

    async def _read_at(self, tenant: str, agent: str, wants_position: str) -> tuple[State | None, str]:
        names = [keys.agent(tenant, agent), keys.agents_alive(tenant), keys.agent_history(tenant, agent)]
        with translated():
            position, until, now_ms, *flat = await self._read(names, [agent, wants_position])
        return _state(agent, _texts(zip(flat[::2], flat[1::2], strict=True)), until, now_ms), position.decode()

    async def write(self, tenant: str, agent: str, write: Write) -> Written:
        """Create, replace or patch a state; tells why not where nothing was written."""
        arguments: list[Any] = [*self._common(tenant), agent, "put" if write.is_whole else "patch"]
        arguments += _conditions(write.conditions)
        arguments += [self._bounds.agents, self._bounds.fields, self._bounds.state_bytes]
        arguments += [len(write.seen), len(write.set)]
        for field, seen in write.seen.items():
            arguments += (field, "0" if seen is None else "1", seen or "")
        for field, value in write.set.items():
            arguments += (field, value)
        arguments += write.unset
        names = [*_Names(tenant).shared, keys.agents_floor(tenant)]
        with translated():
            return _written(agent, await self._write(names, arguments))

    async def delete(self, tenant: str, agent: str, conditions: Conditions) -> Written:
        """Delete a state; its history stays for a while, and what comes later has a higher version."""
        arguments = [*self._common(tenant), agent, self._bounds.deleted_ttl_s, *_conditions(conditions)]
        names = [*_Names(tenant).shared, keys.agents_floor(tenant)]
        with translated():
            return _written(agent, await self._delete(names, arguments))

    async def beat(self, tenant: str, agent: str, *, ttl_s: float) -> tuple[int, float] | None:
        """Note a heartbeat.

        Returns:
            The agent's version and until when it is alive (unix seconds), None if there is no such agent.
        """
        await self._register(tenant, ttl_s)
        with translated():
            found = await self._beat(_Names(tenant).shared, [*self._common(tenant), agent, int(ttl_s * 1000)])
        return None if found is None else (int(found[0]), int(found[1]) / 1000)

    async def _register(self, tenant: str, ttl_s: float) -> None:
        """Let sweepers know of the tenant. Before its agent is alive: one that nobody sweeps would never die."""
        now = self._now()
        if self._registered.get(tenant, 0.0) > now:
            return
        with translated():
            await self._client.zadd(keys.AGENT_TENANTS, {tenant: int((now + ttl_s + FORGOTTEN_S) * 1000)}, gt=True)
        if len(self._registered) > MAX_REGISTERED:
            self._registered.clear()
        self._registered[tenant] = now + REGISTERED_S

    async def sweep(self) -> int:
        """Write down every death that has not been; returns how many there were. A round trip for each hundred tenants."""
        now_ms = int(self._now() * 1000)
        deaths = 0
        with translated():
            found: Any = await self._client.zrange(keys.AGENT_TENANTS, 0, -1)
            tenants = [tenant.decode() for tenant in found]
            for start in range(0, len(tenants), SWEPT_AT_ONCE):
                deaths += await self._sweep_all(tenants[start : start + SWEPT_AT_ONCE])
            if tenants:
                await self._client.zremrangebyscore(keys.AGENT_TENANTS, "-inf", now_ms)
        return deaths

    async def _sweep_all(self, tenants: Sequence[str]) -> int:
        deaths = 0
        while tenants:
            try:
                counts = await self._sweep_each(tenants)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                await self._client.script_load(self._sweep.script)
                counts = await self._sweep_each(tenants)
            deaths += sum(counts)
            tenants = [tenant for tenant, count in zip(tenants, counts, strict=True) if count == SWEEP]
        return deaths

    async def _sweep_each(self, tenants: Sequence[str]) -> list[int]:
        async with self._client.pipeline(transaction=False) as pipe:
            for tenant in tenants:
                pipe.evalsha(self._sweep.sha, 3, *_Names(tenant).shared, *self._common(tenant), SWEEP)
            return [int(count) for count in await pipe.execute()]

    async def page(
        self, tenant: str, *, status: str | None, below: Seat | None, count: int
    ) -> tuple[list[tuple[Seat, State]], str]:
        """Agents that changed last, first, without what may be large in them.

        Args:
            tenant: whose.
            status: only those of this status.
            below: only those after this place in the list.
            count: how many at most; fewer mean that there are no more.

        Returns:
            The agents with their places; the id of the newest transition of any agent at that moment.
        """
        names = [
            keys.agents(tenant) if status is None else keys.agents_of_status(tenant, status),
            keys.agents_alive(tenant),
            keys.agents_feed(tenant),
        ]
        found: list[tuple[Seat, State]] = []
        skipped = 0
        while True:
            top = "+inf" if below is None else below.changed_ms
            window = count - len(found)
            with translated():
                now_ms, newest, *rows = await self._list(names, [keys.agent(tenant, ""), top, skipped, window, *LISTED])
            listed = [_listed(row, now_ms) for row in rows]
            # Several may have changed in the same millisecond: those before the place are read again, and left out here.
            found += [(seat, state) for seat, state in listed if below is None or seat < below]
            skipped += len(rows)
            if len(found) == count or len(rows) < window:
                return found, newest.decode()

    async def history(self, tenant: str, agent: str, *, after: str, count: int) -> tuple[list[StreamEntry], bool]:
        """The first `count` transitions after an id, and whether some between may be no longer kept."""
        key = keys.agent_history(tenant, agent)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xrange(key, min=f"({after}", count=count)
                pipe.xrange(key, max=after, count=1)
                page, earlier = await pipe.execute()
        is_gap = bool(page) and not earlier and after != BEGINNING
        return [StreamEntry(entry_id.decode(), _texts(fields.items())) for entry_id, fields in page], is_gap

    async def has_history(self, tenant: str, agent: str) -> bool:
        """Whether transitions are kept, be it of an agent that was deleted."""
        with translated():
            return bool(await self._client.exists(keys.agent_history(tenant, agent)))

    def _common(self, tenant: str) -> list[Any]:
        """The first arguments of every script that may make a transition."""
        bounds = self._bounds
        return [*_Names(tenant).beginnings, bounds.history, bounds.feed, bounds.history_bytes]


def _conditions(conditions: Conditions) -> tuple[str, str]:
    def wire(versions: Versions | None) -> str:
        return "" if versions is None else versions.wire

    return wire(conditions.match), wire(conditions.none_match)


def _texts(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in pairs}


def _state(agent: str, stored: dict[str, str], until: bytes | None, now_ms: int) -> State | None:
    if not stored:
        return None
    return state_of(agent, stored, alive_until_ms=None if until is None else float(until), now_ms=now_ms)


def _written(agent: str, reply: Sequence[Any]) -> Written:
    outcome, detail, until, now_ms, *flat = reply
    stored = _texts(zip(flat[::2], flat[1::2], strict=True))
    return Written(Outcome(outcome.decode()), detail.decode(), _state(agent, stored, until, now_ms), stored)


def _listed(row: Sequence[Any], now_ms: int) -> tuple[Seat, State]:
    agent, changed_ms, until, *values = row
    stored = _texts((name.encode(), value) for name, value in zip(LISTED, values, strict=True) if value is not None)
    seat = Seat(int(changed_ms), agent.decode())
    return seat, state_of(seat.agent_id, stored, alive_until_ms=None if until is None else float(until), now_ms=now_ms)
