"""Cache entries, their exact keys and conversation contexts, and what was called wrong: each call one round trip.

An entry is a hash under `keys.entry_key`; its fields are the names in `_FIELDS` plus `partition` and `vector`, which the index of
`stores.vectors` reads. Writing is one Lua script, so a reader sees an entry whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import context
from proxy.core.keys import EARNED, EXPIRY, LookUpKeys
from proxy.core.models import About, ContextRecord, Entry, WireMode
from proxy.core.worth import name_of
from proxy.stores.client import translated
from proxy.stores.coalescing import Coalescer
from proxy.stores.embedder_names import EmbedderNames
from proxy.stores.entry_lists import note
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal

_FIELDS = (
    "entry_id",
    "question",
    "body",
    "wire",
    "created_at",
    "ttl_s",
    "answer_hash",
    "has_tool_calls",
    "usage_estimated",
    "tags",
    "usage",
)


ABOUT_FIELDS = ("namespace", "model", "family", "fingerprint")
"""What an entry is listed and removed by; no look-up reads them."""
OPENS = "opens"
"""The context it opened, which goes with it (`lua/evict.lua`)."""
_Link = tuple[str, bytes, int]
"""A context key, what it is to stand for, and for how many seconds."""
_NO_TEXTS: frozenset[str] = frozenset()


def script(name: str) -> str:
    """The text of one of our Lua scripts."""
    return resources.files("proxy.stores").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


class ResponseStore:
    """Stored answers in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._seal = seal
        self._names = EmbedderNames(client)
        self._look_up = client.register_script(script("look_up"))
        self._looking_up = Coalescer(self._look_up_many)
        self._taking = Coalescer(self._take_many)
        self._put = client.register_script(script("put"))
        self._condemn = client.register_script(script("condemn"))

    async def look_up(self, at: LookUpKeys) -> tuple[Entry | None, ContextRecord | None, frozenset[str]]:
        """Read the entry of exactly this request, the meaning of its conversation, and what never serves it. One round trip, shared with
        the requests that wait at the same time.

        Returns:
            The entry; what the prefix stands for, None also where that leads through a condemned entry; digests of the texts that are
            never equal to the one asked.
        """
        fields, stands_for, unequal = await self._looking_up.get(at)
        return entry_of(fields, self._seal), context.from_wire(stands_for), _texts(unequal)

    async def _look_up_many(self, wanted: Sequence[LookUpKeys]) -> Sequence[Any]:
        names = [
            key for at in wanted for key in (at.exact, at.context or at.exact, at.condemned, at.unequal or at.exact)
        ]
        with translated():
            found: Sequence[Any] = await self._look_up(keys=names, args=_FIELDS)
        return found

    async def condemn(
        self, entry_id: str, *, at: str, condemned_key: str, pair: Sequence[tuple[str, str]], keep_s: int
    ) -> bool:
        """Remove an entry that was called wrong, with every context that leads through it, and remember two texts as never equal.

        Args:
            entry_id: of the entry; may be gone already, the rest is remembered all the same.
            at: Redis key of the entry, or the exact key that points at it.
            condemned_key: of its room.
            pair: (unequal key, digest) of the asked text and of the stored one; empty where there is no pair.
            keep_s: seconds this is remembered, at least.

        Returns:
            Whether the entry was still there. Three round trips.
        """
        (places,) = await self._names.homes([at])
        found = [condemned_key, *(key for key, _ in pair), *places]
        with translated():
            removed = await self._condemn(keys=found, args=[entry_id, keep_s, *(digest for _, digest in pair)])
            if removed is not None:
                await self._client.zrem(EXPIRY, removed)
        return removed is not None

    async def fetch(self, redis_key: str) -> Entry | None:
        """Read an entry by its Redis key, wherever it moved since; None if it is gone. One round trip, shared with the requests that wait
        at the same time.
        """
        return await self._taken(redis_key, None) or await self._moved(redis_key, None)

    async def fetch_and_link(
        self, redis_key: str, context_key: str, record: ContextRecord, *, ttl_s: int
    ) -> Entry | None:
        """Read an entry, and write what a prefix stands for, unless it already stands for something. One round trip, as `fetch`.

        Args:
            redis_key: of the entry.
            context_key: of the prefix that ends with the entry's answer.
            record: what it is to stand for.
            ttl_s: how long at least.
        """
        link = (context_key, context.to_wire(record), ttl_s)
        return await self._taken(redis_key, link) or await self._moved(redis_key, link)

    async def _moved(self, redis_key: str, link: _Link | None) -> Entry | None:
        """The same of an entry that is not where it was: hardly any, so the round trips are no matter."""
        (places,) = await self._names.homes([redis_key])
        for place in places[1:]:
            if (entry := await self._taken(place, link)) is not None:
                return entry
        return None

    async def _taken(self, redis_key: str, link: _Link | None) -> Entry | None:
        fields = await self._taking.get((redis_key, link))
        if isinstance(fields, Exception):
            with translated():
                raise fields
        return entry_of(
            fields, self._seal
        )  # where Redis takes no writes (full, a replica) the hit stands, and only the link is missing

    async def _take_many(self, wanted: Sequence[tuple[str, _Link | None]]) -> Sequence[Any]:
        """The fields of each entry, or the error in their place."""
        places = []
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for redis_key, link in wanted:
                    places.append(len(pipe))
                    pipe.hmget(redis_key, list(_FIELDS))
                    if link is not None:
                        context_key, stands_for, ttl_s = link
                        pipe.set(context_key, stands_for, ex=ttl_s, nx=True)
                        pipe.expire(context_key, ttl_s, gt=True)
                replies = await pipe.execute(raise_on_error=False)
        return [replies[place] for place in places]

    async def put(
        self,
        entry: Entry,
        *,
        redis_key: str,
        partition: str,
        vector: bytes | None,
        exact_key: str,
        context_key: str | None,
        condemned_key: str,
        record: ContextRecord,
        about: About,
        stale_s: int = 0,
    ) -> None:
        """Store an entry with its exact key and the context it opens. One round trip, atomic.

        Args:
            entry: what to store.
            redis_key: under which key.
            partition: lower-case hex, the TAG of the vector query.
            vector: float32 little-endian bytes of the question's L2-normalised embedding; None keeps it out of the index.
            exact_key: pointer of the exact tier.
            context_key: the conversation prefix that ends with this answer, None when the caller named its own context.
            condemned_key: of the room: a context that leads through one of these is overwritten.
            record: what that prefix stands for.
            about: what it is listed under.
            stale_s: seconds it is kept past its freshness.
        """
        fields = [
            *fields_of(entry, partition=partition, vector=vector, seal=self._seal),
            *_about_fields(about, exact_key),
            *((OPENS, context_key.rpartition(":")[2]) if context_key is not None else ()),
        ]
        written = (redis_key, exact_key, context_key or exact_key, condemned_key)
        with translated():
            try:
                await self._write(self._put.sha, written, record, entry, fields, about.owner, stale_s)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                sha = await self._client.script_load(self._put.script)
                await self._write(sha, written, record, entry, fields, about.owner, stale_s)

    async def _write(
        self,
        sha: str,
        written: Sequence[str],
        record: ContextRecord,
        entry: Entry,
        fields: list[Any],
        owner: str,
        stale_s: int,
    ) -> None:
        kept_s = entry.ttl_s + stale_s
        arguments, expires_at = (kept_s, context.to_wire(record), *fields), entry.created_at + kept_s
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.evalsha(sha, len(written), *written, *arguments)
            # Beside the script: the sets span all rooms and so live in other slots of a cluster.
            pipe.zadd(EXPIRY, {written[0]: expires_at})
            note(pipe, owner, written[:1], expires_at=expires_at)
            replaced, *_ = await pipe.execute()
        if replaced is not None:
            await self._inherit(name_of(replaced.decode()), name_of(written[0]))

    async def _inherit(self, before: str, now: str) -> None:
        """What the answer before had earned is the new one's: the same question goes on being asked. Two round trips."""
        earned = await self._client.zscore(EARNED, before)
        if earned is not None:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zadd(EARNED, {now: earned})
                pipe.zrem(EARNED, before)
                await pipe.execute()


