"""Erases what sessions left elsewhere: cache entries, decisions, events of the journal and of applications. In batches, for Redis' sake.

Everything here may be done again: what is gone is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.coordination import keys as shared
from proxy.core.traces import Trace
from proxy.core.worth import name_of
from proxy.stores.client import translated
from proxy.stores.decisions import sealed_decision
from proxy.stores.embedder_names import EmbedderNames
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal

CONDEMNED_S = 180 * 86_400
"""As for an answer called wrong: contexts that lead through an entry may live as long as the longest answers."""
JOURNAL_PAGE = 500
"""Events looked at by one script: 1 ms of Redis' one thread."""
DECISIONS_PAGE = 200
IDS_AT_ONCE = 500
MARKED_S = 86_400
"""As in session_prelude.lua."""


class EntryEraser:
    """Cache entries in Redis. Raises the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._names = EmbedderNames(client)
        self._erase = client.register_script(script("erase_entry"))

    async def erase(self, traces: Iterable[Trace]) -> int:
        """Remove the entries that requests stored, with what leads to them; returns how many were still there."""
        erased, wanted = 0, list(traces)
        homes = await self._names.homes([trace.entry_key for trace in wanted])
        with translated():
            for trace, places in zip(wanted, homes, strict=True):
                at = [trace.condemned_key, trace.exact_key, *places]
                erased += int(await self._erase(keys=at, args=[trace.entry_id, CONDEMNED_S]))
                # Beside the script: the sets span all rooms and so live in other slots of a cluster.
                await self._client.zrem(keys.EXPIRY, *places)
                await self._client.zrem(keys.EARNED, name_of(trace.entry_id))
        return erased


class JournalEraser:
    """The journal in Redis. Raises the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._erase = client.register_script(script("erase_journal"))

    async def erase_page(
        self, tenant: str, *, sessions: Sequence[str], request_ids: Sequence[str], after: str
    ) -> tuple[str | None, int]:
        """Remove events of some sessions and requests from the next page; (where the next one begins, None at the end; how many)."""
        with translated():
            last, gone = await self._erase(
                keys=[keys.JOURNAL], args=[after, JOURNAL_PAGE, tenant, len(sessions), *sessions, *request_ids]
            )
        return last.decode() if last else None, int(gone)


class EventEraser:
    """Events that applications appended, in Redis. Raises the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._erase = client.register_script(script("erase_events"))

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove a session's events from all streams of a tenant; returns how many there were."""
        erased = 0
        with translated():
            streams: Any = await self._client.smembers(shared.event_streams(tenant))
            for stream in sorted(streams):
                after: Any = "0-0"
                while after:
                    at = [shared.events(tenant, stream.decode())]
                    after, gone = await self._erase(keys=at, args=[after, JOURNAL_PAGE, session])
                    erased += int(gone)
        return erased


class DecisionEraser:
    """The log of decisions in Redis. Raises the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._decision = sealed_decision(seal)
        self._rewrite = client.register_script(script("rewrite_decisions"))

    async def erase(self, tenant: str, request_ids: Sequence[str]) -> int:
        """Remove the decisions of some requests; those still to be written will not be. Returns how many there were."""
        erased = 0
        for start in range(0, len(request_ids), IDS_AT_ONCE):
            erased += await self._erase_some(tenant, request_ids[start : start + IDS_AT_ONCE])
        return erased

    async def _erase_some(self, tenant: str, request_ids: Sequence[str]) -> int:
        at = keys.decision_keys(tenant)
        with translated():
            seconds, _ = await self._client.time()
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zadd(at.erased, dict.fromkeys(request_ids, seconds))
                pipe.zremrangebyscore(at.erased, "-inf", seconds - MARKED_S)
                pipe.expire(at.erased, MARKED_S)
                pipe.hmget(at.ids, list(request_ids))
                *_, places = await pipe.execute()
            found = [place.decode().partition(" ")[::2] for place in places if place is not None]
            judged = [stream_id for number, stream_id in found if number == "1"]
            for pack in sorted({stream_id for number, stream_id in found if number == "2"}):
                await self._take_out(tenant, pack, set(request_ids))
            async with self._client.pipeline(transaction=True) as pipe:
                if judged:
                    pipe.xdel(at.judged, *judged)
                pipe.hdel(at.ids, *request_ids)
                pipe.hdel(at.votes, *request_ids)
                await pipe.execute()
        return len(found)

    async def _take_out(self, tenant: str, pack: str, erased: Collection[str]) -> None:
        at = keys.decision_keys(tenant)
        entries: Any = await self._client.xrange(at.other, pack, pack)
        for _, fields in entries:
            left = [one for one in orjson.loads(fields[b"decisions"]) if one["request_id"] not in erased]
            names = [one["request_id"] for one in left]
            new: list[Any] = ["request_ids", " ".join(names), "decisions", orjson.dumps(left)] if left else []
            await self._rewrite(keys=[at.other, at.ids], args=[pack, 2, len(new), *new, *names])

    async def forget_questions(self, tenant: str, entry_ids: Collection[str]) -> None:
        """Take the texts of some entries' questions out of all decisions that saw them as neighbours; the decisions stay."""
        at = keys.decision_keys(tenant)
        newest: str | None = "+"
        while newest is not None and entry_ids:
            with translated():
                page: Any = await self._client.xrevrange(at.judged, newest, "-", count=DECISIONS_PAGE)
                for entry_id, fields in page:
                    quoted = self._decision.get(fields[b"decision"], of=tenant)
                    # One that no key opens may quote anything, and can be read by nobody: it goes.
                    decision = b"" if quoted is None else _without_questions(quoted, entry_ids)
                    if decision is not None:
                        fields[b"decision"] = self._decision.put(decision, of=tenant)
                        new = [part for pair in fields.items() for part in pair] if decision else []
                        args = [entry_id, 1, len(new), *new, *([fields[b"request_id"]] if decision else ())]
                        await self._rewrite(keys=[at.judged, at.ids], args=args)
            newest = f"({page[-1][0].decode()}" if len(page) == DECISIONS_PAGE else None


def _without_questions(raw: bytes, entry_ids: Collection[str]) -> bytes | None:
    """A decision without these entries' questions; None where it has none of them."""
    decision = orjson.loads(raw)
    quoting = [one for one in decision.get("seen", ()) if one.get("entry_id") in entry_ids and one.get("question")]
    for one in quoting:
        del one["question"]
    return orjson.dumps(decision) if quoting else None
