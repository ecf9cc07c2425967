"""Entries on their way from one embedder's keys to another's: found, moved, counted. Nothing here is on the way to a hit.

What has moved is not there any more, so a walk that is cut short, by kill -9 too, begins anew and meets what is left. An entry is on its
lists under the new key before it lies there, and under the old one until it lies there no more: at every moment whoever looks finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.spaces import MIGRATION, TURN, Progress, Waiting, homes, progress_of
from proxy.stores.client import translated
from proxy.stores.entry_lists import note
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal

SCAN_COUNT = 500
"""Members that one step looks at: some 0.5 ms of Redis."""
TURN_MS = 5_000
"""A process that moved nothing for so long has lost its turn to another; a step takes some 50 ms, and where it takes longer, with a remote
embedder, two processes now and then embed the same."""


class MovingEntries:
    """Moves entries. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        before, now: fingerprints of the embedders.
        seal: opens questions.
    """

    def __init__(self, client: Redis, *, before: str, now: str, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._seal = seal
        self._names = before, now
        self._prefix, self._tag = keys.entry_prefix(before), keys.embedder_tag(now)
        self._move = client.register_script(script("move_entry"))

    # --- whose turn it is, and how far it is -------------------------------------------------------------------------------

    async def take_turn(self, process: str) -> bool:
        """Be, or stay, the one process that moves entries. Two at once would do no harm, but all the work twice."""
        with translated():
            if await self._client.set(TURN, process, nx=True, px=TURN_MS):
                return True
            if await self._client.get(TURN) != process.encode():
                return False
            await self._client.pexpire(TURN, TURN_MS)
        return True

    async def leave_turn(self, process: str) -> None:
        """Let another process have it."""
        with translated():
            if await self._client.get(TURN) == process.encode():
                await self._client.unlink(TURN)

    async def begin(self, *, now_s: float) -> Progress:
        """Note that entries are moving; one that was cut short goes on counting where it was."""
        with translated():
            found = await progress(self._client)
            if found is not None and found.ended_at is None and (found.before, found.now) == self._names:
                return found
            before, now = self._names
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.unlink(MIGRATION)
                pipe.hset(MIGRATION, mapping={"before": before, "now": now, "began_at": repr(now_s)})
                await pipe.execute()
        return Progress(before, now, now_s)

    async def end(self, *, now_s: float) -> None:
        """Note that nothing is left."""
        with translated():
            await self._client.hset(MIGRATION, "ended_at", repr(now_s))

    # --- finding ---------------------------------------------------------------------------------------------------------------

    async def owners(self, cursor: int) -> tuple[int, list[str]]:
        """A step of a walk through the tenants that have entries, from 0 to 0."""
        found: Any
        with translated():
            cursor, found = await self._client.sscan(keys.ENTRY_TENANTS, cursor, count=SCAN_COUNT)
        return cursor, [owner.decode() for owner in found]

    async def waiting(self, owner: str | None, cursor: int) -> tuple[int, list[Waiting]]:
        """A step of a walk through what is left of a tenant's entries, or, for None, of entries of named caches; from 0 to 0."""
        at = keys.EXPIRY if owner is None else keys.entries_key(owner)
        members: Any
        with translated():
            cursor, members = await self._client.zscan(at, cursor, match=f"{self._prefix}*", count=SCAN_COUNT)
            if not members:
                return cursor, []
            async with self._client.pipeline(transaction=False) as pipe:
                for member, _ in members:
                    pipe.hmget(member, ["entry_id", "question", "pointers"])
                read = await pipe.execute()
            found, gone = [], []
            for (member, score), (entry_id, question, pointers) in zip(members, read, strict=True):
                if entry_id is None:
                    gone.append(member.decode())
                # Of the others the list of their tenant has to hear, too.
                elif owner is not None or pointers is not None:
                    found.append(self._read(member.decode(), entry_id.decode(), question or b"", score))
            await self._forget_moved(owner, gone)
        return cursor, found

    def _read(self, redis_key: str, entry_id: str, question: bytes, expires_at: float) -> Waiting:
        text = self._seal.open(question, entry_id=entry_id, field="question")
        return Waiting(redis_key, entry_id, None if text is None else text.decode(), expires_at)

    async def _forget_moved(self, owner: str | None, gone: Sequence[str]) -> None:
        """Take old names off their lists where somebody was killed between moving an entry and that."""
        if not gone:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for redis_key in gone:
                pipe.exists(self._new(redis_key))
            has_moved = await pipe.execute()
        await self._take_off(owner, [key for key, there in zip(gone, has_moved, strict=True) if there])

    async def _take_off(self, owner: str | None, redis_keys: Sequence[str]) -> None:
        if not redis_keys:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.zrem(keys.EXPIRY, *redis_keys)
            if owner is not None:
                pipe.zrem(keys.entries_key(owner), *redis_keys)
            await pipe.execute()

    # --- moving ----------------------------------------------------------------------------------------------------------------

    async def move(self, owner: str | None, entries: Sequence[tuple[Waiting, bytes | None]]) -> int:
        """Move entries; how many did. Three round trips, each entry's move atomic.

        Args:
            owner: whose, None where they are of named caches.
            entries: with the vector of each question: float32 little-endian bytes, L2-normalised; None keeps one out of the index.
        """
        new = [self._new(one.redis_key) for one, _ in entries]
        with translated():
            await self._client.script_load(self._move.script)
            async with self._client.pipeline(transaction=False) as pipe:
                for at, (one, _) in zip(new, entries, strict=True):
                    pipe.zadd(keys.EXPIRY, {at: one.expires_at})
                    if owner is not None:
                        note(pipe, owner, [at], expires_at=one.expires_at)
                await pipe.execute()
            async with self._client.pipeline(transaction=False) as pipe:
                for at, (one, vector) in zip(new, entries, strict=True):
                    pointers = keys.pointer_prefix(_room(one.redis_key))
                    pipe.evalsha(self._move.sha, 2, one.redis_key, at, one.entry_id, pointers, vector or b"")
                replies = await pipe.execute()
            # One that is gone has been removed meanwhile, and is under neither name.
            gone = [at for at, reply in zip(new, replies, strict=True) if not reply]
            await self._take_off(owner, [one.redis_key for one, _ in entries] + gone)
            return await self._count(replies, [vector is None and bool(one.question) for one, vector in entries])

    async def _count(self, replies: Sequence[int], are_exact_only: Sequence[bool]) -> int:
        moved = [is_exact_only for reply, is_exact_only in zip(replies, are_exact_only, strict=True) if reply == 1]
        if moved:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hincrby(MIGRATION, "moved", len(moved))
                pipe.hincrby(MIGRATION, "exact_only", sum(moved))
                await pipe.execute()
        return len(moved)

    def _new(self, redis_key: str) -> str:
        return homes(redis_key, [self._tag])[-1]


async def progress(client: Redis) -> Progress | None:
    """How far the last migration is; None where there has been none. May raise the `StoreError`s of `stores.client.translated`."""
    with translated():
        fields: Any = await client.hgetall(MIGRATION)
    return progress_of({name.decode(): value.decode() for name, value in fields.items()})


def _room(redis_key: str) -> str:
    return redis_key.partition("{")[2].partition("}")[0]
