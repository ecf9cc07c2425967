"""Calls shared by processes, over a real Redis; a process here is a set of parts with clients of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.flights import Data, Head, to_fields
from proxy.core.keys import Place
from proxy.errors import StoreFullError, StoreUnavailableError, UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from proxy.services import flight_follower, flight_leader, shared_flights
from proxy.services.background import Background
from proxy.services.shared_flights import SharedFlights
from proxy.services.single_flight import Flight, Flights
from proxy.services.tails import Tails
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.flights import FlightStore
from proxy.stores.tails import StreamTails
from tests.redis_server import private_redis

HEADERS = ((b"content-type", b"text/event-stream"), (b"set-cookie", b"secret"), (b"x-one", b"\xe9"))
PIECES = (b"data: \xc3", b"\xa9\n\n", b"data: two\n\n", b"data: [DONE]\n\n")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


class Process:
    """The parts of a replica that share calls."""

    def __init__(self, redis_url: str) -> None:
        self.client: Redis = open_client(redis_url, deadline_ms=5000)
        self._words = StreamTails(
            self.client, open_client(redis_url, deadline_ms=None, max_connections=1), encoding="latin-1"
        )
        self.guard = Guard(self.client.ping)
        self.background = Background()
        self.events: list[str] = []
        self.store = FlightStore(self.client)
        self.shared = SharedFlights(
            self.store,
            Tails(self._words, self.guard, self.background, deadline_s=5.0),
            self.guard,
            self.background,
            process=uuid.uuid4().hex[:16],
            claim_deadline_s=5.0,
            deadline_s=5.0,
            on_event=self.events.append,
        )
        self.shared.open()
        self.flights = Flights(self.background)

    def ask(self, lease: str, provider: Provider, *, found_nothing: bool = True) -> Flight:
        """Miss: take off, or join who has."""

        async def fly(flight: Flight) -> None:
            await self.shared.fly(flight, lease, provider, found_nothing=found_nothing, read=lambda *_: None)

        return self.flights.lead(None, fly)

    async def aclose(self) -> None:
        await self.background.aclose()
        await self._words.aclose()
        await self.guard.aclose()
        await self.client.aclose()


@dataclass
class Provider:
    """An upstream call that goes on when told to."""

    pieces: tuple[bytes, ...] = PIECES
    error: UpstreamError | None = None
    is_event_stream: bool = True
    stored_as: str | None = "ent_1"
    calls: int = 0
    was_cancelled: bool = False
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, flight: Flight) -> None:
        self.calls += 1
        try:
            await self.may_begin.wait()
            if self.error is not None and not self.pieces:
                flight.land(self.error)
                return
            flight.depart(200, HEADERS, is_event_stream=self.is_event_stream)
            await flight.add(self.pieces[0], keep=True)
            await self.may_end.wait()
            for piece in self.pieces[1:]:
                await flight.add(piece, keep=True)
            flight.entry_id = self.stored_as
            flight.land(self.error)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise

    def go(self) -> Provider:
        self.may_begin.set()
        self.may_end.set()
        return self


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[Callable[[], Process]]:
    started: list[Process] = []

    def make() -> Process:
        started.append(Process(redis_url))
        return started[-1]

    yield make
    for process in started:
        await process.aclose()


@pytest.fixture
async def one(start: Callable[[], Process]) -> Process:
    return start()


@pytest.fixture
async def two(start: Callable[[], Process]) -> Process:
    return start()


@pytest.fixture
def lease() -> str:
    place = Place(room=uuid.uuid4().hex, fingerprint="f", prefix_hash=None, turn_hash="")
    return keys.flight_lease(place, is_stream=True, include_usage=False)


async def body(flight: Flight) -> bytes:
    reader = flight.attach()
    try:
        await flight.head()
        return await flight.body(reader)
    finally:
        flight.detach(reader)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_identical_misses_of_many_processes_make_one_call(start: Callable[[], Process], lease: str) -> None:
    provider = Provider()
    provider.may_begin.set()
    flights = [start().ask(lease, provider) for _ in range(4)]
    asked = [asyncio.ensure_future(body(flight)) for flight in flights]  # noqa: TID251
    await until(lambda: provider.calls == 1)
    await asyncio.sleep(0.05)
    provider.go()
    assert await asyncio.gather(*asked) == [b"".join(PIECES)] * 4
    assert provider.calls == 1
    assert sum(flight.is_followed for flight in flights) == 3
    assert {flight.entry_id for flight in flights} == {"ent_1"}
    assert [flight.headers for flight in flights if flight.is_followed] == [(HEADERS[0], HEADERS[2])] * 3


async def test_a_follower_reads_what_is_there_before_the_end_is(one: Process, two: Process, lease: str) -> None:
    provider = Provider()
    provider.may_begin.set()
    led = one.ask(lease, provider)
    await led.head()
    followed = two.ask(lease, provider)
    reader = followed.attach()
    assert await followed.more(reader) == PIECES[0]
    late = two.ask(lease, provider)
    provider.go()
    assert await body(late) == await body(led) == b"".join(PIECES)
    followed.detach(reader)
    assert provider.calls == 1


@pytest.mark.parametrize("kind", [UpstreamError, UpstreamTimeoutError])
async def test_the_providers_error_is_every_followers(
    one: Process, two: Process, lease: str, kind: type[UpstreamError]
) -> None:
    provider = Provider(pieces=(), error=kind("Nobody answers — indeed."))
    led, followed = one.ask(lease, provider), None
    await until(lambda: provider.calls == 1)
    followed = two.ask(lease, provider)
    await asyncio.sleep(0.1)
    provider.go()
    for flight in (led, followed):
        with pytest.raises(kind, match="Nobody answers — indeed"):
            await body(flight)
    assert provider.calls == 1


async def test_a_whole_answer_begins_for_a_follower_when_it_is_complete(one: Process, two: Process, lease: str) -> None:
    provider = Provider(pieces=(b"x" * flight_leader.WORD_BYTES, b"y" * 10), is_event_stream=False)
    provider.may_begin.set()
    led = one.ask(lease, provider)
    await led.head()
    followed = two.ask(lease, provider)
    await asyncio.sleep(0.1)
    assert followed.status == 0
    provider.go()
    assert await body(followed) == b"".join(provider.pieces)


async def test_a_call_that_stored_its_answer_is_still_followed_by_who_had_looked_before(
    one: Process, two: Process, lease: str
) -> None:
    provider = Provider().go()
    await body(one.ask(lease, provider))
    await asyncio.sleep(0.05)
    assert await body(two.ask(lease, provider)) == b"".join(PIECES)
    assert provider.calls == 1
    await body(two.ask(lease, provider, found_nothing=False))  # it had found an entry, and wants a newer one
    assert provider.calls == 2


async def test_a_call_that_stored_nothing_is_not_followed_afterwards(one: Process, two: Process, lease: str) -> None:
    provider = Provider(stored_as=None).go()
    await body(one.ask(lease, provider))
    await body(two.ask(lease, provider))
    assert provider.calls == 2


async def test_nothing_of_an_answer_is_written_while_nobody_follows(one: Process, lease: str) -> None:
    await body(one.ask(lease, Provider().go()))
    room = lease[lease.index("{") : lease.index("}") + 1]
    assert [key async for key in one.client.scan_iter(match=f"*{room}*")] == [lease.encode()]


async def test_a_follower_keeps_the_call_going_when_the_leaders_callers_leave(
    one: Process, two: Process, lease: str
) -> None:
    provider = Provider()
    provider.may_begin.set()
    led = one.ask(lease, provider)
    reader = led.attach()
    await led.head()
    followed = two.ask(lease, provider)
    await followed.head()
    led.detach(reader)
    await asyncio.sleep(0.05)
    provider.go()
    assert await body(followed) == b"".join(PIECES)
    assert not provider.was_cancelled


async def test_the_call_ends_when_the_last_of_all_callers_has_left(one: Process, two: Process, lease: str) -> None:
    provider = Provider()
    provider.may_begin.set()
    led = one.ask(lease, provider)
    here = led.attach()
    followed = two.ask(lease, provider)
    there = followed.attach()
    await followed.head()
    led.detach(here)
    followed.detach(there)
    await until(lambda: provider.was_cancelled)
    again = Provider().go()
    await body(two.ask(lease, again))
    assert again.calls == 1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that run out within half a second."""
    for module in (flight_leader, flight_follower, shared_flights):
        monkeypatch.setattr(module, "LEASE_S", 0.4)
    for module in (flight_leader, flight_follower):
        monkeypatch.setattr(module, "BEAT_S", 0.1)