def fields_of(entry: Entry, *, partition: str, vector: bytes | None, seal: Seal | NoSeal = NO_SEAL) -> list[Any]:
    """An entry's hash as Redis takes it: name, value, name, value, …

    Args:
        entry: what to store.
        partition: TAG of the vector query; several with commas between them.
        vector: as in `ResponseStore.put`.
        seal: encrypts the question and the answer.
    """
    fields: list[Any] = []
    for name, value in zip(_FIELDS, _values(entry, seal), strict=True):
        fields += (name, value)
    fields += ("partition", partition)
    if vector is not None:
        fields += ("vector", vector)
    return fields


def _about_fields(about: About, exact_key: str) -> tuple[str, ...]:
    values = (about.namespace, about.model, about.family, exact_key.rpartition(":")[2])
    return tuple(part for pair in zip(ABOUT_FIELDS, values, strict=True) for part in pair)


def field_names() -> tuple[str, ...]:
    """The fields that `entry_of` reads, in its order."""
    return _FIELDS


def _texts(members: Sequence[bytes]) -> frozenset[str]:
    return frozenset(member.decode() for member in members) if members else _NO_TEXTS


def _values(entry: Entry, seal: Seal | NoSeal) -> tuple[Any, ...]:
    return (
        entry.entry_id,
        seal.seal(entry.question.encode(), entry_id=entry.entry_id, field="question"),
        seal.seal(entry.body, entry_id=entry.entry_id, field="body"),
        entry.wire.value,
        repr(entry.created_at),
        entry.ttl_s,
        entry.answer_hash,
        int(entry.has_tool_calls),
        int(entry.usage_estimated),
        ",".join(entry.tags),
        entry.usage,
    )


def entry_of(fields: Sequence[bytes | None] | None, seal: Seal | NoSeal = NO_SEAL) -> Entry | None:
    """The entry whose fields were read, None if it was not there or cannot be opened."""
    if not fields or None in fields[:-1]:  # entries of before there were books say nothing of their usage
        return None
    entry_id, question, body, wire, created_at, ttl_s, answer_hash, calls, estimated, tags, usage = (
        field or b"" for field in fields
    )
    name = entry_id.decode()
    text = seal.open(question, entry_id=name, field="question")
    answer = seal.open(body, entry_id=name, field="body")
    if text is None or answer is None:
        return None
    return Entry(
        entry_id=name,
        question=text.decode(),
        body=answer,
        wire=WireMode(wire.decode()),
        created_at=float(created_at),
        ttl_s=int(ttl_s),
        answer_hash=answer_hash.decode(),
        has_tool_calls=calls == b"1",
        usage_estimated=estimated == b"1",
        tags=tuple(filter(None, tags.decode().split(","))),
        usage=usage,
    )
