"""The agents' side of the application: state, tasks, events, signals, joined as `app.py` joins the cache; part of the composition root."""

from __future__ import annotations

from redis.asyncio import Redis

from proxy.services.background import Background
from proxy.services.tails import Tails
from proxy.settings import Settings
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.tails import StreamTails


class Fleet:
    """The parts that agents share, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis.
        client: for commands that answer at once.
        guard: bounds what Redis may cost.
        background: runs what outlives a request.
    """

    def __init__(
        self, settings: Settings, redis_url: str, *, client: Redis, guard: Guard, background: Background
    ) -> None:
        deadline_s = settings.redis.store_deadline_ms / 1000
        self._stream_tails = StreamTails(client, open_client(redis_url, deadline_ms=None, max_connections=1))
        self.tails = Tails(self._stream_tails, guard, background, deadline_s=deadline_s)

    def open(self) -> None:
        """Start the background work."""

    def end_streams(self) -> None:
        """Let everything that streams to callers end: no more requests are taken."""
        self.tails.close()

    async def aclose(self) -> None:
        """Close the connections of its own; the background has ended before."""
        await self._stream_tails.aclose()