@pytest.mark.usefixtures("hasty")
async def test_one_of_the_followers_takes_a_dead_leaders_call_over(
    start: Callable[[], Process], one: Process, lease: str
) -> None:
    await one.store.claim(lease, "dead.1", ttl_ms=400)  # a leader that was killed before its first word
    provider = Provider().go()
    processes = [start() for _ in range(3)]
    flights = [process.ask(lease, provider) for process in processes]
    assert await asyncio.gather(*map(body, flights)) == [b"".join(PIECES)] * 3
    assert provider.calls == 1
    assert "taken-over" in {event for process in processes for event in process.events}


@pytest.mark.usefixtures("hasty")
async def test_a_follower_that_has_passed_bytes_on_ends_with_an_error_when_its_leader_dies(
    one: Process, two: Process, lease: str
) -> None:
    dead = "dead.1"
    at = keys.flight_keys(lease, dead)
    await one.store.claim(lease, dead, ttl_ms=500)
    provider = Provider().go()
    followed = two.ask(lease, provider)
    reader = followed.attach()
    await one.store.say(at.words, 1, [to_fields(word) for word in (Head(200, HEADERS, True, 1.0), Data(b"half"))])
    pieces = followed.pieces(reader)
    assert await anext(pieces) == b"half"
    with pytest.raises(UpstreamBrokenError):
        await anext(pieces)
    followed.detach(reader)
    assert provider.calls == 0
    assert two.events == ["followed", "broken-off"]


