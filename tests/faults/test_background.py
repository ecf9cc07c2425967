"""What goes on in the background goes on whatever it finds in Redis."""

from __future__ import annotations

import asyncio
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


async def test_policies_are_followed_again_once_what_was_unreadable_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(background, "LONGEST_PAUSE_S", 0.05)
    with private_redis() as url:
        app = create_app(
            load({"DEJA_DATA_DIR": str(tmp_path), "DEJA_ARTIFACTS_DIR": str(artifacts_dir())}),
            redis_url=url,
            environ={},
        )
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            Redis.from_url(url) as redis,
            httpx.AsyncClient(transport=transport, base_url="http://deja") as client,
            asyncio.timeout(30),
        ):
            assert (await client.put("/v1/cache/policies/n", json={"mode": "exact"})).status_code == 200
            await redis.set(keys.POLICIES_VERSION, b"\xff")
            while FAILED not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
            ((name, decided),) = (await redis.hgetall(keys.POLICIES)).items()
            await redis.hset(keys.POLICIES, name + b"-too", decided)  # as another process would
            await redis.set(keys.POLICIES_VERSION, 99)
            while (await client.get("/v1/cache/policies/n-too")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
