"""The log of decisions: per tenant two capped streams, an index of request ids, the votes and the last rooms asked in.

    judged   XADD {request_id, at, namespace, decision (JSON)}   the semantic tier was asked; sealed where keys are set
    other    XADD {request_ids, decisions (JSON array)}          it was not: exact hits, questions never matched by meaning
    ids      HSET request id -> "<1 for judged, 2 for other> <stream id>"
    votes    HSET request id -> right | wrong
    rooms    ZADD a room with digests of its fields (JSON), by when it was last asked in
    erased   ZADD request id, by when it was erased (`stores.erasure`): one that is still to be written is not written any more

Exact hits are kept apart, because a busy hour of them would push everything worth reading out of the other stream; and in packs of a batch,
because they are many and hardly ever read. Each stream holds `max_per_tenant` decisions, none older than `ttl_s`. A batch is one
script per tenant; written twice, after an outage, it does no harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord, Room, from_told, told
from proxy.core.keys import DecisionKeys
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

ROOMS = 64
"""Rooms remembered per tenant, about 0.5 KB each: an application has a handful of prompts and settings at a time."""
PAGE = 200
"""Decisions read per round trip: some 300 KB, a few milliseconds of Redis' one thread."""


class DecisionStore:
    """Decisions in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a decision is kept.
        max_per_tenant: decisions kept per stream.
        now: unix time in seconds; what is too old is removed by the next batch, and until then not read.
        seal: encrypts the decisions that quote questions.
    """

    def __init__(
        self,
        client: Redis,
        *,
        ttl_s: int,
        max_per_tenant: int,
        now: Callable[[], float],
        seal: Seal | NoSeal = NO_SEAL,
    ) -> None:
        self._client = client
        self._now = now
        self._ttl_s = ttl_s
        self._max = max_per_tenant
        self._decision = sealed_decision(seal)
        self._append = client.register_script(script("append_decisions"))

    async def append(self, records: Sequence[tuple[DecisionRecord, Room | None]]) -> None:
        """Write a batch in one round trip, each tenant's part atomically. A room is given where it may be new."""
        tenant_of = attrgetter("tenant")
        ordered = sorted(records, key=lambda pair: tenant_of(pair[0]))
        calls = [self._call(tenant, list(batch)) for tenant, batch in groupby(ordered, lambda pair: tenant_of(pair[0]))]
        with translated():
            try:
                await self._send(calls)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                await self._client.script_load(self._append.script)
                await self._send(calls)

    async def _send(self, calls: Sequence[Sequence[Any]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(self._append.sha, *call)
            await pipe.execute()

    def _call(self, tenant: str, batch: Sequence[tuple[DecisionRecord, Room | None]]) -> list[Any]:
        rooms = [(record.at, _room_to_wire(room)) for record, room in batch if room is not None]
        judged = [record for record, _ in batch if record.is_judged]
        others = [record for record, _ in batch if not record.is_judged]
        call: list[Any] = [6, *_names(keys.decision_keys(tenant)), self._max, self._ttl_s, ROOMS]
        call += (len(rooms), len(judged), len(others))
        for at, room in rooms:
            call += (at, room)
        for record in judged:
            call += (record.request_id, f"{record.at:.3f}", record.namespace)
            call.append(self._decision.put(orjson.dumps(told(record)), of=tenant))
        if others:
            call.append(orjson.dumps([told(record) for record in others]))
            call += [record.request_id for record in others]
        return call

    async def read(self, tenant: str, request_id: str) -> DecisionRecord | None:
        """A tenant's decision; None if it is not there, or another tenant's. Two round trips."""
        at = keys.decision_keys(tenant)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hget(at.ids, request_id)
                pipe.hget(at.votes, request_id)
                place, vote = await pipe.execute()
            if place is None:
                return None
            number, _, stream_id = place.decode().partition(" ")
            if int(stream_id.partition("-")[0]) < self._oldest_ms():
                return None
            found: Any = await self._client.xrange(_names(at)[int(number) - 1], stream_id, stream_id)
        records = (one for _, fields in found for one in self._told_in(fields, tenant))
        return next((_record(one, tenant, vote) for one in records if one["request_id"] == request_id), None)

    async def recent(
        self, tenant: str, namespace: str | None = None, *, limit: int, is_judged: bool = True
    ) -> AsyncIterator[DecisionRecord]:
        """A tenant's decisions, newest first; a round trip or two per `PAGE` of them.

        Args:
            tenant: whose.
            namespace: only of this one, None for all.
            limit: how many at most.
            is_judged: those of the semantic tier; False for all the others.
        """
        at = keys.decision_keys(tenant)
        stream, newest, given = at.judged if is_judged else at.other, "+", 0
        while given < limit:
            with translated():
                page: Any = await self._client.xrevrange(stream, newest, str(self._oldest_ms()), count=PAGE)
                found = [one for _, fields in page for one in reversed(self._told_in(fields, tenant))]
                wanted = [one for one in found if namespace is None or one.get("namespace", "") == namespace]
                votes = await self._votes(at, wanted[: limit - given])
            for one, vote in zip(wanted, votes, strict=False):
                yield _record(one, tenant, vote)
            given += len(votes)
            if len(page) < PAGE:
                return
            newest = f"({page[-1][0].decode()}"

    async def _votes(self, at: DecisionKeys, page: Sequence[dict[str, Any]]) -> list[bytes | None]:
        if not page:
            return []
        found: Any = await self._client.hmget(at.votes, [one["request_id"] for one in page])
        return list(found)

    def told_in(self, tenant: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """The decisions of an entry that `stores.tails` read, as `decision_log.from_told` reads them, oldest first."""
        return self._told_in({name.encode(): value.encode() for name, value in fields.items()}, tenant)

    def _told_in(self, fields: Mapping[bytes, bytes], tenant: str) -> list[dict[str, Any]]:
        """The decisions of a stream's entry, oldest first: one, or a pack of them; none where it cannot be opened."""
        if b"decision" not in fields:
            pack: list[dict[str, Any]] = orjson.loads(fields[b"decisions"])
            return pack
        decision = self._decision.get(fields[b"decision"], of=tenant)
        return [] if decision is None else [orjson.loads(decision)]

    def _oldest_ms(self) -> int:
        return int((self._now() - self._ttl_s) * 1000)

    async def rooms(self, tenant: str) -> list[Room]:
        """The rooms a tenant asked in lately, newest first."""
        with translated():
            found: Any = await self._client.zrevrange(keys.decision_keys(tenant).rooms, 0, -1, withscores=True)
        return [_room(member, float(score)) for member, score in found]

    async def vote(self, tenant: str, request_id: str, vote: str) -> None:
        """Write down what a caller said of a hit; the last word stays."""
        at = keys.decision_keys(tenant)
        with translated():
            await self._client.hset(at.votes, request_id, vote)
            await self._client.expire(at.votes, self._ttl_s)


def sealed_decision(seal: Seal | NoSeal) -> SealedField:
    """The field `decision` of the stream `judged`, bound to its tenant."""
    return SealedField(seal, "decision")


def _names(at: DecisionKeys) -> tuple[str, ...]:
    """The keys in the order of the script."""
    return at.judged, at.other, at.ids, at.votes, at.rooms, at.erased


def _record(one: dict[str, Any], tenant: str, vote: bytes | None) -> DecisionRecord:
    return from_told(one, tenant=tenant, vote=vote.decode() if vote else None)


def _room(member: bytes, at: float) -> Room:
    room, fields = orjson.loads(member)
    return Room(room, fields, at)


def _room_to_wire(room: Room) -> bytes:
    """Always the same bytes for the same room, so that the sorted set holds it once."""
    return orjson.dumps([room.room, room.fields], option=orjson.OPT_SORT_KEYS)
