"""The routes in one process, with a model that summarises and with keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from proxy.app import create_app
from proxy.errors import StoreFullError, StoreUnavailableError
from proxy.services.working_memory import WorkingMemories
from proxy.settings import load
from tests.redis_server import artifacts_dir, private_redis

KEY = {"Authorization": "Bearer sk-of-deja"}


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    folder: Path = tmp_path_factory.mktemp("deja")
    with private_redis() as url:
        settings = load(
            {
                "DEJA_DATA_DIR": str(folder),
                "DEJA_ARTIFACTS_DIR": str(artifacts_dir()),
                "DEJA_MEMORY__MODEL": "gpt-4o-mini",
                "DEJA_AUTH__KEYS": "sk-of-deja",
                "DEJA_EMBEDDER__SOURCE": "hashing",
            }
        )
        made = create_app(settings, redis_url=url, environ={})
        async with made.router.lifespan_context(made):
            yield made


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        yield client


async def test_the_configured_model_summarises_and_is_counted(http: httpx.AsyncClient) -> None:
    said = [{"role": "user", "content": " ".join(["tea"] * 99), "id": f"m{number}"} for number in range(9)]
    put = await http.put(
        "/v1/working-memory/s", json={"messages": said}, params={"context_window_max": 500}, headers=KEY
    )
    assert put.status_code == 200, put.text
    assert put.headers["x-deja-summary"] == "written"
    assert put.json()["context"]
    assert [each["id"] for each in put.json()["messages"]] == ["m7", "m8"]
    counted = (await http.get("/metrics")).text
    assert 'deja_memory_calls_total{purpose="conversation"} 1.0' in counted


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/working-memory"),
        ("GET", "/v1/working-memory/s"),
        ("PUT", "/v1/working-memory/s"),
        ("DELETE", "/v1/working-memory/s"),
        ("POST", "/v1/long-term-memory"),
        ("DELETE", "/v1/long-term-memory"),
        ("POST", "/v1/long-term-memory/search"),
        ("POST", "/v1/long-term-memory/forget"),
        ("POST", "/v1/long-term-memory/compact"),
        ("GET", "/v1/long-term-memory/m"),
        ("PATCH", "/v1/long-term-memory/m"),
        ("POST", "/v1/memory/prompt"),
        ("GET", "/v1/summary-views"),
        ("POST", "/v1/summary-views"),
        ("GET", "/v1/summary-views/v"),
        ("DELETE", "/v1/summary-views/v"),
        ("GET", "/v1/summary-views/v/partitions"),
        ("POST", "/v1/summary-views/v/partitions/run"),
        ("POST", "/v1/summary-views/v/run"),
        ("GET", "/v1/tasks/t"),
    ],
)
async def test_without_a_known_key_nothing_is_done(http: httpx.AsyncClient, method: str, path: str) -> None:
    told = await http.request(method, path, json={})
    assert told.status_code == 401
    assert (told.json()["code"], "DEJA_AUTH__KEYS" in told.json()["detail"]) == ("invalid_api_key", True)


async def test_whether_it_lives_is_told_to_anyone(http: httpx.AsyncClient) -> None:
    told = await http.get("/v1/health")
    assert told.status_code == 200
    assert told.json()["now"] > 1.7e12


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (StoreUnavailableError("Redis gave no answer."), 503, "redis_unavailable"),
        (StoreFullError("Redis is out of memory."), 503, "store_full"),
    ],
    ids=["away", "full"],
)
async def test_what_goes_wrong_inside_has_the_same_shape(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, code: str | None
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(WorkingMemories, "show", broken)
    told = await http.get("/v1/working-memory/s", headers=KEY)
    assert (told.status_code, told.json().get("code")) == (status, code)
    assert told.json()["detail"]
