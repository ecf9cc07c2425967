"""Long-term memories: one hash each, readable by any client, and what points to them; searching them is `stores.memory_index`.

A memory's own fields are `_FIELDS`, texts and numbers; `topics`, `entities` and `extracted_from` are JSON arrays. Beside them stand
those that only the index reads: `words`, `tag_…` and `vector_…`. Every write is one script, and one HSET in it, since each is indexed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core.keys import embedder_tag
from proxy.core.memory import keys, words
from proxy.core.memory.keys import Kind
from proxy.core.memory.records import Memory, MemoryType
from proxy.core.memory.storage import Kept, Put, Vector
from proxy.stores.client import translated
from proxy.stores.responses import script

_FIELDS = (
    "id", "tenant", "text", "type", "user", "session", "namespace", "topics", "entities", "created_at", "updated_at", "accessed_at",
    "event_at", "invalid_at", "replaced_by", "replaces", "extracted_from", "pinned", "times_found", "revision", "text_digest", "embedder",
)  # fmt: skip
_OPTIONAL = ("event_at", "invalid_at")
"""Numbers that the index could not read if they were empty: absent where they are not known."""
_VECTOR_PREFIX = "vector_"
SCAN_COUNT = 2_000
"""Names that one step of a walk looks at: some 2 ms of Redis, which serves nobody meanwhile."""


class MemoryStore:
    """Memories in Redis. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._put = client.register_script(script("memory_put"))
        self._drop = client.register_script(script("memory_drop"))
        self._touch = client.register_script(script("memory_touch"))
        self._embed = client.register_script(script("memory_embed"))

    async def read(self, tenant: str, ids: Sequence[str]) -> list[Kept | None]:
        """Memories by their ids, in order; None for what is not there. One round trip."""
        if not ids:
            return []
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for memory_id in ids:
                    pipe.hmget(keys.memory(tenant, memory_id), list(_FIELDS))
                rows: list[Any] = await pipe.execute()
        return [_kept(row) for row in rows]

    async def says(self, tenant: str, digest: str) -> str | None:
        """Id of the memory that says a text, None if none does. One round trip."""
        with translated():
            found: Any = await self._client.hget(keys.texts(tenant), digest)
        return None if found is None else str(found, "utf-8")

    async def vectors(self, tenant: str, ids: Sequence[str], embedder: str) -> list[bytes | None]:
        """Vectors of memories in the space of an embedder, None where there is none. One round trip."""
        if not ids:
            return []
        field = keys.vector_field(embedder)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for memory_id in ids:
                    pipe.hget(keys.memory(tenant, memory_id), field)
                found: list[Any] = await pipe.execute()
        return found

    async def put(
        self,
        tenant: str,
        memory: Memory,
        *,
        expected: int,
        vector: Vector | None,
        is_exclusive: bool = False,
        replaced: tuple[str, float] | None = None,
        now: float,
    ) -> Put:
        """Write a memory, if it is still at the revision that was read. One round trip, atomic.

        Args:
            tenant: whose.
            memory: as it shall be.
            expected: its revision; 0 for one that must not be there.
            vector: of its text; None keeps the one it has, if the text stays the same.
            is_exclusive: write nothing where another memory says the very same. One that does not hold is never that other.
            replaced: id of the memory whose place it takes, and from when that does not hold any more (unix seconds).
            now: unix seconds.

        Returns:
            What became of it; neither written nor same nor gone: someone else changed it meanwhile.
        """
        digest = keys.text_digest(memory)
        fields = _fields_of(tenant, memory, digest)
        if vector is not None:
            fields |= _vector_fields(vector)
        removed = [name for name in _OPTIONAL if name not in fields]
        at = [keys.memory(tenant, memory.memory_id), keys.texts(tenant), keys.ids(tenant), *_name_keys(tenant)]
        if replaced is not None:
            at.append(keys.memory(tenant, replaced[0]))
        until = repr(replaced[1]) if replaced is not None else ""
        arguments: list[Any] = [
            memory.memory_id,
            expected,
            digest,
            _claim(memory, is_exclusive),
            until,
            repr(now),
            int(vector is not None),
            len(removed),
            *removed,
        ]
        arguments += [part for field in fields.items() for part in field]
        with translated():
            what, other = await self._put(keys=at, args=arguments)
        return Put(what == b"ok", other.decode() if what == b"same" else None, what == b"gone")

    async def drop(self, tenant: str, ids: Mapping[str, int | None]) -> int:
        """Remove memories, each only at its revision if one is given; how many were there. One round trip, atomic."""
        if not ids:
            return 0
        at = [keys.texts(tenant), keys.ids(tenant), *_name_keys(tenant)]
        at += [keys.memory(tenant, memory_id) for memory_id in ids]
        with translated():
            return int(await self._drop(keys=at, args=["" if each is None else each for each in ids.values()]))

    async def touch(self, tenant: str, memory_id: str, *, at: float, times: int) -> None:
        """Note that a memory was found. One round trip, atomic; Redis indexes it anew, 0.4 to 1 ms."""
        with translated():
            await self._touch(keys=[keys.memory(tenant, memory_id)], args=[repr(at), times])

    async def set_vector(self, tenant: str, kept: Kept, vector: Vector) -> bool:
        """Give a memory its vector; False if it is gone or says something else by now. One round trip, atomic."""
        fields = _vector_fields(vector)
        arguments = [kept.digest, _VECTOR_PREFIX, *(part for field in fields.items() for part in field)]
        with translated():
            return bool(await self._embed(keys=[keys.memory(tenant, kept.memory.memory_id)], args=arguments))

    async def ids_after(self, tenant: str, after: str | None, count: int) -> list[str]:
        """One step of a walk over a tenant's ids, in their order, begun with None. One round trip."""
        first = "-" if after is None else b"(" + after.encode()
        with translated():
            found: Any = await self._client.zrangebylex(keys.ids(tenant), first, "+", start=0, num=count)
        return [str(member, "utf-8") for member in found]

    async def ids_with(self, tenant: str, prefix: str) -> list[str]:
        """A tenant's ids that begin so. One round trip."""
        begin = prefix.encode()
        with translated():
            found: Any = await self._client.zrangebylex(keys.ids(tenant), b"[" + begin, b"(" + begin + b"\xff")
        return [str(member, "utf-8") for member in found]

    async def names_with(self, tenant: str, kind: Kind, prefix: str) -> list[str]:
        """The users, sessions or namespaces of a tenant's memories that begin so; a round trip for each `SCAN_COUNT` there are."""
        pattern, cursor, found = _glob(prefix) + b"*", 0, list[str]()
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.hscan(
                    keys.names(tenant, kind), cursor, match=pattern, count=SCAN_COUNT
                )
            found += [str(name, "utf-8") for name in page]
            if not cursor:
                return list(dict.fromkeys(found))

    async def count_of(self, tenant: str, kind: Kind, name: str) -> int:
        """How many memories a user, a session or a namespace of a tenant has, replaced ones too. One round trip."""
        with translated():
            found: Any = await self._client.hget(keys.names(tenant, kind), name)
        return int(found or 0)

    async def count(self, tenant: str) -> int:
        """How many memories a tenant has, replaced ones too. One round trip."""
        with translated():
            return int(await self._client.zcard(keys.ids(tenant)))


