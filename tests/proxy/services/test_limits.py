"""What keys may use, counted by several processes; on a real Redis, with a clock of the test's own where one is asked for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from proxy.core.access.callers import Allowance, Caller
from proxy.core.access.limits import lease_of
from proxy.core.access.scopes import KeyScope
from proxy.ports import Period
from proxy.services.background import Background
from proxy.services.limits import Limits
from proxy.services.periods import periods_of
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.limits import LimitStore
from tests.redis_server import private_redis

NOON_S = 1_795_348_800.0  # 2026-11-22T12:00:00Z: no period ends while a test runs


class Purse:
    """What the ledger would say."""

    def __init__(self) -> None:
        self.usd = {"day": Decimal(0), "month": Decimal(0)}

    def spent_usd(self, scope: str, period: Period) -> Decimal:
        return self.usd[period]


class Unchecked:
    """How often nothing could be counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=5000)
    yield opened
    await opened.aclose()


@pytest.fixture
async def process(client: Redis) -> AsyncIterator[Callable[..., Limits]]:
    """Makes the limits of a process each."""
    background, guard = Background(), Guard(client.ping)

    def make(
        *,
        purse: Purse | None = None,
        default: int | None = None,
        at: Redis = client,
        unchecked: Unchecked | None = None,
    ) -> Limits:
        return Limits(
            LimitStore(at),
            guard,
            background,
            spending=purse or Purse(),
            default_requests_per_minute=default,
            deadline_s=5.0,
            on_unchecked=unchecked or Unchecked(),
            now=lambda: NOON_S,
        )

    yield make
    await background.aclose()
    await guard.aclose()


def caller(**allowance: int | Decimal) -> Caller:
    return Caller(f"tenant-{uuid.uuid4()}", f"key_{uuid.uuid4()}", allowance=Allowance(**allowance))  # type: ignore[arg-type]


async def admitted(limits: Limits, who: Caller, count: int) -> int:
    """How many of so many requests at once may go on."""
    verdicts = await asyncio.gather(*(limits.admit(who, KeyScope.CHAT) for _ in range(count)))
    return sum(verdict is None or verdict.error is None for verdict in verdicts)


async def test_where_nothing_is_limited_nothing_is_asked(process: Callable[..., Limits]) -> None:
    assert await process().admit(caller(), KeyScope.CHAT) is None


@pytest.mark.parametrize("limit", [1, 5, 39])
async def test_a_small_limit_is_exact_however_many_processes_and_callers(
    process: Callable[..., Limits], limit: int
) -> None:
    who = caller(requests_per_minute=limit)
    found = await asyncio.gather(*(admitted(process(), who, 50) for _ in range(3)))
    assert limit <= sum(found) <= limit + 1  # the bucket refills while the test runs


async def test_a_large_limit_is_kept_but_for_what_processes_hold(process: Callable[..., Limits], client: Redis) -> None:
    who = caller(requests_per_minute=1200)
    processes = [process() for _ in range(4)]
    found = sum([await admitted(limits, who, 100) for limits in processes * 5])
    assert found <= 1200 + 60  # a fast test: three seconds' refill at most
    assert found >= 1200 - 4 * lease_of(1200)


async def test_a_refusal_says_when_to_come_again_and_asks_redis_no_more(process: Callable[..., Limits]) -> None:
    who, limits = caller(requests_per_minute=1), process()
    first, second = [await limits.admit(who, KeyScope.CHAT) for _ in range(2)]
    assert first is not None
    assert first.error is None
    assert dict(first.headers) == {
        b"x-ratelimit-limit-requests": b"1",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"1m0s",
    }
    assert second is not None
    assert second.error is not None
    assert (second.error.status, second.error.code) == (429, "rate_limit_exceeded")
    assert 55 <= int(dict(second.headers)[b"retry-after"]) <= 60


async def test_keys_that_say_nothing_have_the_default(process: Callable[..., Limits]) -> None:
    assert await admitted(process(default=2), Caller("stranger-" + uuid.uuid4().hex), 10) == 2
    assert await admitted(process(default=2), caller(requests_per_minute=4), 10) == 4


async def test_tokens_of_all_processes_count_and_only_calls_to_models_are_refused(
    process: Callable[..., Limits],
) -> None:
    who, here, there = caller(tokens_per_day=100), process(), process()
    for limits in (here, there):
        assert await admitted(limits, who, 1) == 1
        limits.charge(who.tenant, 60)
    assert await admitted(here, who, 1) == 1  # it does not know of the others yet
    await there.flush()
    await here.flush()
    verdict = await here.admit(who, KeyScope.CHAT)
    assert verdict is not None
    assert verdict.error is not None
    assert (verdict.error.code, dict(verdict.headers)) == (
        "insufficient_quota",
        {b"retry-after": b"43200", b"x-should-retry": b"false"},
    )
    elsewhere = await here.admit(who, KeyScope.AGENTS)
    assert elsewhere is not None
    assert elsewhere.error is None


async def test_what_was_charged_counts_at_once_where_it_was(process: Callable[..., Limits]) -> None:
    who, limits = caller(tokens_per_minute=100), process()
    assert await admitted(limits, who, 1) == 1
    limits.charge(who.tenant, 100)
    assert await admitted(limits, who, 1) == 0


async def test_a_batch_of_tokens_that_is_sent_again_counts_once(client: Redis) -> None:
    store, tenant, periods = LimitStore(client), f"t{uuid.uuid4()}", periods_of(NOON_S)
    for _ in range(2):
        assert await store.add_tokens(tenant, 7, periods=periods, batch_id="b1") == [7, 7, 7]
    assert await store.add_tokens(tenant, 1, periods=periods, batch_id="b2") == [8, 8, 8]
    tomorrow = periods_of(NOON_S + 86_400)
    assert await store.add_tokens(tenant, 0, periods=tomorrow, batch_id="") == [0, 0, 8]


async def test_a_spent_purse_is_refused_until_the_period_ends(process: Callable[..., Limits]) -> None:
    purse = Purse()
    who, limits = caller(usd_per_day=Decimal(5), usd_per_month=Decimal(100)), process(purse=purse)
    purse.usd = {"day": Decimal("4.999999999"), "month": Decimal(50)}
    assert await admitted(limits, who, 1) == 1
    purse.usd["day"] = Decimal(5)
    assert await admitted(limits, who, 1) == 0
    purse.usd = {"day": Decimal(0), "month": Decimal(100)}
    verdict = await limits.admit(who, KeyScope.CHAT)
    assert verdict is not None
    assert dict(verdict.headers)[b"retry-after"] == str(8 * 86_400 + 43_200).encode()


async def test_without_redis_nothing_is_limited_and_that_is_counted(process: Callable[..., Limits]) -> None:
    away, unchecked = open_client("unix:///nowhere/redis.sock", deadline_ms=500), Unchecked()
    limits = process(at=away, unchecked=unchecked)
    try:
        assert await admitted(limits, caller(requests_per_minute=1), 10) == 10
        assert unchecked.count
    finally:
        await away.aclose()
