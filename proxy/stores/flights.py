"""Calls under way that processes share: leases, followers, what leaders tell them.

flight            string   lease: id of the call that leads, ` landed` behind it once its answer is stored
flight-followers  zset     processes that follow a call, by when they cease to count
flight-words      stream   head, pieces and end of its answer, for them; ids are 1-0, 2-0, … so that a word sent twice is there once;
                           pieces are sealed where keys are set
flight-inbox      stream   of one process: somebody begins to follow one of its calls
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from proxy.core.flights import Dropped, Lease, to_fields
from proxy.core.keys import FlightKeys
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField
from proxy.stores.tails import StreamTails

INBOX_ENTRIES = 1000
"""Kept of an inbox: what is in it is read within milliseconds, or found out at the next renewal."""
INBOX_MS = 60_000
WORDS_MS = 15_000
"""How long words are kept beyond the last one, or the last renewal of the lease: for those who come late."""


_PIECE = "data"
"""The field that holds what the provider answered."""


class FlightStore:
    """Shared calls in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        seal: encrypts the pieces.
    """

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._piece = SealedField(seal, _PIECE)
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
                    if _PIECE in entry:
                        entry[_PIECE] = self._piece.put(entry[_PIECE], of=words)
                    pipe.xadd(words, entry, id=f"{number}-0")
                pipe.pexpire(words, WORDS_MS)
                replies = await pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, ResponseError) and "equal or smaller" in str(reply):
                    continue  # it arrived the first time, only the answer to that did not
                if isinstance(reply, Exception):
                    raise reply


class FlightWords(StreamTails):
    """Words as their followers read them, their bytes as Latin-1. A piece that no key opens reads as a leader that dropped them.

    Args:
        client: binary replies; for all that answers at once.
        blocking: a client without a timeout and of its own, of one connection that waits.
        seal: opens pieces.
    """

    def __init__(self, client: Redis, blocking: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        super().__init__(client, blocking, encoding="latin-1")
        self._piece = SealedField(seal, _PIECE)

    async def page(self, key: str, *, after: str, count: int) -> list[StreamEntry]:
        """The first `count` words that follow an id."""
        return self._opened(key, await super().page(key, after=after, count=count))

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Wait until there are more words."""
        came = await super().wait(after, block_ms=block_ms)
        return {key: self._opened(key, entries) for key, entries in came.items()}

    def _opened(self, key: str, entries: list[StreamEntry]) -> list[StreamEntry]:
        return [self._open(key, entry) if _PIECE in entry.fields else entry for entry in entries]

    def _open(self, key: str, entry: StreamEntry) -> StreamEntry:
        piece = self._piece.get(entry.fields[_PIECE].encode("latin-1"), of=key)
        told = to_fields(Dropped()) if piece is None else {**entry.fields, _PIECE: piece.decode("latin-1")}
        return StreamEntry(entry.entry_id, {name: str(value) for name, value in told.items()})
