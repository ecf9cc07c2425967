"""Errors as LangCache's SDK reads them, whatever goes wrong; the routes themselves are tried through the SDK in tests/e2e."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from langcache import errors as sdk

from proxy.api import langcache
from proxy.api.asgi import ClientLeft
from proxy.api.errors import CLIENT_LEFT
from proxy.api.langcache import _ProblemRoute, problem
from proxy.errors import (
    DejaError,
    IndexMissingError,
    RequestError,
    StoreError,
    StoreFullError,
    StoreLoadingError,
    StoreUnavailableError,
)
from proxy.telemetry import Metrics

TABLE = [
    (RequestError("m", param="prompt", code="maxLength"), 400, sdk.BadRequestErrorResponseContentData),
    (RequestError("m", status=401), 401, sdk.AuthenticationErrorResponseContentData),
    (RequestError("m", status=404), 404, sdk.NotFoundErrorResponseContentData),
    (RequestError("m", status=413, param="response"), 413, sdk.PayloadTooLargeErrorResponseContentData),
    (StoreUnavailableError("m"), 424, sdk.FailedDependencyErrorResponseContentData),
    (StoreLoadingError("m"), 424, sdk.FailedDependencyErrorResponseContentData),
    (IndexMissingError("m"), 424, sdk.FailedDependencyErrorResponseContentData),
    (StoreFullError("m"), 424, sdk.FailedDependencyErrorResponseContentData),
    (DejaError("a secret"), 500, sdk.UnexpectedErrorResponseContentData),
]


@pytest.mark.parametrize(("error", "status", "shape"), TABLE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_error_has_the_shape_the_sdk_has_for_its_status(error: DejaError, status: int, shape: Any) -> None:
    answer = problem(error)
    told = shape.model_validate_json(answer.body)
    assert (answer.status_code, told.status) == (status, status)
    assert answer.media_type == "application/json", "the SDK reads no other type"
    assert told.title
    assert told.detail == (None if status == 500 else "m")


def test_a_wrong_field_is_told_with_the_rule_it_breaks() -> None:
    body = orjson.loads(problem(RequestError("m", param="prompt", code="maxLength")).body)
    assert body["fields"] == [{"field": "prompt", "rule": "maxLength", "message": "m"}]
    assert "fields" not in orjson.loads(problem(RequestError("m")).body)


def test_a_full_redis_is_told_from_an_absent_one() -> None:
    kinds = [orjson.loads(problem(error).body)["type"] for error in (StoreFullError("m"), StoreError("m"))]
    assert kinds == ["/errors/database-out-of-memory", "/errors/resource-unavailable"]


def app_that(raises: Exception) -> FastAPI:
    app = FastAPI()

    async def fail(_: Request) -> None:
        raise raises

    app.router.add_api_route("/fail", fail, methods=["POST"], route_class_override=_ProblemRoute)
    return app


async def post(app: FastAPI, path: str, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        return await client.post(path, **fields)


async def test_a_caller_who_left_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    answer = await post(app_that(ClientLeft()), "/fail")
    assert answer.status_code == CLIENT_LEFT
    assert not caplog.records


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StoreFullError("m"), "store-full"), (StoreUnavailableError("m"), "store-unavailable")],
    ids=["full", "gone"],
)
async def test_what_was_not_stored_is_counted(error: StoreError, reason: str) -> None:
    async def put(*_: Any, **__: Any) -> str:
        raise error

    metrics = Metrics()
    policy = SimpleNamespace(body_bytes=1000, response_bytes=1000)
    app = FastAPI()
    app.include_router(langcache.router)
    app.state.services = SimpleNamespace(
        identity=SimpleNamespace(tenant=lambda headers: "t"),
        caches=SimpleNamespace(policy=policy, put=put),
        metrics=metrics,
    )
    answer = await post(app, "/v1/caches/faq/entries", json={"prompt": "q", "response": "r"})
    assert answer.status_code == 424
    assert metrics.registry.get_sample_value("deja_answers_not_stored_total", {"reason": reason}) == 1
