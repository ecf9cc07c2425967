"""Stored vectors of texts that callers had embedded: a hash each, a batch read or written in one round trip.

Not the cache's own vectors, which lie in its entries (`stores.responses`), and in no index: these are found by exactly the same input,
and so can be sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import keys
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.models import About
from proxy.stores.client import translated
from proxy.stores.entry_lists import note
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

_FIELDS = ("entry_id", "form", "vector", "answered_by", "tokens", "usage_estimated", "created_at", "ttl_s", "tags")
_OWN = ("entry_id", "form", "vector", "tokens", "usage_estimated")
"""What differs from input to input of a batch; the rest is sent once."""


class EmbeddingStore:
    """Stored vectors in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        seal: encrypts the vectors.
    """

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._vector = sealed_vector(seal)
        self._get = client.register_script(script("embeddings_get"))
        self._put = client.register_script(script("embeddings_put"))

    async def get(self, redis_keys: Sequence[str]) -> list[StoredEmbedding | None]:
        """Read vectors of one room by their keys, in their order; None where there is none. One round trip."""
        with translated():
            found: Any = await self._get(keys=list(redis_keys), args=_FIELDS)
        return [_read(fields, self._vector) for fields in found]

    async def put(self, redis_keys: Sequence[str], made: Sequence[StoredEmbedding], *, about: About) -> None:
        """Store vectors of one room. One round trip, atomic.

        Args:
            redis_keys: where, one for each; none twice.
            made: what; model, age, life and tags are the same for all.
            about: what they are listed under.
        """
        first = made[0]
        shared: tuple[Any, ...] = (
            *("answered_by", first.model, "created_at", repr(first.created_at), "ttl_s", first.ttl_s),
            *("tags", ",".join(first.tags), "namespace", about.namespace, "model", about.model, "family", about.family),
        )
        own = [part for one in made for pair in zip(_OWN, self._own_values(one), strict=True) for part in pair]
        arguments = (len(made), *redis_keys, first.ttl_s, 2 * len(_OWN), len(shared), *shared, *own)
        with translated():
            try:
                await self._write(self._put.sha, redis_keys, first, about.owner, arguments)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                sha = await self._client.script_load(self._put.script)
                await self._write(sha, redis_keys, first, about.owner, arguments)

    def _own_values(self, one: StoredEmbedding) -> tuple[Any, ...]:
        vector = self._vector.put(one.vector.data, of=one.entry_id)
        return one.entry_id, one.vector.form.value, vector, one.tokens, int(one.is_estimated)

    async def _write(
        self, sha: str, redis_keys: Sequence[str], first: StoredEmbedding, owner: str, arguments: Sequence[Any]
    ) -> None:
        expires_at = first.created_at + first.ttl_s
        async with self._client.pipeline(transaction=False) as pipe:
            # First, and in another slot of a cluster: what is there is always named here, and so weighed and removed with the rest.
            pipe.zadd(keys.EXPIRY, dict.fromkeys(redis_keys, expires_at))
            note(pipe, owner, redis_keys, expires_at=expires_at)
            pipe.evalsha(sha, *arguments)
            await pipe.execute()


def field_names() -> tuple[str, ...]:
    """All fields of a stored vector."""
    return (*_FIELDS, "namespace", "model", "family")


def sealed_vector(seal: Seal | NoSeal) -> SealedField:
    """The field `vector`, bound to the digest of its input."""
    return SealedField(seal, "vector")


def _read(fields: Sequence[bytes | None] | None, sealed: SealedField) -> StoredEmbedding | None:
    if not fields or None in fields:
        return None
    entry_id, form, stored, model, tokens, estimated, created_at, ttl_s, tags = (field or b"" for field in fields)
    vector = sealed.get(stored, of=entry_id.decode())
    if vector is None:
        return None
    return StoredEmbedding(
        entry_id=entry_id.decode(),
        vector=Vector(vector, Form(form.decode())),
        model=model.decode(),
        tokens=int(tokens),
        is_estimated=estimated == b"1",
        created_at=float(created_at),
        ttl_s=int(ttl_s),
        tags=tuple(filter(None, tags.decode().split(","))),
    )
