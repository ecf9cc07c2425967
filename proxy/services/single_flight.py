"""Single flight: identical misses of one tenant make one upstream call.

A `Flight` is one upstream call with its answer so far. It runs in a task of its own, so no caller owns it: callers attach, read the
pieces from the first one at their own pace, and detach; when the last one detaches before the end, the call is cancelled. An
upstream error reaches all of them.

A flight stays joinable for `LINGER_S` after it landed, but only for requests that had begun before: they were concurrent, looked into
the cache too early, and would otherwise make a second call for an answer that is being stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from proxy.core.answers import Answer
from proxy.errors import UpstreamError
from proxy.ports import Headers, UpstreamRoute
from proxy.services.background import Background

LINGER_S = 2.0
"""Longer than any look-up with its deadlines; short, since the answer is held in memory for it."""
BACKLOG_BYTES = 1 << 20
"""How far the slowest reader may lag before the flight stops reading from upstream."""


class Overrun(Exception):  # noqa: N818  not an error: the others go on
    """An onlooker has fallen behind what is kept of a large answer."""


class Flight:
    """One upstream call and its answer so far.

    Attributes:
        status: HTTP status, 0 until the head has arrived.
        headers: of the answer.
        is_event_stream: the body is passed on piece by piece.
        entry_id: where the answer was stored, None if it was not (or not yet).
        not_stored: why it was not.
        answer: taken apart, once complete and well-formed.
        is_whole: the answer came to its end, well-formed or not.
        by: who answered, where there were several to ask.
        is_followed: another process makes the call.
        upstream_ms: from sending to the head of the answer.
        landed_at: monotonic seconds when it ended, None while it flies.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.is_event_stream = False
        self.entry_id: str | None = None
        self.not_stored: str | None = None
        self.answer: Answer | None = None
        self.is_whole = False
        self.by: UpstreamRoute | None = None
        self.is_followed = False
        self.upstream_ms = 0.0
        self.landed_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._pieces: list[bytes | None] = []
        self._held_bytes = 0
        self._freed = 0  # pieces before this one are gone
        self._error: UpstreamError | None = None
        self._readers: dict[int, int] = {}  # reader id -> index of its next piece
        self._onlookers: set[int] = set()
        self._next_reader = 0
        self._dropped = False
        self._is_abandoned = False
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()

    # --- the side that flies ---------------------------------------------------------------------------------------------------

    def depart(self, status: int, headers: Headers, *, is_event_stream: bool) -> None:
        """The head of the answer has arrived."""
        self.status, self.headers, self.is_event_stream = status, headers, is_event_stream
        self._wake()

    async def add(self, piece: bytes, *, keep: bool) -> None:
        """One more piece of the body.

        Args:
            piece: as it arrived.
            keep: whether late joiners may still need it; an answer too large to store is dropped as it is read.
        """
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        self._dropped = self._dropped or not keep
        self._free()
        self._wake()
        while self._dropped and self._held_bytes > BACKLOG_BYTES:
            self._drained.clear()
            await self._drained.wait()

    def land(self, error: UpstreamError | None = None) -> None:
        """The answer is complete, or will never be."""
        self._error = error
        self.landed_at = time.monotonic()
        self._wake()

    def raw(self) -> bytes:
        """All bytes so far; only while nothing was dropped."""
        return b"".join(piece for piece in self._pieces if piece is not None)

    # --- the side that reads ---------------------------------------------------------------------------------------------------

    @property
    def is_joinable(self) -> bool:
        """Whether a newcomer can still read the answer from its first byte, and will get to its last."""
        # Not `task.cancelling()`: whatever has a deadline or races two connections within the task cancels it for a moment.
        return not self._dropped and not self._is_abandoned

    def attach(self, *, is_onlooker: bool = False) -> int:
        """Become a reader; returns the reader's number for `pieces` and `detach`.

        Args:
            is_onlooker: one that holds nobody up: of an answer too large to be kept it may lose pieces.
        """
        self._next_reader += 1
        self._readers[self._next_reader] = 0
        if is_onlooker:
            self._onlookers.add(self._next_reader)
        return self._next_reader

    def detach(self, reader: int) -> None:
        """Stop reading. The last reader to leave before the end takes the upstream call with it."""
        self._readers.pop(reader, None)
        self._free()
        if not self._readers and self.landed_at is None and self.task is not None:
            self._is_abandoned = True
            self.task.cancel()

    async def head(self) -> None:
        """Wait until the status is known.

        Raises:
            UpstreamError: there will be none.
        """
        while not self.status and self.landed_at is None:
            await self._wait()
        if not self.status:
            raise self._error or UpstreamError("The call to the model provider was cancelled.")

    async def pieces(self, reader: int) -> AsyncIterator[bytes]:
        """The body from its first byte, piece by piece as it arrives.

        Raises:
            UpstreamError: it stopped before its end.
        """
        while True:
            index = self._readers[reader]
            if index < len(self._pieces):
                piece = self._pieces[index]
                self._readers[reader] = index + 1
                self._free()
                assert piece is not None
                yield piece
            elif self.landed_at is None:
                await self._wait()
            elif self._error is not None:
                raise self._error
            else:
                return

    async def more(self, reader: int) -> bytes | None:
        """All that has come since the reader last read, at once; None after the end.

        Raises:
            UpstreamError: it stopped before its end.
            Overrun: an onlooker lost pieces.
        """
        while True:
            index = self._readers[reader]
            pieces = self._pieces[index:]
            if pieces:
                self._readers[reader] = index + len(pieces)
                if None in pieces:
                    raise Overrun
                return b"".join(piece for piece in pieces if piece is not None)
            if self.landed_at is None:
                await self._wait()
            elif self._error is not None:
                raise self._error
            else:
                return None

    def is_read_by_none_but(self, reader: int) -> bool:
        """Whether everybody else has left."""
        return self._readers.keys() <= {reader}

    async def body(self, reader: int) -> bytes:
        """The whole body, once it is complete.

        Raises:
            UpstreamError: it stopped before its end.
        """
        return b"".join([piece async for piece in self.pieces(reader)])

    # --- within ----------------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        # A fresh event per change: waiters of the old one all wake, newcomers wait for the next.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait(self) -> None:
        await self._changed.wait()

    def _free(self) -> None:
        """Let go of what every reader has read, once late joiners are out of the question."""
        if not self._dropped:
            return
        waited_for = (index for reader, index in self._readers.items() if reader not in self._onlookers)
        read_by_all = min(waited_for, default=len(self._pieces))
        for index in range(self._freed, read_by_all):
            self._held_bytes -= len(self._pieces[index] or b"")
            self._pieces[index] = None
        self._freed = max(self._freed, read_by_all)
        self._drained.set()


