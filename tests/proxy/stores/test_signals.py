"""Pub/sub on a real Redis: what is published arrives once subscribed, and a lost connection is an error and no silence."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from proxy.errors import StoreUnavailableError
from proxy.stores.client import open_client
from proxy.stores.signals import Received, SignalBus


@pytest.fixture
async def bus(redis_url: str, client: Redis) -> AsyncIterator[SignalBus]:
    opened = SignalBus(client, open_client(redis_url, deadline_ms=None, max_connections=1))
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
def key() -> str:
    return f"channel:{uuid.uuid4()}"


async def subscribed(bus: SignalBus, *keys: str) -> None:
    await bus.subscribe(keys)
    for key in keys:
        assert await bus.receive(5) == Received("subscribe", key, b"")


async def test_what_is_published_arrives_and_is_counted(bus: SignalBus, client: Redis, key: str) -> None:
    assert await bus.publish(key, b"too early") == 0
    await subscribed(bus, key)
    assert await bus.publish(key, b"\x00 any \xff bytes") == 1
    assert await bus.receive(5) == Received("message", key, b"\x00 any \xff bytes")
    assert await client.publish(key, "by hand") == 1
    assert await bus.receive(5) == Received("message", key, b"by hand")


async def test_one_connection_serves_all_channels(bus: SignalBus, client: Redis, key: str) -> None:
    await subscribed(bus, key, key + "2")
    for name in (key + "2", key):
        await client.publish(name, "x")
        got = await bus.receive(5)
        assert got is not None
        assert got.key == name
    await bus.unsubscribe(key)
    got = await bus.receive(5)
    assert got is not None
    assert got.kind == "unsubscribe"
    assert await bus.publish(key, b"x") == 0


async def test_nothing_is_none_and_a_ping_is_answered(bus: SignalBus, key: str) -> None:
    for has_subscribed in (False, True):
        if has_subscribed:
            await subscribed(bus, key)
        assert await bus.receive(0.01) is None
        await bus.ping()
        assert await bus.receive(5) == Received("pong", "", b"")


async def test_a_lost_connection_is_an_error_of_whoever_receives(bus: SignalBus, client: Redis, key: str) -> None:
    await subscribed(bus, key)
    waiting = asyncio.ensure_future(bus.receive(5))  # noqa: TID251  a test's own
    await asyncio.sleep(0.05)
    await client.client_kill_filter(_type="pubsub")
    with pytest.raises(StoreUnavailableError):
        await waiting
    await bus.drop()
    with pytest.raises(StoreUnavailableError):
        await bus.subscribe([key])
    await bus.open()
    await subscribed(bus, key)
