"""What goes on in the background goes on, whatever it finds in Redis and whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from proxy.app import create_app
from proxy.core import keys
from proxy.services import background
from proxy.settings import load
from tests.redis_server import artifacts_dir, private_redis

FAILED = 'deja_background_failures_total{task="policies"}'


@pytest.fixture
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def client(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(background, "LONGEST_PAUSE_S", 0.05)
    settings = load({"DEJA_DATA_DIR": str(tmp_path), "DEJA_ARTIFACTS_DIR": str(artifacts_dir())})
    app = create_app(settings, redis_url=redis_url, environ={})
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as made,
        asyncio.timeout(30),
    ):
        yield made


async def test_policies_are_followed_again_once_what_was_unreadable_is_gone(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    assert (await client.put("/v1/cache/policies/n", json={"mode": "exact"})).status_code == 200
    await redis.set(keys.POLICIES_VERSION, b"\xff")
    while FAILED not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.05)
    ((name, decided),) = (await redis.hgetall(keys.POLICIES)).items()
    await redis.hset(keys.POLICIES, name + b"-too", decided)  # as another process would
    await redis.set(keys.POLICIES_VERSION, 99)
    while (await client.get("/v1/cache/policies/n-too")).status_code != 200:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_tools_are_offered_again_after_the_sdk_has_ended(client: httpx.AsyncClient) -> None:
    headers = {"accept": "application/json, text/event-stream"}
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for _ in range(2):
        told = await client.post("/mcp", json=listing, headers=headers)
        assert told.status_code == 200
        assert "search_long_term_memory" in told.text
        (running,) = (task for task in asyncio.all_tasks() if task.get_name() == "mcp")
        running.cancel()
        await asyncio.wait([running])
