"""What nothing stored can answer: one call upstream for all who ask it, passed on as it comes, stored before its last byte leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from proxy.core import keys
from proxy.core.answers import Answer, can_replay
from proxy.core.dialects.base import Fault
from proxy.core.freshness import FAILED, FRESH_ONLY, Freshness
from proxy.core.models import Forwarded, HitKind, NotStored, Reason
from proxy.errors import UpstreamError, where
from proxy.ports import UpstreamRequest, UpstreamResponse
from proxy.services.bookkeeping import Books
from proxy.services.calls import Decision, Reply
from proxy.services.first_level import FirstLevel
from proxy.services.keeper import Keeper
from proxy.services.shared_flights import SharedFlights
from proxy.services.single_flight import Flight, Flights

logger = logging.getLogger("deja.completions")

_SHARED_BYPASSES = frozenset({Reason.REDIS_UNAVAILABLE.value, Reason.INDEX_LOADING.value})
"""Bypasses the caller did not ask for: sharing a call is worth most while the cache is away."""


@dataclass(frozen=True, slots=True)
class ForwardingPolicy:
    """The settings.

    Attributes:
        answer_bytes: the largest answer that is stored.
        freshness: what may be served past its freshness.
    """

    answer_bytes: int
    freshness: Freshness = FRESH_ONLY


class Forwarding:
    """Calls upstream.

    Args:
        flights: of this process.
        shared_flights: of all processes, None where calls are not shared with others.
        keeper: stores answers.
        books: counts calls.
        first_level: is told of what is stored.
        policy: the settings.
        now: unix time in seconds.
    """

    def __init__(
        self,
        *,
        flights: Flights,
        shared_flights: SharedFlights | None,
        keeper: Keeper,
        books: Books,
        first_level: FirstLevel,
        policy: ForwardingPolicy,
        now: Callable[[], float],
    ) -> None:
        self._flights = flights
        self._shared = shared_flights
        self._keeper = keeper
        self._books = books
        self._first_level = first_level
        self._policy = policy
        self._now = now

    async def forward(self, decision: Decision) -> tuple[Reply | None, Answer | None]:
        """Ask upstream, or join the call in flight that asks the same.

        Returns:
            The reply, and the answer taken apart where it is already complete. No reply where the provider failed and a stored answer
            stands in for it: the decision's outcome is then a hit.

        Raises:
            UpstreamError: no answer to pass on.
        """
        flight = self._board(decision)
        reader = flight.attach()
        try:
            if await self._is_stood_in_for(decision, flight):
                return None, None
            decision.outcome.is_collapsed = decision.outcome.is_collapsed or flight.is_followed
            decision.outcome.timings_ms["upstream"] = flight.upstream_ms
            if flight.is_event_stream:
                stream, reader = self._stream(decision, flight, reader), 0
                return Reply(flight.status, flight.headers, stream, is_event_stream=True), None
            body = await flight.body(reader)
            decision.answer = flight.answer
            decision.outcome.stored_as, decision.outcome.not_stored = flight.entry_id, flight.not_stored
            return Reply(flight.status, flight.headers, body), flight.answer
        finally:
            if reader:
                flight.detach(reader)

    async def _is_stood_in_for(self, decision: Decision, flight: Flight) -> bool:
        """Wait for the answer's head; where the provider fails, whether what is stored serves instead. UpstreamError if nothing does."""
        failure: UpstreamError | None = None
        try:
            await flight.head()
        except UpstreamError as error:
            failure = error
        if failure is None and flight.status not in FAILED:
            return False
        entry, call, now_s = decision.at_hand, decision.call, self._now()
        if (
            entry is not None
            and can_replay(entry.wire, as_stream=call.request.is_stream)
            and self._policy.freshness.stands_in(entry, call.directives, now_s=now_s)
        ):
            decision.outcome.serve(HitKind.EXACT, entry, now_s=now_s)
            return True
        if failure is not None:
            raise failure
        return False

    async def refresh(self, decision: Decision) -> str | None:
        """Ask the provider what a call asks, though something stored has served it; the id of the new entry."""
        call = replace(decision.call, answered=None)  # nobody gets this answer
        again = Decision(call, decision.route, decision.place, exact_only=decision.exact_only)
        again.outcome.forward(Forwarded.STALE, Reason.MAX_AGE)
        flight = self._board(again)
        reader = flight.attach()
        try:
            await flight.head()
            await flight.body(reader)
        finally:
            flight.detach(reader)
        return flight.entry_id

    def _board(self, decision: Decision) -> Flight:
        """The flight this call shares, or leads."""
        call, outcome = decision.call, decision.outcome
        key = None
        # A request that must not be stored, or must reach the provider by itself, keeps to itself.
        is_miss = outcome.fwd in (Forwarded.MISS, Forwarded.STALE) or outcome.reason in _SHARED_BYPASSES
        if is_miss and call.request.is_shareable:
            key = (decision.place.fingerprint, call.request.is_stream, call.request.include_usage)
            flight = self._flights.join(key, began_at=call.began_at)
            if flight is not None:
                outcome.is_collapsed = True
                return flight
        shared = self._shared
        if shared is None or key is None or decision.is_store_down:
            return self._flights.lead(key, lambda flight: self._fly(decision, flight))
        place, request = decision.place, call.request
        return self._flights.lead(
            key,
            lambda flight: shared.fly(
                flight,
                keys.flight_lease(place, is_stream=request.is_stream, include_usage=request.include_usage),
                lambda led: self._fly(decision, led),
                found_nothing=outcome.fwd is Forwarded.MISS and outcome.reason != Reason.NOT_RENDERABLE,
                read=lambda followed, raw: self._keeper.read(decision, followed, raw),
            ),
        )

    async def _fly(self, decision: Decision, flight: Flight) -> None:
        call = decision.call
        started = time.perf_counter()
        request = UpstreamRequest(
            "POST", call.path, call.query, call.headers, call.body, call.request.model, call.request.is_stream
        )
        try:
            response = await decision.route.upstream.send(decision.route.rewrite(request))
        except UpstreamError as error:
            self._books.failed(decision, is_begun=False)
            flight.land(error)
            return
        flight.upstream_ms = (time.perf_counter() - started) * 1000
        flight.by = response.served_by
        try:
            await self._carry(decision, flight, response)
            flight.is_whole = True
            flight.land()
        except UpstreamError as error:
            flight.not_stored = NotStored.PARTIAL
            flight.land(error)
        finally:
            self._book(decision, flight)
            await response.aclose()

    def _book(self, decision: Decision, flight: Flight) -> None:
        """Tell the ledger of a call whose head had arrived; one that everybody left is cancelled, and may be charged all the same."""
        if flight.is_whole or flight.answer is not None:
            self._books.called(decision, flight.status, flight.answer, by=flight.by)
        else:
            self._books.failed(decision, is_begun=flight.status < 400)

    async def _carry(self, decision: Decision, flight: Flight, response: UpstreamResponse) -> None:
        """Pass the body on as it comes; store the answer before its last byte leaves."""
        is_event_stream = response.status == 200 and _is_event_stream(response)
        flight.depart(response.status, response.headers, is_event_stream=is_event_stream)
        size, is_kept, ending = 0, False, decision.call.dialect.ending()
        async for piece in response.chunks():
            size += len(piece)
            fits = size <= self._policy.answer_bytes
            if is_event_stream and fits and not is_kept and ending.feed(piece):
                await self._keep(decision, flight, flight.raw() + piece)
                is_kept = True
            await flight.add(piece, keep=fits or not is_event_stream)
        if size > self._policy.answer_bytes:
            flight.not_stored = NotStored.TOO_LARGE
        elif not is_kept:
            await self._keep(decision, flight, flight.raw())

    async def _keep(self, decision: Decision, flight: Flight, raw: bytes) -> None:
        try:
            kept = await self._keeper.keep(
                decision,
                status=flight.status,
                headers=flight.headers,
                is_event_stream=flight.is_event_stream,
                raw=raw,
                by=flight.by,
            )
        except Exception as error:  # the same wall on the way back
            logger.error("request %s: storing failed with %s", decision.call.request_id, where(error))
            flight.not_stored = NotStored.CACHE_ERROR
            return
        flight.entry_id, flight.not_stored, flight.answer = kept.entry_id, kept.not_stored, kept.answer
        if decision.call.answered is not None and kept.answer is not None:
            await decision.call.answered(decision.call, kept.answer)
        if kept.entry_id is not None:  # Redis will say so too, perhaps a moment after the caller asks again
            self._first_level.changed(keys.exact_key(decision.place.room, decision.place.fingerprint))

    async def _stream(self, decision: Decision, flight: Flight, reader: int) -> AsyncIterator[bytes]:
        """The pieces as they come; an answer that breaks off ends with an error event, never with a splice."""
        try:
            async for piece in flight.pieces(reader):
                yield piece
        except UpstreamError as error:
            yield decision.call.dialect.error_event(broken_off(error))
        finally:
            decision.outcome.stored_as, decision.outcome.not_stored = flight.entry_id, flight.not_stored
            decision.answer = flight.answer
            flight.detach(reader)


def broken_off(error: UpstreamError) -> Fault:
    """What closes a stream whose provider went silent."""
    text = (
        f"The model provider broke off its answer: {error} What you have so far is incomplete; send the request again."
    )
    return Fault(502, text, "upstream_error", "upstream_broken")


def _is_event_stream(response: UpstreamResponse) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in response.headers
    )
