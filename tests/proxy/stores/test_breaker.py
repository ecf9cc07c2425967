from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import IndexMissingError, StoreError, StoreLoadingError, StoreUnavailableError
from proxy.stores import breaker
from proxy.stores.breaker import Breaker, Guard
from proxy.stores.client import open_client
from tests.redis_server import private_server

PROBE_S = 0.02


def test_it_opens_after_enough_failures_in_a_row() -> None:
    breaker = Breaker(failures_to_open=3)
    assert not breaker.unavailable().unavailable().is_open
    assert breaker.unavailable().unavailable().unavailable().is_open


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(failures_to_open=2).unavailable().answered().unavailable()
    assert not breaker.is_open


def test_once_open_only_a_probe_closes_it() -> None:
    breaker = Breaker(failures_to_open=1).unavailable()
    assert breaker.answered().is_open  # an answer that was under way when it opened
    assert breaker.probed() == Breaker(failures_to_open=1)


@given(steps=st.lists(st.sampled_from(["answered", "unavailable", "probed"])), limit=st.integers(1, 5))
def test_it_is_open_only_after_that_many_failures_without_an_answer(steps: list[str], limit: int) -> None:
    breaker, in_a_row, expected = Breaker(failures_to_open=limit), 0, False
    for step in steps:
        breaker = getattr(breaker, step)()
        if step == "unavailable":
            in_a_row += 1
            expected = expected or in_a_row >= limit
        elif step == "probed":
            in_a_row, expected = 0, False
        elif not expected:
            in_a_row = 0
        assert breaker.is_open == expected


class Pings:
    """A probe that can be told what to do."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = ConnectionError("down")

    async def __call__(self) -> None:
        self.count += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def pings() -> Pings:
    return Pings()


@pytest.fixture
async def guard(pings: Pings) -> AsyncIterator[Guard]:
    made = Guard(pings, failures_to_open=2, probe_interval_s=PROBE_S)
    yield made
    await made.aclose()


async def fail(guard: Guard, error: BaseException) -> None:
    with pytest.raises(type(error)):
        async with guard.within(1.0):
            raise error


async def closed(guard: Guard) -> None:
    async with asyncio.timeout(5):
        while guard.is_open:  # noqa: ASYNC110  no event: only the probe knows
            await asyncio.sleep(PROBE_S / 2)


async def test_silence_is_cut_off_at_the_deadline(guard: Guard) -> None:
    began = time.perf_counter()
    with pytest.raises(StoreUnavailableError, match="within 50 ms"):
        async with guard.within(0.05):
            await asyncio.sleep(10)
    assert time.perf_counter() - began < 2


async def test_a_call_behind_others_that_are_answered_waits_on(guard: Guard) -> None:
    done = asyncio.Event()

    async def others() -> None:
        while not done.is_set():
            async with guard.within(1.0):
                await asyncio.sleep(0.005)

    busy = asyncio.ensure_future(others())  # noqa: TID251
    async with guard.within(0.05):
        await asyncio.sleep(0.3)
    done.set()
    await busy


async def test_answers_from_before_do_not_excuse_silence(guard: Guard) -> None:
    async with guard.within(1.0):
        pass
    with pytest.raises(StoreUnavailableError, match="within 50 ms"):
        async with guard.within(0.05):
            await asyncio.sleep(10)


async def test_a_call_is_given_up_even_while_others_are_answered(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MAX_EXTENSIONS", 2)

    async def others() -> None:
        while True:
            async with guard.within(1.0):
                await asyncio.sleep(0.005)

    busy = asyncio.ensure_future(others())  # noqa: TID251
    with pytest.raises(StoreUnavailableError):
        async with guard.within(0.05):
            await asyncio.sleep(10)
    busy.cancel()


async def test_a_cancelled_call_says_nothing_about_redis(guard: Guard) -> None:
    async def stuck() -> None:
        async with guard.within(10):
            await asyncio.sleep(10)

    for _ in range(3):
        call = asyncio.ensure_future(stuck())  # noqa: TID251
        await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
    assert not guard.is_open


async def test_an_open_guard_fails_without_trying(guard: Guard) -> None:
    for _ in range(2):
        await fail(guard, StoreUnavailableError("silent"))
    with pytest.raises(StoreUnavailableError, match="silent"):
        async with guard.within(1.0):
            raise AssertionError("must not be reached")


async def test_it_closes_by_itself_when_the_probe_is_answered(
    guard: Guard, pings: Pings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await fail(guard, StoreUnavailableError("silent"))
        await asyncio.sleep(PROBE_S * 3)
        assert guard.is_open
        assert pings.count >= 1
        pings.error = None
        await closed(guard)
    async with guard.within(1.0):
        pass
    assert len(caplog.records) == 2  # one line when it opens, one when it closes
    probes = pings.count
    await asyncio.sleep(PROBE_S * 3)
    assert pings.count == probes  # no probe while all is well


async def test_it_says_loading_once_redis_says_so(guard: Guard, pings: Pings) -> None:
    for _ in range(2):
        await fail(guard, StoreUnavailableError("silent"))
    pings.error = StoreLoadingError("loading")
    await asyncio.sleep(PROBE_S * 4)
    with pytest.raises(StoreLoadingError):
        async with guard.within(1.0):
            pass


async def test_errors_that_redis_sent_do_not_open_it(guard: Guard) -> None:
    for _ in range(5):
        await fail(guard, IndexMissingError("gone"))
        await fail(guard, StoreError("refused"))
    assert not guard.is_open


async def test_a_caller_that_leaves_says_nothing_about_redis(guard: Guard) -> None:
    for _ in range(5):
        await fail(guard, asyncio.CancelledError())
        await fail(guard, KeyError("mine"))
    assert not guard.is_open


async def test_an_error_of_redis_py_comes_out_as_ours(guard: Guard) -> None:
    with pytest.raises(StoreUnavailableError) as raised:
        async with guard.within(1.0):
            raise ConnectionResetError
    assert isinstance(raised.value.__cause__, ConnectionResetError)


async def test_a_stopped_redis_costs_the_deadline_a_few_times_and_hits_return_by_themselves() -> None:
    with private_server() as server:
        client = open_client(server.url, deadline_ms=None)
        guard = Guard(client.ping, probe_interval_s=0.05)
        assert server.pid is not None
        await client.set("a", "1")
        os.kill(server.pid, signal.SIGSTOP)
        began = time.perf_counter()
        for _ in range(50):
            with pytest.raises(StoreUnavailableError):
                async with guard.within(0.05):
                    await client.get("a")
        took_s = time.perf_counter() - began
        os.kill(server.pid, signal.SIGCONT)
        assert took_s < 50 * 0.05 / 2  # 3 deadlines, not 50
        await closed(guard)
        async with guard.within(5.0):
            assert await client.get("a") == b"1"
        await guard.aclose()
        await client.aclose()
