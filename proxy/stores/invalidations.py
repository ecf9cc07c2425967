"""What changes in Redis, told by Redis: its own tracking of keys by prefix (CLIENT TRACKING BCAST), on a connection of its own.

Every write, deletion, expiry and eviction of such a key is told, whoever did it. Nothing is told while the connection is away, and nothing
says afterwards what happened meanwhile: who keeps copies drops them all then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from proxy.errors import StoreUnavailableError
from proxy.stores.client import translated

CHANNEL = "__redis__:invalidate"
"""Where Redis tells it in RESP2."""
CHECK_S = 1.0
"""A silent connection is asked this often whether it still lives, and given as long to say so: no copy is older than twice that."""


class Invalidations:
    """Listens.

    Args:
        listening: a client without a timeout and of its own, of one connection, in RESP2.
        prefixes: of the keys to be told of.
    """

    def __init__(self, listening: Redis, prefixes: Sequence[str]) -> None:
        self._listening = listening
        self._prefixes = tuple(prefixes)

    async def follow(self, *, on_live: Callable[[], None], on_change: Callable[[str | None], None]) -> None:
        """Tell of changes until the connection is lost.

        Args:
            on_live: called once Redis tells of every change from now on.
            on_change: given a key that changed; None for all of them.

        Raises:
            StoreError: the connection is lost, or Redis refuses to tell.
        """
        pubsub: PubSub = self._listening.pubsub()
        try:
            with translated():
                await self._track(pubsub)
                on_live()
                await self._listen(pubsub, on_change)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close the connection."""
        await self._listening.aclose()

    async def _track(self, pubsub: PubSub) -> None:
        async with asyncio.timeout(CHECK_S):
            await pubsub.connect()  # type: ignore[no-untyped-call]
            connection: Any = pubsub.connection
            await connection.send_command("CLIENT", "ID")
            own_id = await connection.read_response()
            # Redirected to itself: what is lost, is lost together.
            tracking = ["CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST"]
            await connection.send_command(
                *tracking, *(word for prefix in self._prefixes for word in ("PREFIX", prefix))
            )
            await connection.read_response()
            await pubsub.subscribe(CHANNEL)
            await pubsub.get_message(timeout=None)

    async def _listen(self, pubsub: PubSub, on_change: Callable[[str | None], None]) -> None:
        is_asked = False
        while True:
            message: Any = await pubsub.get_message(timeout=CHECK_S)
            if message is None and is_asked:
                raise StoreUnavailableError("Redis gave no answer: the connection that tells of changes is silent.")
            is_asked = message is None
            if message is None:
                await pubsub.ping()
            elif message["type"] == "message":
                for key in message["data"] if message["data"] is not None else (None,):
                    on_change(None if key is None else key.decode())
