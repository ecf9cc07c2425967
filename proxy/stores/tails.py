"""Following streams: pages of what is there, and one blocking read for all that are waited for.

One connection waits for many streams at once (XREAD BLOCK), since a thousand watchers must not hold a thousand connections. CLIENT UNBLOCK
ends the wait when another stream is to be followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.ports import StreamEntry
from proxy.stores.client import translated

BATCH = 500
"""Entries of one stream per reply."""


class StreamTails:
    """Reads of streams for `services.tails`. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies; for all that answers at once.
        blocking: a client without a timeout and of its own, of one connection that waits.
        encoding: of names and values; Latin-1 gives values that are no texts back byte for byte.
    """

    def __init__(self, client: Redis, blocking: Redis, *, encoding: str = "utf-8") -> None:
        self._encoding = encoding
        self._client = client
        self._blocking = blocking
        self._waiting_id: int | None = None  # of the connection while it waits

    async def page(self, key: str, *, after: str, count: int) -> list[StreamEntry]:
        """The first `count` entries that follow an id."""
        with translated():
            return self._entries(await self._client.xrange(key, min=f"({after}", count=count))

    async def last_id(self, key: str) -> str:
        """Id of the newest entry, "0-0" for a stream without any."""
        with translated():
            newest: Any = await self._client.xrevrange(key, count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def is_trimmed_after(self, key: str, after: str) -> bool:
        """Whether entries after this id may have been trimmed away: it is not there any more, but later ones are."""
        if after == "0-0":
            return False
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.xrange(key, min=after, max=after)
                pipe.xrange(key, max=after, count=1)
                pipe.xrange(key, count=1)
                it, earlier, first = await pipe.execute()
        return not it and not earlier and bool(first)

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Wait until a stream has entries after its id; empty when none came in time, or `interrupt` was called."""
        with translated():
            # Asked anew each time: a connection that was closed while idle is replaced without a word.
            self._waiting_id = int(await self._blocking.client_id())
            try:
                wanted: dict[Any, Any] = dict(after)
                replies: Any = await self._blocking.xread(wanted, block=block_ms, count=BATCH)
            finally:
                self._waiting_id = None
        return {key.decode(): self._entries(entries) for key, entries in replies or ()}

    async def interrupt(self) -> None:
        """End the wait now."""
        if self._waiting_id is not None:
            with translated():
                await self._client.client_unblock(self._waiting_id)

    async def aclose(self) -> None:
        """Close the connection that waits."""
        await self._blocking.aclose()

    def _entries(self, replies: Any) -> list[StreamEntry]:
        return [StreamEntry(entry_id.decode(), self._texts(fields)) for entry_id, fields in replies]

    def _texts(self, fields: Mapping[bytes, bytes] | Sequence[Any]) -> dict[str, str]:
        encoding = self._encoding
        return {
            name.decode(encoding, "replace"): value.decode(encoding, "replace") for name, value in dict(fields).items()
        }
