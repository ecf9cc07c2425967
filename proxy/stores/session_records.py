"""Recorded requests on their way into sessions: their turns, and traces of what they left elsewhere.

An erasure refuses what began before it and is written after it. The moments compared are of Redis' clock alone: it is read before each
batch, and a request's age taken off. So clocks need not agree, and a request that began before an erasure never seems to follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from proxy.core import keys, traces
from proxy.core.records import Record
from proxy.core.sessions import estimated
from proxy.core.traces import Trace
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal
from proxy.stores.session_index import SessionIndex, facets
from proxy.stores.sessions import Limits, sealed_message, session_keys

_NOBODY = "all"


class SessionRecords:
    """Writes recorded requests. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        index: lists sessions.
        limits: what a session may take.
        trace_s: seconds for which what a request left elsewhere, a decision or a step of a recording, may be there.
        now: unix time in seconds, as in the records.
        seal: encrypts messages.
    """

    def __init__(
        self,
        client: Redis,
        index: SessionIndex,
        *,
        limits: Limits,
        trace_s: int,
        now: Callable[[], float],
        seal: Seal | NoSeal = NO_SEAL,
    ) -> None:
        self._client = client
        self._index = index
        self._limits = limits
        self._trace_s = trace_s
        self._now = now
        self._message = sealed_message(seal)
        prelude = script("session_prelude")
        self._record = client.register_script(prelude + script("session_record"))
        self._settle = client.register_script(prelude + script("session_settle"))
        self._trace = client.register_script(script("session_trace"))

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Write the turns of a batch, each request's atomically and once; whether each may be: False, what it belongs to was erased since.

        Three round trips, and none for requests without session and user.
        """
        is_kept = [True] * len(records)
        if not any(record.session or record.user for record in records):
            return is_kept
        behind_s = await self.clock()
        spoken = [at for at, record in enumerate(records) if record.user and record.request_id]
        replies = await self._send([(self._trace, self._traced(records[at], behind_s)) for at in spoken])
        for at, reply in zip(spoken, replies, strict=True):
            is_kept[at] = reply == 1
        named = [at for at, record in enumerate(records) if record.session and is_kept[at]]
        # All in one round trip: what is listed first, and a session once, however much is written of it.
        listings = list({self._listing(records[at]): None for at in named})
        calls = [(self._index.add_script, self._listed(listing)) for listing in listings]
        calls += [(self._record, self._recorded(records[at], behind_s)) for at in named]
        replies = await self._send(calls)
        listed_ms = dict(zip(listings, replies, strict=False))
        for at, (state, _) in zip(named, replies[len(listings) :], strict=True):
            is_kept[at] = state >= 0
            if not is_kept[at]:
                await self._unlist(records[at], listed_ms[self._listing(records[at])])
        return is_kept

    async def _unlist(self, record: Record, listed_ms: int) -> None:
        """A session that is gone was listed for a write that it then refused."""
        session = record.session or ""
        meta = keys.session_key(keys.session_tag(record.tenant, session), "meta")
        with translated():
            if not await self._client.exists(meta):
                await self._index.remove(record.tenant, [session], before_ms=listed_ms)

    async def settle(self, records: Sequence[Record]) -> list[bool]:
        """After their events were written: let those live as long as their session; False where it was erased meanwhile."""
        is_kept = [True] * len(records)
        named = [at for at, record in enumerate(records) if record.session]
        if not named:
            return is_kept
        behind_s = await self.clock()
        parts = list({self._part(records[at]): None for at in named})
        replies = await self._send([(self._settle, self._settled(*part)) for part in parts])
        erased = dict(zip(parts, replies, strict=True))
        for at in named:
            began_ms = _began_ms(records[at], behind_s)
            is_kept[at] = all(moment is None or began_ms > int(moment) for moment in erased[self._part(records[at])])
        return is_kept

    async def clock(self) -> float:
        """Seconds that Redis' clock is ahead of ours, at least."""
        with translated():
            seconds, microseconds = await self._client.time()
        return float(seconds + microseconds / 1e6 - self._now())

    def _traced(self, record: Record, behind_s: float) -> list[Any]:
        tag = keys.user_tag(record.tenant, record.user or "")
        at = [keys.user_key(tag, name) for name in ("requests", "erased")]
        wire = traces.to_wire(Trace(record.request_id, record.session or ""))
        return [2, *at, _began_ms(record, behind_s), self._until_ms(record, behind_s), wire]

    @staticmethod
    def _listing(record: Record) -> tuple[str, str, str | None, str | None]:
        return record.tenant, record.session or "", record.user, record.agent

    def _listed(self, listing: tuple[str, str, str | None, str | None]) -> list[Any]:
        tenant, session, user, agent = listing
        return self._index.added(tenant, session, facets(tenant, user=user, agent=agent))

    def _recorded(self, record: Record, behind_s: float) -> list[Any]:
        session, limits = record.session or "", self._limits
        tag = keys.user_tag(record.tenant, record.user) if record.user else ""
        wire = traces.to_wire(Trace(record.request_id, session)) if record.request_id else b""
        call: list[Any] = [*self._head(record.tenant, session), limits.max_turns, limits.max_bytes]
        call += (_began_ms(record, behind_s), record.request_id, record.user or "", tag, record.agent or "")
        call += (f"{record.at:.3f}", wire, self._until_ms(record, behind_s))
        for role, message in record.turns:
            call += (role, self._message.put(message, of=record.tenant), estimated(message))
        return call

    @staticmethod
    def _part(record: Record) -> tuple[str, str, str]:
        return record.tenant, record.session or "", record.user or ""

    def _settled(self, tenant: str, session: str, user: str) -> list[Any]:
        return [*self._head(tenant, session), keys.user_tag(tenant, user) if user else _NOBODY]

    def _head(self, tenant: str, session: str) -> list[Any]:
        found = session_keys(tenant, session)
        return [len(found), *found, tenant, session, self._limits.ttl_s]

    def _until_ms(self, record: Record, behind_s: float) -> int:
        return int((record.at + behind_s + self._trace_s) * 1000) + 1000

    async def _send(self, calls: Sequence[tuple[AsyncScript, list[Any]]]) -> list[Any]:
        """All calls in one round trip, in order."""
        if not calls:
            return []
        with translated():
            try:
                return await self._pipelined(calls)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                for one in {id(called): called for called, _ in calls}.values():
                    await self._client.script_load(one.script)
                return await self._pipelined(calls)

    async def _pipelined(self, calls: Sequence[tuple[AsyncScript, list[Any]]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for called, arguments in calls:
                pipe.evalsha(called.sha, *arguments)
            replies: list[Any] = await pipe.execute()
        return replies


def _began_ms(record: Record, behind_s: float) -> int:
    """When a request began, by Redis' clock."""
    return int((record.began_at + behind_s) * 1000)
