"""The calls this process leads for others: leases renewed, and answers written down for whoever follows (`services.shared_flights`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from proxy.core import keys
from proxy.core.flights import BEAT_S, LEASE_S, LINGER_S, Data, Dropped, End, Failure, Head, Word, to_fields
from proxy.core.keys import FlightKeys
from proxy.errors import StoreError, StoreFullError, UpstreamError
from proxy.ports import FlightStore, Guard
from proxy.services.background import Background
from proxy.services.single_flight import Flight, Overrun
from proxy.services.tails import Gap, Tails

logger = logging.getLogger("deja.flights")

BATCH_S = 0.02
"""Between two writings of a relay: what comes within that is one word. Below what a reader notices, above what a token takes."""
WORD_BYTES = 256 << 10
"""Of a body at once: larger commands hold up the others on Redis' one thread."""
RETRY_S = 0.25
"""Between attempts while Redis is away."""
TRIES = 20
"""Of writing a word: five seconds, by when the lease has run out."""

Fly = Callable[[Flight], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Led:
    """A call of this process that others may follow.

    Attributes:
        reader: the relay's number at the flight.
        relay: writes the answer down, once somebody follows.
        is_held: the lease is to be renewed.
        unfollowed: renewals in a row that found no follower.
    """

    flight: Flight
    at: FlightKeys
    name: str
    reader: int = 0
    relay: asyncio.Task[None] | None = None
    is_held: bool = True
    unfollowed: int = 0


class Leader:
    """The leading side.

    Args:
        store: where calls are shared.
        tails: follows the inbox.
        guard: bounds what Redis may cost.
        background: runs what outlives a call.
        process: names this process.
        deadline_s: of what no caller waits for.
    """

    def __init__(
        self,
        store: FlightStore,
        tails: Tails,
        guard: Guard,
        background: Background,
        *,
        process: str,
        deadline_s: float,
    ) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self._background = background
        self._process = process
        self._deadline_s = deadline_s
        self._led: dict[str, _Led] = {}

    def open(self) -> None:
        """Begin to renew leases, and to hear of followers."""
        self._background.keep(self._renew, name="flight-leases")
        self._background.keep(self._read_inbox, name="flight-inbox")

    async def drain(self, *, deadline_s: float) -> None:
        """Let followers have the answers that are under way."""
        relays = [led.relay for led in self._led.values() if led.relay is not None]
        if relays:
            await asyncio.wait(relays, timeout=deadline_s)

    async def lead(self, flight: Flight, at: FlightKeys, name: str, call: Fly) -> None:
        """Make a call whose lease this process has just claimed."""
        led = self._led[name] = _Led(flight, at, name)
        try:
            await call(flight)
        finally:  # also when everybody has left, and the call was cancelled
            self._background.spawn(self._end(led), name="flight-end")

    async def _end(self, led: _Led) -> None:
        """Let the followers have the end, then give the lease up; who comes too late for the lease may still follow for a moment."""
        if led.relay is not None:
            await asyncio.wait({led.relay}, timeout=self._deadline_s)
        led.is_held = False
        is_stored = led.flight.entry_id is not None
        await self.give_up(led.at.lease, led.name, linger_ms=_ms(LINGER_S) if is_stored else None)
        await asyncio.sleep(LINGER_S)
        del self._led[led.name]

    async def give_up(self, lease: str, name: str, *, linger_ms: int | None = None) -> None:
        """Let others have a lease: at once, or after it has said for so long that the answer is stored."""
        with suppress(StoreError):  # it runs out by itself
            async with self._guard.within(self._deadline_s):
                await self._store.land(lease, name, linger_ms=linger_ms)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            held = [led for led in self._led.values() if led.is_held]
            if not held:
                continue
            try:
                async with self._guard.within(self._deadline_s):
                    told = await self._store.renew([(led.at, led.name) for led in held], ttl_ms=_ms(LEASE_S))
            except StoreError as error:
                logger.debug("leases are not renewed: %s", error)
                continue
            for led, (_, followers) in zip(held, told, strict=True):
                led.unfollowed = 0 if followers else led.unfollowed + 1
                if followers:
                    self._relay_to_followers(led)  # what the inbox was told may have been lost
                elif led.unfollowed > 1:  # one such count may be older than the follower it misses
                    self._let_go(led)

    async def _read_inbox(self) -> None:
        inbox = keys.flight_inbox(self._process)
        while True:
            with suppress(StoreError):
                async with aclosing(self._tails.follow(inbox, after=None)) as tail:  # type: ignore[type-var]
                    async for entries in tail:
                        for entry in () if isinstance(entries, Gap) else entries:
                            await self._hear(entry.fields)
                return  # Deja shuts down
            await asyncio.sleep(RETRY_S)

    async def _hear(self, fields: Mapping[str, str]) -> None:
        led = self._led.get(fields.get("flight", ""))
        if led is None:
            return
        if fields.get("what") == "follows":
            self._relay_to_followers(led)
        elif led.relay is not None:
            with suppress(StoreError):
                async with self._guard.within(self._deadline_s):
                    if not await self._store.followers(led.at):
                        self._let_go(led)

    def _relay_to_followers(self, led: _Led) -> None:
        if led.relay is None:
            led.relay = self._background.spawn(self._relay(led), name="flight-relay")

    def _let_go(self, led: _Led) -> None:
        """Nobody follows any more. Where this process' own callers have left, too, the call goes with the relay."""
        if led.relay is not None and led.flight.is_read_by_none_but(led.reader):
            led.relay.cancel()

    async def _relay(self, led: _Led) -> None:
        """Write a flight's words down as they come."""
        flight, led.reader = led.flight, led.flight.attach(is_onlooker=True)
        speaker = _Speaker(self._store, self._guard, led.at.words, deadline_s=self._deadline_s)
        try:
            await self._relay_all(speaker, flight, led.reader)
        except StoreError as error:
            # They would wait for words that never come: without the lease they know.
            logger.debug("followers are left alone: %s", error)
            led.is_held = False
            await self.give_up(led.at.lease, led.name)
        finally:
            flight.detach(led.reader)

    async def _relay_all(self, speaker: _Speaker, flight: Flight, reader: int) -> None:
        try:
            await self._relay_to(speaker, flight, reader)
        except UpstreamError as error:
            await speaker.say([Failure(type(error).__name__, str(error))])
        except Overrun:
            await speaker.say([Dropped()])

    async def _relay_to(self, speaker: _Speaker, flight: Flight, reader: int) -> None:
        if flight.landed_at is not None and flight.entry_id is None:
            raise Overrun  # whoever asks only now wants an answer of its own
        await flight.head()
        head = Head(flight.status, flight.headers, flight.is_event_stream, flight.upstream_ms)
        if not flight.is_event_stream:
            body = await flight.body(reader)
            pieces = [body[at : at + WORD_BYTES] for at in range(0, len(body), WORD_BYTES)]
            await speaker.say([head, *map(Data, pieces), End(flight.entry_id, flight.not_stored)])
            return
        await speaker.say([head])
        while (piece := await flight.more(reader)) is not None:
            await speaker.say([Data(piece)])
            await asyncio.sleep(BATCH_S)
        await speaker.say([End(flight.entry_id, flight.not_stored)])


class _Speaker:
    """Writes the words of one call down, numbered: one that is sent again is there once."""

    def __init__(self, store: FlightStore, guard: Guard, words: str, *, deadline_s: float) -> None:
        self._store = store
        self._guard = guard
        self._words = words
        self._deadline_s = deadline_s
        self._next = 1

    async def say(self, words: Sequence[Word]) -> None:
        """StoreError when it cannot be done."""
        first, self._next = self._next, self._next + len(words)
        said = [to_fields(word) for word in words]
        for tries_left in reversed(range(TRIES)):
            try:
                async with self._guard.within(self._deadline_s):
                    await self._store.say(self._words, first, said)
            except StoreError as error:
                if isinstance(error, StoreFullError) or not tries_left:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
