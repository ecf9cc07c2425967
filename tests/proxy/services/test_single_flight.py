from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.errors import UpstreamBrokenError, UpstreamError
from proxy.services import single_flight
from proxy.services.background import Background
from proxy.services.single_flight import BACKLOG_BYTES, Flight, Flights

HEADERS = ((b"content-type", b"text/event-stream"),)
KEY = ("fingerprint", True)


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    opened = Background()
    yield opened
    await opened.aclose()


@pytest.fixture
def flights(background: Background) -> Flights:
    return Flights(background)


class Provider:
    """An upstream call that goes on when told to.

    Attributes:
        calls: how often it was called.
        was_cancelled: some call was.
        go: lets it say the next piece.
    """

    def __init__(self, *pieces: bytes, error: UpstreamError | None = None, is_held: bool = False) -> None:
        self.pieces = pieces or (b"one ", b"two ", b"three")
        self.error = error
        self.calls = 0
        self.said = 0
        self.was_cancelled = False
        self.go = asyncio.Event()
        if not is_held:
            self.go.set()

    async def __call__(self, flight: Flight) -> None:
        self.calls += 1
        try:
            flight.depart(200, HEADERS, is_event_stream=True)
            for piece in self.pieces:
                await self.go.wait()
                await flight.add(piece, keep=True)
                self.said += 1
                await asyncio.sleep(0)
            await self.go.wait()
            flight.land(self.error)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def board(flights: Flights, fly: Callable[[Flight], Awaitable[None]]) -> Flight:
    """Join the flight if there is one, else lead it."""
    return flights.join(KEY, began_at=time.monotonic()) or flights.lead(KEY, fly)


async def ride(flight: Flight) -> bytes:
    """Read the whole answer and get off."""
    reader = flight.attach()
    try:
        await flight.head()
        return await flight.body(reader)
    finally:
        flight.detach(reader)


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- sharing ----------------------------------------------------------------------------------------------------------------------


async def test_a_hundred_identical_misses_make_one_call(flights: Flights) -> None:
    provider = Provider(is_held=True)
    riders = [asyncio.gather(*(ride(board(flights, provider)) for _ in range(100)))]
    await settle()
    provider.go.set()
    (bodies,) = await asyncio.gather(*riders)
    assert bodies == [b"one two three"] * 100
    assert provider.calls == 1


async def test_other_requests_make_their_own(flights: Flights) -> None:
    provider = Provider(is_held=True)
    flights.lead(KEY, provider)
    assert flights.join(("fingerprint", False), began_at=time.monotonic()) is None


async def test_a_private_flight_is_never_joined(flights: Flights) -> None:
    provider = Provider(is_held=True)
    flights.lead(None, provider)
    assert flights.join(None, began_at=time.monotonic()) is None
    assert flights.join(KEY, began_at=time.monotonic()) is None


async def test_head_and_headers_reach_every_reader(flights: Flights) -> None:
    flight = board(flights, Provider())
    await ride(flight)
    assert (flight.status, flight.headers, flight.is_event_stream) == (200, HEADERS, True)
    assert flight.raw() == b"one two three"


async def test_a_late_joiner_reads_from_the_first_byte(flights: Flights) -> None:
    provider = Provider(is_held=True)
    first = asyncio.create_task(ride(board(flights, provider)))  # noqa: TID251 - a test's own task, awaited below
    await settle()
    provider.go.set()
    while provider.said < 2:  # noqa: ASYNC110 - a step of the loop, not a wait
        await asyncio.sleep(0)
    provider.go.clear()
    late = board(flights, provider)
    reader = late.attach()
    stream = late.pieces(reader)
    assert [await anext(stream), await anext(stream)] == [b"one ", b"two "]
    provider.go.set()
    assert [piece async for piece in stream] == [b"three"]
    late.detach(reader)
    assert await first == b"one two three"
    assert provider.calls == 1


async def test_each_reader_goes_at_its_own_pace(flights: Flights) -> None:
    flight = board(flights, Provider())
    slow = flight.attach()
    assert await ride(flight) == b"one two three"
    assert flight.landed_at is not None
    assert await flight.body(slow) == b"one two three"


# --- leaving ----------------------------------------------------------------------------------------------------------------------


async def test_the_last_reader_to_leave_takes_the_call_with_it(flights: Flights) -> None:
    provider = Provider(is_held=True)
    flight = board(flights, provider)
    readers = [flight.attach(), flight.attach()]
    await settle()
    flight.detach(readers[0])
    await settle()
    assert not provider.was_cancelled
    flight.detach(readers[1])
    await settle()
    assert provider.was_cancelled
    assert flights.join(KEY, began_at=0.0) is None


async def test_a_reader_that_leaves_does_not_disturb_the_others(flights: Flights) -> None:
    provider = Provider(is_held=True)
    flight = board(flights, provider)
    leaver = flight.attach()
    stayer = asyncio.create_task(ride(flight))  # noqa: TID251
    stream = flight.pieces(leaver)
    provider.go.set()
    assert await anext(stream) == b"one "
    flight.detach(leaver)
    assert await stayer == b"one two three"


async def test_leaving_after_the_end_cancels_nothing(flights: Flights) -> None:
    provider = Provider()
    flight = board(flights, provider)
    assert await ride(flight) == b"one two three"
    await settle()
    assert not provider.was_cancelled
    assert flight.task is not None
    assert not flight.task.cancelled()


