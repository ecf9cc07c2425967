"""Whose a session is, and nothing else of it: one field of its hash `meta`, as `stores.sessions` writes it."""

from __future__ import annotations

from redis.asyncio import Redis

from proxy.core import keys
from proxy.stores.client import translated


class SessionUsers:
    """Reads it. Raises the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def user_of(self, tenant: str, session: str) -> str | None:
        """Who spoke first in a session, or was named as its user; None where nobody was. One round trip."""
        _, _, meta = keys.session_keys(keys.session_tag(tenant, session))
        with translated():
            (found,) = await self._client.hmget(meta, ["user"])
        return str(found, "utf-8") if isinstance(found, bytes) and found else None
