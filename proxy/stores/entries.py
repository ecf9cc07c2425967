"""A tenant's entries, stored answers and vectors alike: listed, read, removed. Nothing here is on the way to a hit.

They are found by the list that `stores.entry_lists` keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.entries import EMBEDDINGS, SHOWN, Cursor, Listed, Page, listed
from proxy.core.entry_lines import Line
from proxy.core.worth import name_of
from proxy.stores.client import translated
from proxy.stores.embedder_names import EmbedderNames
from proxy.stores.embeddings import sealed_vector
from proxy.stores.entry_lists import note
from proxy.stores.erasure import CONDEMNED_S
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, TEXTS, NoSeal, Seal

PAGE = 200
"""Entries read by one round trip: 0.5 ms of Redis' one thread, 6 ms in all."""
SCAN_COUNT = 2000
"""Members one step looks at for an id: 2 ms of Redis."""


class EntryStore:
    """Entries in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._seal = seal
        self._vector = sealed_vector(seal)
        self._names = EmbedderNames(client)
        self._erase = client.register_script(script("erase_entry"))
        self._restore = client.register_script(script("restore_entry"))

    async def page(self, tenant: str, cursor: Cursor, *, now_s: float, count: int = PAGE) -> Page:
        """The next entries of a tenant, those that expire last first. Two round trips."""
        at = keys.entries_key(tenant)
        highest: Any = "+inf" if cursor.score is None else repr(cursor.score)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.zremrangebyscore(at, "-inf", now_s)
                pipe.zrevrangebyscore(at, highest, "-inf", start=cursor.skip, num=count, withscores=True)
                _, members = await pipe.execute()
            named = tuple((member.decode(), float(score)) for member, score in members)
            found = await self._read([redis_key for redis_key, _ in named])
        return Page(cursor, named, tuple(found), len(named) < count)

    async def find(self, tenant: str, entry_id: str) -> Listed | None:
        """A tenant's entry of an id; None if there is none. A round trip for each `SCAN_COUNT` of its entries."""
        pattern = f"*:{entry_id.removeprefix('emb_')}"
        cursor = 0
        with translated():
            while True:
                members: Any
                cursor, members = await self._client.zscan(
                    keys.entries_key(tenant), cursor, match=pattern, count=SCAN_COUNT
                )
                found = await self._read([member.decode() for member, _ in members])
                named = [one for one in found if one.entry_id == entry_id]
                if named or not cursor:
                    return named[0] if named else None

    async def contents(self, redis_keys: Sequence[str]) -> list[dict[str, bytes]]:
        """All fields of some entries; none of one that is gone. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for redis_key in redis_keys:
                    pipe.hgetall(redis_key)
                found: Any = await pipe.execute()
            for at, places in await self._elsewhere(redis_keys, [not fields for fields in found]):
                for place in places:
                    found[at] = found[at] or await self._client.hgetall(place)
        return [self._opened({name.decode(): value for name, value in fields.items()}) for fields in found]

    async def restore(self, tenant: str, lines: Sequence[Line], *, now_s: float) -> int:
        """Put entries back that are not there, for as long as they would still be; how many were. One round trip.

        Args:
            tenant: whose.
            lines: entries that have not expired.
            now_s: unix seconds.
        """
        with translated():
            await self._client.script_load(self._restore.script)
            async with self._client.pipeline(transaction=False) as pipe:
                for line in lines:
                    entry = line.entry
                    exact = entry.redis_key if entry.is_vector else keys.exact_key(entry.room, entry.fingerprint)
                    at = (keys.condemned_key(entry.room), entry.redis_key, exact)
                    ttl_s = max(1, int(entry.expires_at - now_s))
                    fields = [part for pair in self._sealed(line.fields, entry.entry_id).items() for part in pair]
                    pipe.evalsha(self._restore.sha, len(at), *at, ttl_s, entry.entry_id, *fields)
                    # One that was there already is on the lists, and is put there at the same place.
                    pipe.zadd(keys.EXPIRY, {entry.redis_key: entry.expires_at}, nx=True)
                    note(pipe, tenant, [entry.redis_key], expires_at=entry.expires_at)
                done: Any = await pipe.execute()
        return sum(done[:: len(done) // len(lines)]) if lines else 0

    def _shown(self, fields: dict[str, bytes | None]) -> dict[str, bytes | None]:
        """Fields to list an entry by; without its question where that cannot be opened: it is there, and can be removed."""
        question, entry_id = fields["question"], (fields["entry_id"] or b"").decode()
        if question is not None:
            fields["question"] = self._seal.open(question, entry_id=entry_id, field="question")
        return fields

    def _opened(self, fields: dict[str, bytes]) -> dict[str, bytes]:
        """The fields of an entry with its texts, or its vector; none at all where these cannot be opened."""
        entry_id = fields.get("entry_id", b"").decode()
        if _is_vector(fields):
            vector = self._vector.get(fields.get("vector", b""), of=entry_id)
            return {} if vector is None else fields | {"vector": vector}
        for name in TEXTS & fields.keys():
            text = self._seal.open(fields[name], entry_id=entry_id, field=name)
            if text is None:
                return {}
            fields[name] = text
        return fields

    def _sealed(self, fields: Mapping[str, bytes], entry_id: str) -> dict[str, bytes]:
        if _is_vector(fields):
            return {**fields, "vector": self._vector.put(fields.get("vector", b""), of=entry_id)}
        return {
            name: self._seal.seal(value, entry_id=entry_id, field=name) if name in TEXTS else value
            for name, value in fields.items()
        }

    async def remove(self, tenant: str, entries: Sequence[Listed]) -> int:
        """Remove entries with what leads to them and through them; how many were still there. One round trip."""
        if not entries:
            return 0
        homes = await self._names.homes([one.redis_key for one in entries])
        gone = [place for places in homes for place in places]
        with translated():
            await self._client.script_load(self._erase.script)
            async with self._client.pipeline(transaction=False) as pipe:
                for one, places in zip(entries, homes, strict=True):
                    if one.is_vector:
                        pipe.unlink(one.redis_key)
                        continue
                    at = (keys.condemned_key(one.room), keys.exact_key(one.room, one.fingerprint), *places)
                    pipe.evalsha(self._erase.sha, len(at), *at, one.entry_id, CONDEMNED_S)
                pipe.zrem(keys.EXPIRY, *gone)
                pipe.zrem(keys.EARNED, *map(name_of, gone))
                pipe.zrem(keys.entries_key(tenant), *gone)
                *removed, _, _, _ = await pipe.execute()
        return sum(map(int, removed))

    async def _read(self, redis_keys: Sequence[str]) -> list[Listed]:
        """What lies, or lay, under some keys; those that are gone are left out."""
        if not redis_keys:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for redis_key in redis_keys:
                pipe.hmget(redis_key, list(SHOWN))
            read = await pipe.execute()
        for at, places in await self._elsewhere(redis_keys, [fields[0] is None for fields in read]):
            for place in places:
                read[at] = read[at] if read[at][0] else await self._client.hmget(place, list(SHOWN))
        found = [
            listed(redis_key, self._shown(dict(zip(SHOWN, fields, strict=True))))
            for redis_key, fields in zip(redis_keys, read, strict=True)
        ]
        # One on its way is listed under both its names.
        return list({one.entry_id: one for one in found if one is not None}.values())

    async def _elsewhere(
        self, redis_keys: Sequence[str], are_gone: Sequence[bool]
    ) -> list[tuple[int, tuple[str, ...]]]:
        """Of keys where nothing is, their positions and where else what was there may lie by now."""
        gone = [at for at, is_gone in enumerate(are_gone) if is_gone]
        if not gone:
            return []
        homes = await self._names.homes([redis_keys[at] for at in gone])
        return [(at, places[1:]) for at, places in zip(gone, homes, strict=True) if places[1:]]


def _is_vector(fields: Mapping[str, bytes]) -> bool:
    """Whether it is an embedding and no answer: an answer's own vector is the index's, and stays as it is."""
    return fields.get("family") == EMBEDDINGS.encode()