async def test_nobody_boards_a_flight_whose_last_reader_just_left(flights: Flights) -> None:
    """The call is being cancelled but has not ended: who came now would be told that it failed."""
    provider = Provider(is_held=True)
    doomed = board(flights, provider)
    reader = doomed.attach()
    await settle()
    doomed.detach(reader)
    assert flights.join(KEY, began_at=time.monotonic()) is None
    provider.go.set()
    assert await ride(board(flights, provider)) == b"one two three"
    assert provider.calls == 2


async def test_a_flight_that_ends_does_not_take_its_successor_off_the_board(flights: Flights) -> None:
    doomed = board(flights, Provider(is_held=True))
    doomed.detach(doomed.attach())
    successor = flights.lead(KEY, Provider(is_held=True))
    await settle()
    assert flights.join(KEY, began_at=time.monotonic()) is successor


async def test_a_call_cancelled_before_it_began_ends_for_all(flights: Flights) -> None:
    provider = Provider()
    flight = board(flights, provider)
    assert flight.task is not None
    flight.task.cancel()
    with pytest.raises(UpstreamError, match="cancelled"):
        await ride(flight)
    assert provider.calls == 0
    assert flights.join(KEY, began_at=0.0) is None


# --- failing ----------------------------------------------------------------------------------------------------------------------


async def test_an_error_before_the_head_reaches_everyone(flights: Flights) -> None:
    async def fail(flight: Flight) -> None:
        await asyncio.sleep(0)
        flight.land(UpstreamError("refused"))

    results = await asyncio.gather(*(ride(board(flights, fail)) for _ in range(5)), return_exceptions=True)
    assert [str(error) for error in results] == ["refused"] * 5
    assert all(isinstance(error, UpstreamError) for error in results)


async def test_an_error_midway_comes_after_the_pieces_that_arrived(flights: Flights) -> None:
    flight = board(flights, Provider(b"one", error=UpstreamBrokenError("broke off")))
    reader = flight.attach()
    stream = flight.pieces(reader)
    assert await anext(stream) == b"one"
    with pytest.raises(UpstreamBrokenError, match="broke off"):
        await anext(stream)
    flight.detach(reader)


async def test_a_failure_of_our_own_ends_the_answer_for_all_and_is_logged(
    flights: Flights, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(flight: Flight) -> None:
        raise RuntimeError("a prompt")

    with pytest.raises(UpstreamError, match="within Deja"):
        await ride(board(flights, crash))
    assert "upstream-call ended with RuntimeError" in caplog.text
    assert "a prompt" not in caplog.text


# --- after the landing ------------------------------------------------------------------------------------------------------------


async def test_a_landed_flight_is_joined_only_by_requests_that_began_before(flights: Flights) -> None:
    before = time.monotonic()
    flight = board(flights, Provider())
    await ride(flight)
    await settle()
    assert flights.join(KEY, began_at=before) is flight
    assert await ride(flight) == b"one two three"
    assert flights.join(KEY, began_at=time.monotonic() + 0.001) is None


async def test_a_landed_flight_is_forgotten_after_a_while(flights: Flights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_flight, "LINGER_S", 0.01)
    before = time.monotonic()
    await ride(board(flights, Provider()))
    await settle()
    async with asyncio.timeout(5):
        while flights.join(KEY, began_at=before) is not None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


# --- answers too large to keep ----------------------------------------------------------------------------------------------------

PIECE = b"x" * (BACKLOG_BYTES // 4)


def too_large(pieces: int, said: list[int]) -> Callable[[Flight], Awaitable[None]]:
    async def fly(flight: Flight) -> None:
        flight.depart(200, HEADERS, is_event_stream=True)
        for at in range(pieces):
            await flight.add(PIECE, keep=at < 2)
            said.append(at)
        flight.land()

    return fly


async def test_an_answer_too_large_to_keep_waits_for_its_slowest_reader(flights: Flights) -> None:
    said: list[int] = []
    flight = board(flights, too_large(40, said))
    fast, slow = flight.attach(), flight.attach()
    reading = asyncio.create_task(flight.body(fast))  # noqa: TID251
    await settle()
    assert len(said) <= 6
    stream = flight.pieces(slow)
    received = 0
    async for piece in stream:
        received += len(piece)
        await settle()
        assert len(said) <= received // len(PIECE) + 6
        assert sum(len(kept) for kept in flight._pieces if kept) <= 2 * BACKLOG_BYTES
    assert received == 40 * len(PIECE)
    assert len(await reading) == received


async def test_an_answer_too_large_to_keep_is_joined_no_more(flights: Flights) -> None:
    said: list[int] = []
    flight = board(flights, too_large(40, said))
    reader = flight.attach()
    await settle()
    assert flights.join(KEY, began_at=time.monotonic()) is None
    assert len(await flight.body(reader)) == 40 * len(PIECE)


async def test_a_slow_reader_that_leaves_lets_the_others_go_on(flights: Flights) -> None:
    said: list[int] = []
    flight = board(flights, too_large(40, said))
    fast, slow = flight.attach(), flight.attach()
    reading = asyncio.create_task(flight.body(fast))  # noqa: TID251
    await settle()
    assert not reading.done()
    flight.detach(slow)
    assert len(await reading) == 40 * len(PIECE)
    assert not any(flight._pieces)


async def test_a_reader_that_leaves_a_waiting_call_cancels_it(flights: Flights) -> None:
    said: list[int] = []
    flight = board(flights, too_large(40, said))
    reader = flight.attach()
    await settle()
    flight.detach(reader)
    assert flight.task is not None
    with contextlib.suppress(asyncio.CancelledError):
        await flight.task
    assert flight.task.cancelled()
    assert len(said) < 40
