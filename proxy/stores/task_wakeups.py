"""Hearing that tasks became ready: one subscription connection per process, for all queues that somebody waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from proxy.errors import StoreUnavailableError
from proxy.stores.client import translated


@dataclass(frozen=True, slots=True)
class Heard:
    """What arrived on the subscription.

    Attributes:
        channel: where.
        count: how many tasks became ready; None confirms that the channel is listened to from now on.
    """

    channel: str
    count: int | None


class WakeUps:
    """Subscriptions. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        listening: a client of its own, of one connection without a timeout.
    """

    def __init__(self, listening: Redis) -> None:
        self._client = listening
        self._subscription: PubSub | None = None

    async def listen_to(self, *channels: str) -> None:
        """Listen to channels, too; `next` confirms each."""
        subscription = self._subscription or self._client.pubsub()
        with translated():
            await subscription.subscribe(*channels)
        self._subscription = subscription

    async def stop_listening(self, *channels: str) -> None:
        """Listen to these no longer."""
        if self._subscription is not None:
            with translated():
                await self._subscription.unsubscribe(*channels)

    async def next(self, timeout_s: float) -> Heard | None:
        """What arrives next, None if nothing did in time."""
        if self._subscription is None:
            raise StoreUnavailableError("There is no subscription: Redis could not be reached.")
        with translated():
            message: Any = await self._subscription.get_message(timeout=timeout_s)
        if message is None or message["type"] not in ("subscribe", "message"):
            return None
        channel = message["channel"].decode()
        return Heard(channel, int(message["data"]) if message["type"] == "message" else None)

    async def reset(self) -> None:
        """Give the connection up; the next `listen_to` opens another."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close everything."""
        await self.reset()
        await self._client.aclose()
