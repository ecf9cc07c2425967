from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx
import pytest

from proxy.errors import ConfigError
from proxy.upstream import pool as pool_module
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.pool import ConnectionPool
from tests import fake_upstream as fakes
from tests.fake_upstream import FakeUpstream


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(max_connections=3)
    yield pool
    await pool.aclose()


async def call(pool: ConnectionPool, fake: FakeUpstream, *, pool_timeout_s: float = 5.0) -> httpx.Response:
    timeout = {"connect": 2.0, "read": 5.0, "write": 5.0, "pool": pool_timeout_s}
    response = await pool.handle_async_request(
        httpx.Request("POST", f"{fake.base_url}/chat/completions", content=b"{}", extensions={"timeout": timeout})
    )
    await response.aread()
    return response


async def test_no_more_calls_are_in_flight_than_allowed_and_all_are_served(
    pool: ConnectionPool, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(fakes.chat(after_s=0.02))
    answers = await asyncio.gather(*(call(pool, fake_upstream) for _ in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert fake_upstream.peak_in_flight == 3
    assert fake_upstream.connections == 3


async def test_calls_one_after_another_stay_on_the_connection_used_last(
    pool: ConnectionPool, fake_upstream: FakeUpstream
) -> None:
    await asyncio.gather(*(call(pool, fake_upstream) for _ in range(3)))
    opened = fake_upstream.connections
    for _ in range(5):
        await call(pool, fake_upstream)
    assert fake_upstream.connections == opened


async def test_a_call_given_up_while_waiting_for_a_place_takes_none(
    pool: ConnectionPool, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.script(fakes.hang(), fakes.hang(), fakes.hang(), fakes.chat())
    loop = asyncio.get_running_loop()
    holders = [loop.create_task(call(pool, fake_upstream)) for _ in range(3)]
    await fake_upstream.seen(lambda fake: fake.in_flight == 3)
    waiting = loop.create_task(call(pool, fake_upstream))
    with pytest.raises(httpx.PoolTimeout):
        await call(pool, fake_upstream, pool_timeout_s=0.05)
    waiting.cancel()
    for holder in holders:
        holder.cancel()
    await asyncio.gather(waiting, *holders, return_exceptions=True)
    answers = await asyncio.gather(*(call(pool, fake_upstream) for _ in range(6)))
    assert len(answers) == 6


async def test_connections_left_over_from_a_rush_are_closed_one_per_call(
    pool: ConnectionPool, fake_upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_upstream.script(fakes.chat(after_s=0.02))
    await asyncio.gather(*(call(pool, fake_upstream) for _ in range(3)))
    monkeypatch.setattr(pool_module, "KEEPALIVE_S", 0.05)
    await asyncio.sleep(0.1)
    await call(pool, fake_upstream)
    await call(pool, fake_upstream)
    await fake_upstream.seen(lambda fake: fake.open_connections == 1)


def test_a_socks_proxy_that_cannot_be_used_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="SOCKS"):
        OpenAIUpstream(
            "https://provider.invalid/v1", api_key=None, connect_timeout_s=1, read_timeout_s=1, max_connections=1
        )


async def read_and_close(pool: ConnectionPool, fake: FakeUpstream) -> None:
    """A call that closes its answer whatever happens, as Deja's do."""
    timeout = {"connect": 2.0, "read": 5.0, "write": 5.0, "pool": 1.0}
    url = f"{fake.base_url}/chat/completions"
    response = await pool.handle_async_request(
        httpx.Request("POST", url, content=b"{}", extensions={"timeout": timeout})
    )
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        async for _ in response.stream:
            pass
    finally:
        await response.stream.aclose()


async def give_up_after(awaitable: Coroutine[Any, Any, object], ticks: int) -> None:
    """Cancel it after so many turns of the event loop, as a caller who leaves does, wherever it is then."""
    task = asyncio.get_running_loop().create_task(awaitable)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("is_warm", [True, False], ids=["kept connection", "new connection"])
async def test_a_call_given_up_at_any_moment_leaves_nothing_behind_that_blocks_the_next(
    fake_upstream: FakeUpstream, is_warm: bool
) -> None:
    for ticks in range(1, 40):
        pool = ConnectionPool(max_connections=1)
        if is_warm:
            await call(pool, fake_upstream)
        await give_up_after(read_and_close(pool, fake_upstream), ticks)
        assert (await call(pool, fake_upstream, pool_timeout_s=1.0)).status_code == 200, f"after {ticks} turns"
        await pool.aclose()


@pytest.mark.parametrize("is_read", [True, False], ids=["read to its end", "not read"])
async def test_closing_that_is_given_up_at_any_moment_blocks_nothing_either(
    fake_upstream: FakeUpstream, is_read: bool
) -> None:
    for ticks in range(1, 12):
        pool = ConnectionPool(max_connections=1)
        timeout = {"connect": 2.0, "read": 5.0, "write": 5.0, "pool": 1.0}
        url = f"{fake_upstream.base_url}/chat/completions"
        request = httpx.Request("POST", url, content=b"{}", extensions={"timeout": timeout})
        response = await pool.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        if is_read:
            assert [piece async for piece in response.stream]
        await give_up_after(response.stream.aclose(), ticks)
        assert (await call(pool, fake_upstream, pool_timeout_s=1.0)).status_code == 200, f"after {ticks} turns"
        await pool.aclose()