def _claim(memory: Memory, is_exclusive: bool) -> int:
    return 2 if memory.invalid_at is not None else int(is_exclusive)


def _glob(prefix: str) -> bytes:
    """A prefix with what Redis' patterns read as syntax escaped."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in prefix.encode())


def _name_keys(tenant: str) -> list[str]:
    return [keys.names(tenant, kind) for kind in Kind]


def _fields_of(tenant: str, memory: Memory, digest: str) -> dict[str, Any]:
    """A memory's own fields and those of the index, without the vector."""
    fields: dict[str, Any] = {
        "id": memory.memory_id, "tenant": tenant, "text": memory.text, "type": memory.memory_type.value, "user": memory.user or "",
        "session": memory.session or "", "namespace": memory.namespace or "", "topics": orjson.dumps(memory.topics),
        "entities": orjson.dumps(memory.entities), "created_at": repr(memory.created_at), "updated_at": repr(memory.updated_at),
        "accessed_at": repr(memory.accessed_at), "replaced_by": memory.replaced_by or "", "replaces": memory.replaces or "",
        "extracted_from": orjson.dumps(memory.extracted_from), "pinned": int(memory.is_pinned), "times_found": memory.times_found,
        "text_digest": digest, "valid_from": repr(memory.valid_from), "words": words.indexed(memory.text),
    }  # fmt: skip
    if memory.event_at is not None:
        fields["event_at"] = repr(memory.event_at)
    if memory.invalid_at is not None:
        fields["invalid_at"] = repr(memory.invalid_at)
    return fields | _tags_of(tenant, memory)


def _tags_of(tenant: str, memory: Memory) -> dict[str, str]:
    tags = {
        "tenant": tenant, "id": memory.memory_id, "type": memory.memory_type.value, "user": memory.user, "session": memory.session,
        "namespace": memory.namespace,
    }  # fmt: skip
    found = {f"tag_{kind}": "" if value is None else keys.tag(tenant, kind, value) for kind, value in tags.items()}
    for kind, labels in (("topics", memory.topics), ("entities", memory.entities)):
        found[f"tag_{kind}"] = ",".join(keys.label_tag(tenant, kind, label) for label in labels)
    holds = keys.HOLDS if memory.invalid_at is None else "0"
    return found | {"tag_holds": holds, "tag_scope": keys.scope_tag(tenant, memory)}


def _vector_fields(vector: Vector) -> dict[str, Any]:
    """The vector first: `memory_embed` knows it by its place."""
    return {
        keys.vector_field(vector.embedder): vector.values,
        "embedder": vector.embedder,
        "tag_embedder": embedder_tag(vector.embedder),
    }


def memory_of(fields: Mapping[bytes, bytes]) -> Kept | None:
    """The memory of a hash that was read by names, None if it was gone meanwhile."""
    return _kept([fields.get(name.encode()) for name in _FIELDS])


def field_names() -> tuple[str, ...]:
    """The fields that `memory_of` reads."""
    return _FIELDS


def _kept(row: Sequence[bytes | None]) -> Kept | None:
    if row[0] is None or row[2] is None:
        return None
    text = {name: value.decode() for name, value in zip(_FIELDS, row, strict=True) if value is not None}
    memory = Memory(
        memory_id=text["id"],
        text=text["text"],
        memory_type=MemoryType(text["type"]),
        user=text["user"] or None,
        session=text["session"] or None,
        namespace=text["namespace"] or None,
        topics=tuple(orjson.loads(text["topics"])),
        entities=tuple(orjson.loads(text["entities"])),
        created_at=float(text["created_at"]),
        updated_at=float(text["updated_at"]),
        accessed_at=float(text["accessed_at"]),
        event_at=float(text["event_at"]) if "event_at" in text else None,
        invalid_at=float(text["invalid_at"]) if "invalid_at" in text else None,
        replaced_by=text["replaced_by"] or None,
        replaces=text["replaces"] or None,
        extracted_from=tuple(orjson.loads(text["extracted_from"])),
        is_pinned=text["pinned"] == "1",
        times_found=int(text["times_found"]),
    )
    return Kept(memory, int(text["revision"]), text["text_digest"], text.get("embedder", ""))
