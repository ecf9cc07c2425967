"""Calls under way that processes share: leases, followers, what leaders tell them.

flight            string   lease: id of the call that leads, ` landed` behind it once its answer is stored
flight-followers  zset     processes that follow a call, by when they cease to count
flight-words      stream   head, pieces and end of its answer, for them; ids are 1-0, 2-0, … so that a word sent twice is there once
flight-inbox      stream   of one process: somebody begins to follow one of its calls
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from proxy.core.flights import Lease
from proxy.core.keys import FlightKeys
from proxy.stores.client import translated
from proxy.stores.responses import script

INBOX_ENTRIES = 1000
"""Kept of an inbox: what is in it is read within milliseconds, or found out at the next renewal."""
INBOX_MS = 60_000
WORDS_MS = 15_000
"""How long words are kept beyond the last one, or the last renewal of the lease: for those who come late."""


class FlightStore:
    """Shared calls in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._renew = client.register_script(script("flight_renew"))
        self._land = client.register_script(script("flight_land"))
        self._beat = client.register_script(script("flight_beat"))

    async def claim(self, lease: str, flight: str, *, ttl_ms: int) -> Lease | None:
        """Take the lease if nobody has it; else the one that is held. One round trip."""
        with translated():
            # By hand: redis-py builds this command five times slower, on the way of every miss.
            held: Any = await self._client.execute_command(  # type: ignore[no-untyped-call]
                "SET", lease, flight, "NX", "GET", "PX", ttl_ms, get=True
            )
        return Lease.from_wire(held)

    async def renew(self, calls: Sequence[tuple[FlightKeys, str]], *, ttl_ms: int) -> list[tuple[bool, int]]:
        """Renew leases; for each whether it is still the caller's, and how many processes follow. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for at, flight in calls:
                    await self._renew(
                        keys=[at.lease, at.followers, at.words], args=[flight, ttl_ms, WORDS_MS], client=pipe
                    )
                replies: Any = await pipe.execute()
        return [(is_ours == 1, followers) for is_ours, followers in replies]

    async def land(self, lease: str, flight: str, *, linger_ms: int | None) -> None:
        """Give a lease up: at once, or after so long, in which it says that the answer is stored."""
        landed = "" if linger_ms is None else Lease(flight, has_landed=True).to_wire()
        with translated():
            await self._land(keys=[lease], args=[flight, landed, linger_ms or 0])

    async def beat(self, at: FlightKeys, follower: str, *, ttl_ms: int) -> Lease | None:
        """Count as a follower; who leads now."""
        with translated():
            return Lease.from_wire(await self._beat(keys=[at.lease, at.followers], args=[follower, ttl_ms]))

    async def leave(self, at: FlightKeys, follower: str) -> None:
        """Follow no more."""
        with translated():
            await self._client.zrem(at.followers, follower)

    async def followers(self, at: FlightKeys) -> int:
        """How many processes follow, those that fell silent among them until the lease is renewed."""
        with translated():
            return int(await self._client.zcard(at.followers))

    async def tell(self, inbox: str, fields: Mapping[str, str]) -> None:
        """Write into the inbox of the process that leads."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                entry: dict[Any, Any] = dict(fields)
                pipe.xadd(inbox, entry, maxlen=INBOX_ENTRIES, approximate=True)
                pipe.pexpire(inbox, INBOX_MS)
                await pipe.execute()

    async def say(self, words: str, first: int, said: Sequence[Mapping[str, str | bytes]]) -> None:
        """Append words in order; one that is there already is not said again.

        Args:
            words: the call's stream.
            first: number of the first of them, from 1 on.
            said: fields of each.
        """
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for number, fields in enumerate(said, start=first):
                    entry: dict[Any, Any] = dict(fields)
                    pipe.xadd(words, entry, id=f"{number}-0")
                pipe.pexpire(words, WORDS_MS)
                replies = await pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, ResponseError) and "equal or smaller" in str(reply):
                    continue  # it arrived the first time, only the answer to that did not
                if isinstance(reply, Exception):
                    raise reply
