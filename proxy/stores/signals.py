"""Signals over Redis' pub/sub: published by any connection, received by one of their own, whoever and however many listen.

Nothing reconnects by itself here: what was sent while a connection was away is lost, and `services.signals` must know and tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from proxy.errors import StoreUnavailableError
from proxy.stores.client import translated


@dataclass(frozen=True, slots=True)
class Received:
    """What a subscription's connection said.

    Attributes:
        kind: `message`, or `subscribe` for a subscription that is in force now, or `pong`.
        key: Redis name of the channel; empty for a pong.
        data: what was published; empty for the others.
    """

    kind: str
    key: str
    data: bytes


class SignalBus:
    """Pub/sub in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: for publishing.
        listening: a client without a timeout and of its own, of one connection.
    """

    def __init__(self, client: Redis, listening: Redis) -> None:
        self._client = client
        self._listening = listening
        self._pubsub: PubSub | None = None

    async def publish(self, key: str, message: bytes) -> int:
        """Send a message; how many connections to Redis got it."""
        with translated():
            return int(await self._client.publish(key, message))

    async def open(self) -> None:
        """Connect for receiving."""
        with translated():
            self._pubsub = self._listening.pubsub()
            await self._pubsub.connect()  # type: ignore[no-untyped-call]

    async def drop(self) -> None:
        """Close that connection."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Ask for what is sent to some channels; `receive` tells when that is in force."""
        if keys:
            with translated():
                await self._open().subscribe(*keys)

    async def unsubscribe(self, key: str) -> None:
        """Ask for it no more."""
        with translated():
            await self._open().unsubscribe(key)

    async def ping(self) -> None:
        """Have Redis say something."""
        with translated():
            await self._open().ping()

    async def receive(self, timeout_s: float) -> Received | None:
        """What comes next, None if nothing does in time."""
        with translated():
            got: Any = await self._open().get_message(timeout=timeout_s)
        if got is None:
            return None
        is_message = got["type"] == "message"
        return Received(got["type"], (got["channel"] or b"").decode(), got["data"] if is_message else b"")

    async def aclose(self) -> None:
        """Close both connections of its own."""
        await self.drop()
        await self._listening.aclose()

    def _open(self) -> PubSub:
        if self._pubsub is None:
            raise StoreUnavailableError("Redis gave no answer: the connection for signals is closed.")
        return self._pubsub
