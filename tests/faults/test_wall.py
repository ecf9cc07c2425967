"""The wall around the cache: whatever is wrong inside, foreseen or not, the caller gets an answer, and the log no prompt."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from proxy.app import create_app
from proxy.core.outcome import Outcome
from proxy.services.judging import VerifyingJudge
from proxy.services.keeper import Keeper
from proxy.settings import load
from tests.redis_server import artifacts_dir, private_redis

PROMPT = "How do I reset the password of my violet umbrella?"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    with private_redis() as url:
        settings = load({"DEJA_DATA_DIR": str(tmp_path), "DEJA_ARTIFACTS_DIR": str(artifacts_dir())})
        made = create_app(settings, redis_url=url, environ={})
        async with made.router.lifespan_context(made):
            yield made


async def ask(app: FastAPI, question: str, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        body = {"model": "m", "messages": [{"role": "user", "content": question}], **fields}
        return await client.post("/v1/chat/completions", json=body)


async def broken(*_: Any, **__: Any) -> Any:
    raise ValueError(f"cannot make sense of {PROMPT}")


async def test_a_judge_that_breaks_costs_the_hit_and_not_the_answer(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(app, PROMPT)
    monkeypatch.setattr(VerifyingJudge, "judge", broken)
    with caplog.at_level(logging.DEBUG):
        told = await ask(app, PROMPT.replace("How do", "How can"))
    assert told.status_code == 200
    assert told.headers["cache-status"] == "deja; fwd=bypass; stored; detail=cache-error"
    assert "ValueError at" in caplog.text
    assert "violet" not in caplog.text


async def test_a_keeper_that_breaks_costs_the_entry_and_not_the_answer(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Keeper, "keep", broken)
    with caplog.at_level(logging.DEBUG):
        told = await ask(app, PROMPT)
    assert told.status_code == 200
    assert told.headers["x-deja-not-stored"] == "cache-error"
    assert "violet" not in caplog.text


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"choices": [{"message": 5}]}'])
async def test_a_stored_answer_that_cannot_be_told_costs_the_hit_and_is_replaced(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    serve = Outcome.serve
    with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
        await ask(app, PROMPT)
        patch.setattr(
            Outcome, "serve", lambda self, kind, entry, **at: serve(self, kind, replace(entry, body=body), **at)
        )
        told = await ask(app, PROMPT, stream=True)
    assert told.status_code == 200
    assert told.headers["cache-status"] == "deja; fwd=bypass; detail=cache-error"
    assert told.text.rstrip().endswith("data: [DONE]")
    assert "the replay of ent_" in caplog.text
    assert "violet" not in caplog.text
    assert (await ask(app, PROMPT)).headers["cache-status"].startswith("deja; hit")


async def test_a_failure_outside_the_cache_is_a_500_that_says_how_to_go_around(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy.services.completions.keys.place_of", lambda *_, **__: 1 / 0)
    told = await ask(app, PROMPT)
    assert told.status_code == 500
    assert told.json()["error"]["code"] == "internal_error"
    assert "ZeroDivisionError at" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "route", "told"),
    [
        ("GET", "/v1/sessions/s", "/v1/sessions/{session_id}", {"error"}),
        ("GET", "/v1/working-memory/s", "/v1/working-memory/{session_id}", {"detail", "code"}),
        ("POST", "/v1/caches/c/flush", "/v1/caches/{cache_id}/flush", {"type", "title", "status"}),
        ("POST", "/v1/chat/completions", "/v1/chat/completions", {"error"}),
    ],
)
async def test_what_nobody_foresaw_is_answered_in_the_shape_of_other_errors_and_not_quoted(
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    route: str,
    told: set[str],
) -> None:
    monkeypatch.setattr("proxy.services.sessions.Sessions.read", broken)
    monkeypatch.setattr("proxy.services.working_memory.WorkingMemories.show", broken)
    monkeypatch.setattr("proxy.services.named_caches.NamedCaches.flush", broken)
    monkeypatch.setattr("proxy.api.cached_route.CachedRoute.__call__", broken)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        answer = await client.request(method, path, json={})
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 500
    assert told <= answer.json().keys()
    assert answer.headers["x-deja-request-id"]
    assert f"a request to {route} failed with ValueError at" in caplog.text
    assert f'deja_request_failures_total{{route="{route}"}} 1.0' in metrics
    assert "violet" not in caplog.text + answer.text


async def test_a_start_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.app.Application.open", broken)
    settings = load({"DEJA_DATA_DIR": str(tmp_path), "DEJA_ARTIFACTS_DIR": str(artifacts_dir())})
    made = create_app(settings, redis_url="redis://localhost:1", environ={})
    with pytest.raises(ValueError, match="violet"):
        async with made.router.lifespan_context(made):
            pass


@pytest.mark.parametrize("path", ["/v1/sessions/s", "/v1/chat/completions"])
async def test_a_failure_at_the_door_is_told_likewise(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    monkeypatch.setattr("proxy.api.identity.Identity.identify", broken)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        answer = await client.post(path, json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "failed with ValueError at" in caplog.text
    assert "violet" not in caplog.text + answer.text


async def test_a_setting_that_stops_the_start_is_told_in_one_sentence(tmp_path: Path) -> None:
    absent = tmp_path / "absent.json"
    settings = load(
        {
            "DEJA_DATA_DIR": str(tmp_path),
            "DEJA_ARTIFACTS_DIR": str(artifacts_dir()),
            "DEJA_CACHE__CALIBRATION": str(absent),
        }
    )
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message)

    with private_redis() as url:
        await create_app(settings, redis_url=url, environ={})({"type": "lifespan"}, receive, send)
    (failed,) = told
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith(f"cannot start: The calibration {absent} cannot be read")
    assert "Traceback" not in failed["message"]
