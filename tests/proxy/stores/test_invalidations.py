"""Redis tells what changes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from proxy.errors import StoreError
from proxy.stores.client import open_client
from proxy.stores.invalidations import Invalidations


class Listener:
    """What was told."""

    def __init__(self) -> None:
        self.is_live = asyncio.Event()
        self.changed: asyncio.Queue[str | None] = asyncio.Queue()

    async def next(self) -> str | None:
        return await asyncio.wait_for(self.changed.get(), 3.0)


@asynccontextmanager
async def listening(url: str, prefix: str) -> AsyncIterator[tuple[Listener, asyncio.Task[None]]]:
    told = Listener()
    invalidations = Invalidations(open_client(url, deadline_ms=None, max_connections=1), [prefix])
    task = asyncio.get_running_loop().create_task(
        invalidations.follow(on_live=told.is_live.set, on_change=told.changed.put_nowait)
    )
    try:
        await asyncio.wait_for(told.is_live.wait(), 5.0)
        yield told, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await invalidations.aclose()


@pytest.fixture
def prefix() -> str:
    return f"deja:test:{uuid.uuid4().hex}:"


async def test_writes_deletions_and_expiries_are_told(client: Redis, redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as (told, _):
        await client.set(f"{prefix}a", "1")
        assert await told.next() == f"{prefix}a"
        await client.set("deja:test:another", "1", px=50)
        await client.delete(f"{prefix}a")
        assert await told.next() == f"{prefix}a"
        await client.hset(f"{prefix}hash", mapping={"field": "value"})
        assert await told.next() == f"{prefix}hash"
        await client.pexpire(f"{prefix}hash", 1)
        assert await told.next() == f"{prefix}hash"
        assert await told.next() == f"{prefix}hash"


async def test_a_lost_connection_ends_it(client: Redis, redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as (_, task):
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
        with pytest.raises(StoreError):
            await asyncio.wait_for(task, 3.0)


async def test_a_silence_is_no_loss(
    client: Redis, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.stores.invalidations.CHECK_S", 0.1)
    async with listening(redis_url, prefix) as (told, task):
        await asyncio.sleep(0.5)
        assert not task.done()
        await client.set(f"{prefix}a", "1", ex=5)
        assert await told.next() == f"{prefix}a"
