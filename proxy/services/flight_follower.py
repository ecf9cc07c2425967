"""The following side of calls that processes share: reads what a leader writes down, and looks after the leader."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import aclosing, suppress

from proxy.core import keys
from proxy.core.answers import Answer
from proxy.core.flights import (
    ALONE,
    BEAT_S,
    LEASE_S,
    SILENCE,
    Alone,
    BreakOff,
    Data,
    Dropped,
    End,
    Failure,
    Following,
    Head,
    Lease,
    Silence,
    TakeOver,
    from_fields,
    lost,
)
from proxy.core.keys import FlightKeys
from proxy.errors import StoreError, UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.ports import FlightStore, Guard, StreamEntry
from proxy.services.background import Background
from proxy.services.single_flight import Flight
from proxy.services.tails import Gap, Tails

_ERRORS = {kind.__name__: kind for kind in (UpstreamError, UpstreamTimeoutError, UpstreamBrokenError)}

Read = Callable[[Flight, bytes], Answer | None]
"""Takes a complete answer apart, for whoever records it."""


class Follower:
    """The following side.

    Args:
        store: where calls are shared.
        tails: follows words; of its own, since their values are bytes.
        guard: bounds what Redis may cost.
        background: runs what outlives a call.
        deadline_s: of one look at the leader.
    """

    def __init__(
        self, store: FlightStore, tails: Tails, guard: Guard, background: Background, *, deadline_s: float
    ) -> None:
        self._store = store
        self._tails = tails
        self._guard = guard
        self._background = background
        self._deadline_s = deadline_s

    async def follow(self, flight: Flight, at: FlightKeys, name: str, read: Read) -> TakeOver | Alone | BreakOff | None:
        """Read what another process reads; None once that is complete, else what to do without it."""
        follower = secrets.token_hex(8)
        inbox = keys.flight_inbox(name.partition(".")[0])
        if await self._look(at, follower) is SILENCE:
            return ALONE
        state: Following | TakeOver | Alone | BreakOff = Following(name)
        hearing = Hearing(flight, read)
        listening: asyncio.Task[TakeOver | Alone | BreakOff | None] = self._background.spawn(
            self._listen(hearing, at.words), name="flight-words"
        )
        try:
            await self._tell(inbox, name, "follows")
            while isinstance(state, Following):
                await asyncio.wait({listening}, timeout=BEAT_S)
                if listening.done():
                    return listening.result()
                state = state.after_look(await self._look(at, follower), has_begun=hearing.has_begun)
            return state
        finally:
            listening.cancel()
            self._background.spawn(self._leave(at, follower, inbox, name), name="flight-leave")

    async def _listen(self, hearing: Hearing, words: str) -> TakeOver | Alone | BreakOff | None:
        with suppress(StoreError):
            async with aclosing(self._tails.follow(words, after="0-0")) as tail:  # type: ignore[type-var]
                async for entries in tail:
                    for entry in () if isinstance(entries, Gap) else entries:
                        if not await hearing.hear(entry):
                            return lost(has_begun=hearing.has_begun, is_silent=True)
                    if hearing.is_over:
                        return None
        return lost(has_begun=hearing.has_begun, is_silent=True)

    async def _look(self, at: FlightKeys, follower: str) -> Lease | Silence | None:
        try:
            async with self._guard.within(self._deadline_s):
                return await self._store.beat(at, follower, ttl_ms=int(LEASE_S * 1000))
        except StoreError:
            return SILENCE

    async def _leave(self, at: FlightKeys, follower: str, inbox: str, name: str) -> None:
        with suppress(StoreError):  # it ceases to count by itself
            async with self._guard.within(self._deadline_s):
                await self._store.leave(at, follower)
        await self._tell(inbox, name, "left")

    async def _tell(self, inbox: str, name: str, what: str) -> None:
        with suppress(StoreError):  # the leader finds out at its next renewal
            async with self._guard.within(self._deadline_s):
                await self._store.tell(inbox, {"flight": name, "what": what})


class Hearing:
    """Tells a flight what its leader says.

    An answer that is no stream begins only when it is complete: until then its callers have got nothing, and another can lead.
    """

    def __init__(self, flight: Flight, read: Read) -> None:
        self._flight = flight
        self._read = read
        self._head: Head | None = None
        self._body = bytearray()
        self._next = 1

    @property
    def has_begun(self) -> bool:
        """Callers may have got some of the answer."""
        return bool(self._flight.status)

    @property
    def is_over(self) -> bool:
        """The flight has landed."""
        return self._flight.landed_at is not None

    async def hear(self, entry: StreamEntry) -> bool:
        """Take in the next word; False if there is no sense in waiting for more."""
        if entry.entry_id != f"{self._next}-0":
            return False  # an earlier one is gone
        self._next += 1
        match from_fields(entry.fields):
            case Head() as head:
                self._begin(head)
            case Data(piece):
                self._body += piece
                if self.has_begun:
                    await self._flight.add(piece, keep=True)
            case End() as end:
                await self._end(end)
            case Failure(kind, text):
                self._flight.land(_ERRORS.get(kind, UpstreamError)(text))
            case Dropped():
                return False
        return True

    def _begin(self, head: Head) -> None:
        self._head, flight = head, self._flight
        flight.upstream_ms, flight.is_followed = head.upstream_ms, True
        if head.is_event_stream:
            flight.depart(head.status, head.headers, is_event_stream=True)

    async def _end(self, end: End) -> None:
        head, flight = self._head, self._flight
        assert head is not None
        flight.entry_id, flight.not_stored = end.entry_id, end.not_stored
        if not head.is_event_stream:
            flight.depart(head.status, head.headers, is_event_stream=False)
            await flight.add(bytes(self._body), keep=True)
        flight.answer = self._read(flight, bytes(self._body))
        flight.is_whole = True
        flight.land()
