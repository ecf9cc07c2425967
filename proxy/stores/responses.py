"""Cache entries, their exact keys and conversation contexts: hashes and strings, each call one round trip.

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
from proxy.core.keys import EXPIRY
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.client import translated

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
)


def script(name: str) -> str:
    """The text of one of our Lua scripts."""
    return resources.files("proxy.stores").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


class ResponseStore:
    """Stored answers in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._look_up = client.register_script(script("look_up"))
        self._put = client.register_script(script("put"))

    async def look_up(self, exact_key: str, context_key: str | None) -> tuple[Entry | None, ContextRecord | None]:
        """Read the entry of exactly this request and the meaning of its conversation. One round trip."""
        with translated():
            fields, stands_for = await self._look_up(keys=[exact_key, context_key or exact_key], args=_FIELDS)
        return entry_of(fields), context.from_wire(stands_for)

    async def fetch(self, redis_key: str) -> Entry | None:
        """Read an entry by its Redis key; None if it is gone. One round trip."""
        with translated():
            fields: Any = await self._client.hmget(redis_key, list(_FIELDS))
        return entry_of(fields)

    async def fetch_and_link(
        self, redis_key: str, context_key: str, record: ContextRecord, *, ttl_s: int
    ) -> Entry | None:
        """Read an entry, and write what a prefix stands for, unless it already stands for something. One round trip.

        Args:
            redis_key: of the entry.
            context_key: of the prefix that ends with the entry's answer.
            record: what it is to stand for.
            ttl_s: how long at least.
        """
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hmget(redis_key, list(_FIELDS))
                pipe.set(context_key, context.to_wire(record), ex=ttl_s, nx=True)
                pipe.expire(context_key, ttl_s, gt=True)
                fields, *_ = await pipe.execute(raise_on_error=False)
            if isinstance(fields, Exception):
                raise fields
        return entry_of(
            fields
        )  # where Redis takes no writes (full, a replica) the hit stands, and only the link is missing

    async def put(
        self,
        entry: Entry,
        *,
        redis_key: str,
        partition: str,
        vector: bytes | None,
        exact_key: str,
        context_key: str | None,
        record: ContextRecord,
    ) -> None:
        """Store an entry with its exact key and the context it opens. One round trip, atomic.

        Args:
            entry: what to store.
            redis_key: under which key.
            partition: lower-case hex, the TAG of the vector query.
            vector: float32 little-endian bytes of the question's L2-normalised embedding; None keeps it out of the index.
            exact_key: pointer of the exact tier.
            context_key: the conversation prefix that ends with this answer, None when the caller named its own context.
            record: what that prefix stands for.
        """
        fields = fields_of(entry, partition=partition, vector=vector)
        with translated():
            try:
                await self._write(self._put.sha, redis_key, exact_key, context_key, record, entry, fields)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                sha = await self._client.script_load(self._put.script)
                await self._write(sha, redis_key, exact_key, context_key, record, entry, fields)

    async def _write(
        self,
        sha: str,
        redis_key: str,
        exact_key: str,
        context_key: str | None,
        record: ContextRecord,
        entry: Entry,
        fields: list[Any],
    ) -> None:
        arguments = (entry.ttl_s, context.to_wire(record), *fields)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.evalsha(sha, 3, redis_key, exact_key, context_key or exact_key, *arguments)
            # Beside the script: the set spans all rooms and so lives in another slot of a cluster.
            pipe.zadd(EXPIRY, {redis_key: entry.created_at + entry.ttl_s})
            await pipe.execute()


def fields_of(entry: Entry, *, partition: str, vector: bytes | None) -> list[Any]:
    """An entry's hash as Redis takes it: name, value, name, value, …

    Args:
        entry: what to store.
        partition: TAG of the vector query; several with commas between them.
        vector: as in `ResponseStore.put`.
    """
    fields: list[Any] = []
    for name, value in zip(_FIELDS, _values(entry), strict=True):
        fields += (name, value)
    fields += ("partition", partition)
    if vector is not None:
        fields += ("vector", vector)
    return fields


def field_names() -> tuple[str, ...]:
    """The fields that `entry_of` reads, in its order."""
    return _FIELDS


def _values(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.entry_id,
        entry.question,
        entry.body,
        entry.wire.value,
        repr(entry.created_at),
        entry.ttl_s,
        entry.answer_hash,
        int(entry.has_tool_calls),
        int(entry.usage_estimated),
        ",".join(entry.tags),
    )


def entry_of(fields: Sequence[bytes | None] | None) -> Entry | None:
    """The entry whose fields were read, None if it was not there."""
    if not fields or None in fields:
        return None
    entry_id, question, body, wire, created_at, ttl_s, answer_hash, calls, estimated, tags = (
        field or b"" for field in fields
    )
    return Entry(
        entry_id=entry_id.decode(),
        question=question.decode(),
        body=body,
        wire=WireMode(wire.decode()),
        created_at=float(created_at),
        ttl_s=int(ttl_s),
        answer_hash=answer_hash.decode(),
        has_tool_calls=calls == b"1",
        usage_estimated=estimated == b"1",
        tags=tuple(filter(None, tags.decode().split(","))),
    )