class Flights:
    """The flights of this process, by what they ask."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._flying: dict[Hashable, Flight] = {}

    def join(self, key: Hashable, *, began_at: float) -> Flight | None:
        """The flight that asks the same, if a request that began then may share it.

        Args:
            key: fingerprint and wire mode.
            began_at: monotonic seconds when the request arrived.
        """
        flight = self._flying.get(key)
        if flight is None or not flight.is_joinable:
            return None
        if flight.landed_at is not None and flight.landed_at < began_at:
            return None
        return flight

    def lead(self, key: Hashable | None, fly: Callable[[Flight], Awaitable[None]]) -> Flight:
        """Start a flight.

        Args:
            key: under which others may join; None keeps it private.
            fly: does the call; must end with `land` unless cancelled.
        """
        flight = Flight()
        flight.task = self._background.spawn(_as_coroutine(fly, flight), name="upstream-call")
        # A callback and not a `finally`: a task cancelled before its first step never runs its body.
        flight.task.add_done_callback(lambda task: self._landed(key, flight, was_cancelled=task.cancelled()))
        if key is not None:
            self._flying[key] = flight
        return flight

    def _landed(self, key: Hashable | None, flight: Flight, *, was_cancelled: bool) -> None:
        if flight.landed_at is None:
            what = "was cancelled" if was_cancelled else "failed within Deja, which has logged where"
            flight.land(UpstreamError(f"The call to the model provider {what}."))
        if key is None:
            return
        if was_cancelled:  # nobody was waiting: whoever comes next starts afresh
            self._forget(key, flight)
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self._forget, key, flight)

    def _forget(self, key: Hashable, flight: Flight) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]


async def _as_coroutine(fly: Callable[[Flight], Awaitable[None]], flight: Flight) -> None:
    await fly(flight)
