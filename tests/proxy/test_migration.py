"""Which embedder before is found, opened and let go: a whole application, a real Redis. `tests/faults/test_migration.py` kills it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from proxy import migration as module
from proxy.app import create_app
from proxy.core import spaces
from proxy.services import migration
from proxy.settings import load
from proxy.stores.client import open_client
from tests.builders import MODEL, user
from tests.embeddings.embeddings_server import EmbeddingsServer
from tests.redis_server import artifacts_dir, private_redis

STORED, REWORDED = "How do I reset my password?", "How can I reset my password?"
GIVE_UP_S = 30.0


@pytest.fixture
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=20_000)
    yield opened
    await opened.aclose()


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    opened = EmbeddingsServer()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at once a minute, or a second, is looked at all the time."""
    for name in ("WATCH_S", "FOLLOW_S", "LEFT_S", "RETRY_S"):
        monkeypatch.setattr(migration, name, 0.02)
    monkeypatch.setattr(module, "FIRST_LOOK_S", GIVE_UP_S)


class Deja:
    def __init__(self, client: httpx.AsyncClient, admin_key: str) -> None:
        self._client = client
        self._admin = {"Authorization": f"Bearer {admin_key}"}

    async def ask(self, question: str, mode: str = "semantic") -> str:
        """Ask; how it was answered: `hit; detail=…` or `fwd=…`."""
        answer = await self._client.post(
            "/v1/chat/completions",
            json={"model": MODEL, "messages": [user(question)]},
            headers={"X-Deja-Mode": mode},
        )
        assert answer.status_code == 200
        return answer.headers["cache-status"]

    async def migration(self) -> dict[str, Any]:
        told: dict[str, Any] = (await self._client.get("/admin/migration", headers=self._admin)).json()
        return told

    async def until_ended(self) -> dict[str, Any]:
        async with asyncio.timeout(GIVE_UP_S):
            while (told := await self.migration())["state"] != "ended":  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        return told


@asynccontextmanager
async def serving(redis_url: str, folder: Path, **settings: str) -> AsyncIterator[Deja]:
    """A whole application, in this process."""
    environ = {
        "DEJA_DATA_DIR": str(folder),
        "DEJA_ARTIFACTS_DIR": str(artifacts_dir()),
        "DEJA_SECRET": "migration",
        "DEJA_AUTH__ADMIN_KEYS": "admin",
        "DEJA_REDIS__DEADLINE_MS": "5000",
        "DEJA_EMBEDDER__DEADLINE_MS": "20000",
        **{f"DEJA_EMBEDDER__{name}": value for name, value in settings.items()},
    }
    app = create_app(load(environ), redis_url=redis_url, environ={})
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://deja", timeout=30) as client,
    ):
        deja = Deja(client, "admin")
        async with asyncio.timeout(GIVE_UP_S):
            while (await client.get("/ready")).json()["parts"]["index"]["status"] != "ok":  # noqa: ASYNC110 - nor here
                await asyncio.sleep(0.02)
        yield deja


async def test_another_precision_of_the_local_model_is_found_by_itself(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, PRECISION="fp32") as before:
        assert "stored" in await before.ask(STORED)
        assert await before.migration() == {"object": "cache.migration", "state": "none"}
    async with serving(redis_url, tmp_path) as deja:
        assert "hit; detail=semantic" in await deja.ask(REWORDED)
        told = await deja.until_ended()
        assert (told["moved"], told["left"]) == (1, 0)
        assert "-fp32-" in told["from"]
        assert "-int8-" in told["to"]
        assert "hit; detail=semantic" in await deja.ask("How could I reset my password?")
        assert "hit; detail=exact" in await deja.ask(STORED)


async def test_a_remote_one_has_to_be_named(
    redis_url: str, redis: Redis, server: EmbeddingsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(redis_url, tmp_path, SOURCE=server.url, MODEL="m") as before:
        assert "stored" in await before.ask(STORED)
    with caplog.at_level(logging.INFO, "deja.migration"):
        async with serving(redis_url, tmp_path, SOURCE="hashing") as deja:
            assert "fwd=miss" in await deja.ask(REWORDED, mode="read-only")
            assert "hit; detail=exact" in await deja.ask(STORED)
        assert "DEJA_EMBEDDER__PREVIOUS_SOURCE" in caplog.text
        previous = {"PREVIOUS_SOURCE": server.url, "PREVIOUS_MODEL": "m"}
        async with serving(redis_url, tmp_path, SOURCE="hashing", **previous) as deja:
            assert "hit; detail=semantic" in await deja.ask(REWORDED, mode="read-only")
            assert (await deja.until_ended())["moved"] == 1
            assert "hit; detail=semantic" in await deja.ask(REWORDED, mode="read-only")
    assert "no entry of the embedder" in caplog.text
    assert server.url not in str(await redis.hgetall(spaces.EMBEDDERS)), "nothing of a URL is kept"


async def test_of_several_processes_each_entry_moves_once_and_all_let_go(
    redis_url: str, redis: Redis, server: EmbeddingsServer, tmp_path: Path
) -> None:
    async with serving(redis_url, tmp_path, SOURCE=server.url, MODEL="m") as before:
        for number in range(20):
            await before.ask(f"What is the {number}th river of the atlas?")
        assert "stored" in await before.ask(STORED)
    previous = {"PREVIOUS_SOURCE": server.url, "PREVIOUS_MODEL": "m"}
    async with (
        serving(redis_url, tmp_path, SOURCE="hashing", **previous) as one,
        serving(redis_url, tmp_path, SOURCE="hashing", **previous) as other,
    ):
        assert (await one.until_ended())["moved"] == 21
        for deja in (one, other):
            assert "hit; detail=semantic" in await deja.ask(REWORDED, mode="read-only")
    (left,) = {spaces.tag_of_index(name.decode()) for name in await redis.execute_command("FT._LIST")} - {None}
    entries = [key async for key in redis.scan_iter("deja:v1:entry:*", count=1000)]
    assert len(entries) == 21
    assert all(key.decode().startswith(f"deja:v1:entry:{left}:") for key in entries)


async def test_what_somebody_else_embeds_with_is_left_alone(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path, PRECISION="fp32") as before:
        assert "stored" in await before.ask(STORED)
    (tag,) = [one.decode() for one in await redis.hkeys(spaces.EMBEDDERS)]
    await redis.zadd(spaces.USERS, {f"{tag} elsewhere": time.time() + 3600})
    async with serving(redis_url, tmp_path) as deja:
        assert "fwd=miss" in await deja.ask(REWORDED, mode="read-only")
        assert (await deja.migration())["state"] == "none"
        await redis.unlink(spaces.USERS)
        assert (await deja.until_ended())["moved"] == 1


async def test_an_embedder_before_that_is_away_or_the_one_in_use_changes_nothing(
    redis_url: str, server: EmbeddingsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "deja.migration"):
        server.close()
        async with serving(
            redis_url, tmp_path, SOURCE="hashing", PREVIOUS_SOURCE=server.url, PREVIOUS_MODEL="m"
        ) as deja:
            assert "stored" in await deja.ask(STORED)
            assert "hit; detail=semantic" in await deja.ask(REWORDED)
        assert "cannot be opened" in caplog.text
        async with serving(redis_url, tmp_path, SOURCE="hashing", PREVIOUS_SOURCE="hashing") as deja:
            assert "hit; detail=semantic" in await deja.ask(REWORDED)
            assert (await deja.migration())["state"] == "none"
        assert "is the one in use" in caplog.text
