"""Single flight across processes: of all that ask exactly the same at once, on whichever replica, one asks the provider.

`fly` is what a `Flight` of `single_flight` does instead of calling the provider: it claims the call, and then makes it, or follows who
makes it. To its own callers a followed flight is one like any other. The rules are in `core.flights`.

    leader    claims the lease, makes the call, renews the lease. Nothing is written of its answer until somebody follows; then a relay
              reads the flight as one more caller would, and writes its words down. It holds nobody up, and keeps the call going for them.
    follower  counts itself in, tells the leader's inbox, reads the words as they come, and looks after the leader every `BEAT_S`.

Redis away, or slow: the claim is given up within its deadline, and the call is made, shared within this process alone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from proxy.core import keys
from proxy.core.flights import ALONE, LEASE_S, Alone, BreakOff, Follow, Lead, TakeOver, after_claim
from proxy.errors import StoreError, UpstreamBrokenError
from proxy.ports import FlightStore, Guard
from proxy.services.background import Background
from proxy.services.flight_follower import Follower, Read
from proxy.services.flight_leader import Fly, Leader
from proxy.services.single_flight import Flight
from proxy.services.tails import Tails


class SharedFlights:
    """The calls that this process leads, and those of others that it follows.

    Args:
        store: where they are shared.
        tails: follows streams; of its own, since values are bytes.
        guard: bounds what Redis may cost.
        background: runs what outlives a call.
        process: names this process, and none before it.
        claim_deadline_s: what a miss may wait for Redis.
        deadline_s: of what no caller waits for.
        on_event: told of calls `followed`, `taken-over`, `broken-off`.
    """

    def __init__(
        self,
        store: FlightStore,
        tails: Tails,
        guard: Guard,
        background: Background,
        *,
        process: str,
        claim_deadline_s: float,
        deadline_s: float,
        on_event: Callable[[str], None],
    ) -> None:
        self._store = store
        self._guard = guard
        self._background = background
        self._process = process
        self._claim_deadline_s = claim_deadline_s
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._leader = Leader(store, tails, guard, background, process=process, deadline_s=deadline_s)
        self._follower = Follower(store, tails, guard, background, deadline_s=deadline_s)

    def open(self) -> None:
        """Begin to renew leases, and to hear of followers."""
        self._leader.open()

    async def drain(self, *, deadline_s: float) -> None:
        """Let the followers of other processes have the answers that are under way here."""
        await self._leader.drain(deadline_s=deadline_s)

    async def fly(self, flight: Flight, lease: str, call: Fly, *, found_nothing: bool, read: Read) -> None:
        """Make the call, unless another process makes it; then read what that reads. Ends with `land`, as a call does.

        Args:
            flight: to which the answer is told.
            lease: `keys.flight_lease` of the request.
            call: asks the provider.
            found_nothing: as `core.flights.after_claim` takes it.
            read: takes the answer apart.
        """
        name = f"{self._process}.{next(self._numbers)}"
        state = await self._claimed(lease, name, found_nothing=found_nothing)
        while isinstance(state, Follow):
            self._on_event("followed")
            end = await self._follower.follow(flight, keys.flight_keys(lease, state.flight), state.flight, read)
            match end:
                case None:
                    return
                case BreakOff():
                    self._on_event("broken-off")
                    flight.land(UpstreamBrokenError("The process that passed the answer on has ended."))
                    return
                case TakeOver():
                    self._on_event("taken-over")
                    state = await self._claimed(lease, name, found_nothing=found_nothing)
                case Alone():
                    state = end
        if isinstance(state, Lead):
            await self._leader.lead(flight, keys.flight_keys(lease, name), name, call)
        else:
            await call(flight)

    async def _claimed(self, lease: str, name: str, *, found_nothing: bool) -> Lead | Follow | Alone:
        try:
            async with self._guard.within(self._claim_deadline_s):
                held = await self._store.claim(lease, name, ttl_ms=int(LEASE_S * 1000))
        except (StoreError, asyncio.CancelledError) as error:
            # It may have been taken all the same, and others would wait for a call that nobody makes.
            self._background.spawn(self._leader.give_up(lease, name), name="flight-lease")
            if not isinstance(error, StoreError):
                raise
            return ALONE
        return after_claim(held, found_nothing=found_nothing)
