"""Working memories: a hash per session, sorted sets to list and find them by. Each method is one script, and atomic.

memory     hash    session_id, user_id, namespace, messages (JSON), memories (JSON), data (JSON), context, tokens, strategy,
                   strategy_config (JSON), ttl_s, created_at, updated_at, accessed_at (unix s), version; of these `TEXTS` are
                   sealed where keys are set
lists      zset    sessions by when they last changed (unix ms): all of a tenant, of a namespace, of a user, of both, with one id
due        zset    those with a TTL, by when it is over: whoever writes or lists next takes them out of the lists
waiting    zset    sessions whose memories are on the way to long-term memory, of all tenants: what a dead process left is taken up again
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from proxy.core.memory_server import keys
from proxy.core.memory_server.working import SessionName, WorkingMemory, from_stored, memories_to_stored, to_stored
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

NAMESAKES = 1000
"""Sessions with one id that are looked at for the only one that fits, some 2 us each; beyond, the caller has to say whose is meant."""
WAITING_PAGE = 100
DROPPED = 100
"""Sessions removed by one call, some 30 ms."""


TEXTS = ("messages", "memories", "data", "context")
"""The fields that hold what was said."""


class WorkingMemoryStore:
    """Working memories in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        seal: encrypts `TEXTS`; a memory that no key opens is not there.
    """

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._texts = {name: SealedField(seal, name) for name in TEXTS}
        sweep = script("working_memory_sweep")
        self._put = client.register_script(f"{sweep}\n{script('working_memory_put')}")
        self._page = client.register_script(f"{sweep}\n{script('working_memory_page')}")
        self._find = client.register_script(script("working_memory_find"))
        self._drop = client.register_script(script("working_memory_drop"))
        self._mark = client.register_script(script("working_memory_mark"))
        self._wait = client.register_script(script("working_memory_wait"))
        self._waiting = client.register_script(script("working_memory_waiting"))
        self._settle = client.register_script(script("working_memory_settle"))

    async def put(self, tenant: str, memory: WorkingMemory) -> WorkingMemory:
        """Write a session's working memory in place of what is there; as it stands now. One round trip.

        Raises:
            RequestError: its data is nested too deeply to be written.
        """
        names, tag, member = _places(tenant, memory.name)
        created = "" if memory.created_at is None else repr(memory.created_at)
        ttl_ms = 0 if memory.ttl_s is None else memory.ttl_s * 1000
        arguments: list[Any] = [tag, member, keys.list_prefix(tenant), ttl_ms, created]
        for field, value in to_stored(memory).items():
            arguments += (field, self._sealed(field, value, of=names[0]) if field in TEXTS else value)
        with translated():
            version, created_at, updated_at = await self._put(names, arguments)
        return replace(memory, version=int(version), created_at=float(created_at), updated_at=float(updated_at))

    async def find(self, tenant: str, name: SessionName) -> tuple[int, WorkingMemory | None]:
        """Read a session's working memory. One round trip.

        Args:
            tenant: whose.
            name: exactly this one; where there is none and `user` or `namespace` is None, the only one of any.

        Returns:
            How many fit, 2 standing for any more than one; and the memory, where it is one.
        """
        names = [keys.working_memory(tenant, name), keys.list_prefix(tenant) + keys.same_id_tag(name.session)]
        wanted: list[str | int] = [keys.memory_prefix(tenant), name.user or "", name.namespace or "", NAMESAKES]
        with translated():
            count, *flat = await self._find(names, wanted)
        memory = self._opened(tenant, dict(zip(flat[::2], flat[1::2], strict=True))) if flat else None
        return int(count) if memory is not None or not flat else 0, memory

    async def read(self, redis_key: str) -> WorkingMemory | None:
        """Read a working memory by its Redis key; None if it is gone. One round trip."""
        with translated():
            found: Any = await self._client.hgetall(redis_key)
        return self._opened_at(redis_key, found) if found else None

    async def drop(self, tenant: str, name: SessionName) -> bool:
        """Remove a session's working memory; whether it was there. One round trip."""
        names, tag, member = _places(tenant, name)
        with translated():
            return bool(await self._drop(names, [tag, member]))

    async def page(
        self, tenant: str, *, namespace: str | None, user: str | None, offset: int, count: int
    ) -> tuple[int, list[str]]:
        """Read how many sessions there are, and the ids of some, those that changed last first. One round trip."""
        lists = keys.list_prefix(tenant)
        names = [lists + keys.list_tag(namespace=namespace, user=user), keys.due(tenant)]
        with translated():
            total, *found = await self._page(names, [keys.memory_prefix(tenant), lists, offset, count])
        return int(total), [session.decode() for session in found]

    async def drop_some(self, tenant: str, list_tag: str) -> tuple[int, bool]:
        """Remove the first sessions of a list, `keys.list_tag` or `keys.same_id_tag`; how many, and whether there may be more.

        Two round trips, and one for each session.
        """
        name, prefix = keys.list_prefix(tenant) + list_tag, keys.memory_prefix(tenant)
        with translated():
            tags: Any = await self._client.zrange(name, 0, DROPPED - 1)
            async with self._client.pipeline(transaction=False) as pipe:
                for tag in tags:
                    pipe.hmget(prefix + tag.decode(), ["session_id", "user_id", "namespace"])
                rows: list[Any] = await pipe.execute()
            gone = [tag for tag, row in zip(tags, rows, strict=True) if row[0] is None]
            if gone:
                await self._client.zrem(name, *gone)
        there = [[word.decode() for word in row] for row in rows if row[0] is not None]
        dropped = [
            await self.drop(tenant, SessionName(session, user or None, of or None)) for session, user, of in there
        ]
        return sum(dropped), bool(tags)

    async def mark(self, tenant: str, memory: WorkingMemory) -> bool:
        """Write the memories of a session anew, unless it was put again since `memory` was read; whether it was done. One round trip."""
        name = keys.working_memory(tenant, memory.name)
        with translated():
            memories = self._sealed("memories", memories_to_stored(memory), of=name)
            return bool(await self._mark([name], [str(memory.version), memories]))

    def _sealed(self, field: str, value: str | bytes, *, of: str) -> bytes:
        return self._texts[field].put(value.encode() if isinstance(value, str) else value, of=of)

    def _opened(self, tenant: str, stored: dict[bytes, bytes]) -> WorkingMemory | None:
        session, user, namespace = (stored[name].decode() for name in (b"session_id", b"user_id", b"namespace"))
        name = SessionName(session, user or None, namespace or None)
        return self._opened_at(keys.working_memory(tenant, name), stored)

    def _opened_at(self, redis_key: str, stored: dict[bytes, bytes]) -> WorkingMemory | None:
        for name, field in self._texts.items():
            text = field.get(stored[name.encode()], of=redis_key)
            if text is None:
                return None
            stored[name.encode()] = text
        return from_stored(stored)

    async def wait(self, tenant: str, name: SessionName) -> str:
        """Note that a session's memories are to be promoted; the note's mark. One round trip."""
        with translated():
            mark: Any = await self._wait([keys.WAITING], [_note(tenant, name)])
        return str(mark, "ascii")

    async def waiting(self, *, since_s: float) -> list[tuple[str, str, str]]:
        """Notes that are older: tenant, Redis key of the memory, and the note's mark. One round trip."""
        with translated():
            flat: Any = await self._waiting([keys.WAITING], [int(since_s * 1e6), WAITING_PAGE])
        notes = []
        for member, mark in zip(flat[::2], flat[1::2], strict=True):
            tenant, _, tag = member.decode().partition(" ")
            notes.append((tenant, keys.memory_prefix(tenant) + tag, mark.decode()))
        return notes

    async def settle(self, tenant: str, redis_key: str, mark: str) -> None:
        """Take a note out, unless the session was put again after it. One round trip."""
        member = f"{tenant} {redis_key.removeprefix(keys.memory_prefix(tenant))}"
        with translated():
            await self._settle([keys.WAITING], [member, mark])


def _places(tenant: str, name: SessionName) -> tuple[list[str], str, str]:
    """Keys in the order of the scripts, the tag of a session, and how `due` names it."""
    tag, lists = keys.memory_tag(name), keys.list_tags(name)
    prefix = keys.list_prefix(tenant)
    names = [keys.working_memory(tenant, name), keys.due(tenant), *(prefix + each for each in lists)]
    return names, tag, " ".join((tag, *lists))


def _note(tenant: str, name: SessionName) -> str:
    return f"{tenant} {keys.memory_tag(name)}"
