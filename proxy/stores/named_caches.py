"""Entries of named caches: the same hashes as stored answers, found by the same index, with exact keys of their own.

An entry has one more field than a stored answer, `pointers`: the fingerprints of the exact keys that lead to it, with spaces
between them, so that whoever removes it removes those. Which entries a cache has is read from `keys.EXPIRY`, which names every entry
and is never evicted: a list per cache would have to live as long as the cache's last entry, and could be lost before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import keys
from proxy.core.models import Entry
from proxy.stores.client import translated
from proxy.stores.embedder_names import EmbedderNames
from proxy.stores.responses import entry_of, field_names, fields_of, script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal

SCAN_COUNT = 2000
"""Members of the expiry set that one step of a walk looks at: some 2 ms of Redis, which serves nobody meanwhile."""


class NamedCacheStore:
    """Named caches in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._seal = seal
        self._names = EmbedderNames(client)
        self._put = client.register_script(script("put_named"))
        self._find = client.register_script(script("find_named"))
        self._drop = client.register_script(script("drop_named"))

    async def flushes(self, flushes_key: str) -> int:
        """How often a cache was flushed. One round trip."""
        with translated():
            found: Any = await self._client.get(flushes_key)
        return int(found or 0)

    async def flush(self, flushes_key: str) -> int:
        """Count one more flush; how often it was flushed before. One round trip, atomic."""
        with translated():
            return int(await self._client.incr(flushes_key)) - 1

    async def put(
        self,
        entry: Entry,
        *,
        room: str,
        redis_key: str,
        tags: str,
        vector: bytes | None,
        prints: Sequence[str],
        ttl_ms: int,
    ) -> None:
        """Store an entry with all its exact keys, in place of the one that the first of them led to. One round trip, atomic.

        Args:
            entry: what to store.
            room: of the cache.
            redis_key: under which key.
            tags: TAGs of the vector query, lower-case hex, with commas between them.
            vector: float32 little-endian bytes of the prompt's L2-normalised embedding; None keeps it out of the index.
            prints: fingerprints of its exact keys, the one of its text and all its attributes first.
            ttl_ms: milliseconds it stays.
        """
        fields = [*fields_of(entry, partition=tags, vector=vector, seal=self._seal), "pointers", " ".join(prints)]
        pointers = [keys.exact_key(room, fingerprint) for fingerprint in prints]
        arguments = (1 + len(pointers), redis_key, *pointers, ttl_ms, keys.pointer_prefix(room), *fields)
        with translated():
            try:
                await self._write(self._put.sha, entry, redis_key, arguments)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                await self._write(await self._client.script_load(self._put.script), entry, redis_key, arguments)

    async def _write(self, sha: str, entry: Entry, redis_key: str, arguments: Sequence[Any]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            # First, and in another slot of a cluster: an entry that is there is always named here, and so can be found and removed.
            pipe.zadd(keys.EXPIRY, {redis_key: entry.created_at + entry.ttl_s})
            pipe.evalsha(sha, *arguments)
            await pipe.execute()

    async def find(self, room: str, prints: Sequence[str]) -> tuple[int, Entry] | None:
        """Read the first entry that one of some fingerprints leads to, and which one did. One round trip."""
        pointers = [keys.exact_key(room, fingerprint) for fingerprint in prints]
        with translated():
            found: Any = await self._find(keys=pointers, args=field_names())
        entry = entry_of(found[1], self._seal) if found else None
        return None if entry is None else (int(found[0]), entry)

    async def fetch(self, redis_key: str) -> Entry | None:
        """Read an entry by its Redis key, wherever it moved since; None if it is gone. One round trip."""
        entry = await self._read(redis_key)
        if entry is None:
            (places,) = await self._names.homes([redis_key])
            for place in places[1:]:
                entry = entry or await self._read(place)
        return entry

    async def _read(self, redis_key: str) -> Entry | None:
        with translated():
            fields: Any = await self._client.hmget(redis_key, list(field_names()))
        return entry_of(fields, self._seal)

    async def locate(self, room: str, fingerprint: str) -> str | None:
        """The Redis key that a fingerprint leads to; None if there is none. One round trip."""
        with translated():
            found: Any = await self._client.get(keys.exact_key(room, fingerprint))
        return None if found is None else str(found, "ascii")

    async def drop(self, room: str, redis_keys: Sequence[str], *, tag: str) -> int:
        """Remove those of some entries of a room that bear a TAG, each with all its exact keys; how many.

        Two round trips; the removal is atomic.
        """
        if not redis_keys:
            return 0
        places = [place for homes in await self._names.homes(redis_keys) for place in homes]
        with translated():
            return int(await self._drop(keys=places, args=[keys.pointer_prefix(room), tag]))

    async def scan(self, room: str, cursor: int) -> tuple[int, list[str]]:
        """Take one step of a walk over the Redis keys of a room's entries, `SCAN_COUNT` of all that Redis holds. One round trip.

        A walk begins and ends with the cursor 0. It meets every entry that was there from its begin to its end, some perhaps
        twice; those stored meanwhile, perhaps.
        """
        page: Any
        with translated():
            following, page = await self._client.zscan(
                keys.EXPIRY, cursor, match=keys.room_pattern(room), count=SCAN_COUNT
            )
        return int(following), [key.decode() for key, _ in page]