async def test_without_redis_each_process_makes_its_own_call(
    one: Process, lease: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(one.store, "claim", away)
    provider = Provider().go()
    assert await body(one.ask(lease, provider)) == b"".join(PIECES)
    assert provider.calls == 1


async def test_followers_of_a_leader_that_cannot_write_ask_for_themselves(
    one: Process, two: Process, lease: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StoreFullError("full")

    monkeypatch.setattr(one.store, "say", full)
    provider = Provider()
    led = one.ask(lease, provider)
    await until(lambda: provider.calls == 1)
    followed = two.ask(lease, provider)
    await asyncio.sleep(0.1)
    provider.go()
    assert await body(led) == await body(followed) == b"".join(PIECES)
    assert provider.calls == 2


async def test_a_word_that_was_sent_twice_is_there_once(one: Process, lease: str) -> None:
    at = keys.flight_keys(lease, "one.1")
    for _ in range(2):
        await one.store.say(at.words, 1, [{"kind": "data", "data": b"a"}, {"kind": "data", "data": b"b"}])
    said: Any = await one.client.xrange(at.words)
    assert [fields[b"data"] for _, fields in said] == [b"a", b"b"]


async def test_a_claim_that_was_broken_off_holds_nobody_up(one: Process, two: Process, lease: str) -> None:
    claim = one.store.claim

    async def slow(*arguments: object, **named: object) -> object:
        await claim(*arguments, **named)  # type: ignore[arg-type]
        await asyncio.sleep(60)
        return None

    one.store.claim = slow  # type: ignore[method-assign, assignment]
    first = one.ask(lease, Provider())
    reader = first.attach()
    await until(lambda: bool(one.background._tasks))
    await asyncio.sleep(0.05)
    first.detach(reader)
    await asyncio.sleep(0.05)
    provider = Provider().go()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await body(two.ask(lease, provider))
    assert provider.calls == 1
