from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute

from proxy.api import errors
from proxy.api.deps import Deps, Tenant
from proxy.api.direct import DirectRoute, _sources
from proxy.api.identity import Identity
from proxy.errors import RequestError


async def whole(thing: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """All a direct handler may ask for."""
    if thing == "wrong/one":
        raise RequestError("There is no such thing.", status=404, code="thing_not_found")
    return Response(f"{thing} {tenant} {request.method} {deps.identity.owns_credentials}")


async def with_query(thing: str, tenant: Tenant, limit: int = 3) -> Response:
    return Response(f"{thing} {limit}")


async def with_value(thing: str, tenant: Tenant) -> dict[str, Any]:
    return {"thing": thing}


async def with_number(number: int) -> Response:
    return Response(f"{number + 1}")


def plain(thing: str) -> Response:
    return Response(thing)


def app_with(route_class: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=route_class)
    router.get("/whole/{thing:path}")(whole)
    router.get("/query/{thing}")(with_query)
    router.get("/value/{thing}")(with_value)
    router.get("/number/{number}")(with_number)
    router.get("/plain/{thing}")(plain)
    app = FastAPI()
    app.router.routes.extend(router.routes)
    app.state.services = SimpleNamespace(identity=Identity(b"secret", [b"sk-one"]))
    errors.install(app)
    return app


@pytest.mark.parametrize(
    "path",
    [
        "/whole/a/b",
        "/whole/wrong/one",
        "/query/a?limit=5",
        "/query/a?limit=x",
        "/value/a",
        "/number/7",
        "/number/x",
        "/plain/a",
        "/nothing",
    ],
)
@pytest.mark.parametrize("key", ["sk-one", "sk-other"])
async def test_an_answer_is_what_fastapi_alone_would_give(path: str, key: str) -> None:
    answers = []
    for route_class in (APIRoute, DirectRoute):
        transport = httpx.ASGITransport(app_with(route_class))
        async with httpx.AsyncClient(transport=transport, base_url="http://deja") as client:
            answer = await client.get(path, headers={"authorization": f"Bearer {key}"})
            answers.append((answer.status_code, answer.text, answer.headers.get("content-type")))
    assert answers[0] == answers[1]


def test_openapi_is_the_same() -> None:
    assert app_with(DirectRoute).openapi() == app_with(APIRoute).openapi()


def test_only_handlers_that_need_nothing_of_fastapi_are_called_straight_away() -> None:
    routes = [route for route in app_with(DirectRoute).routes if isinstance(route, DirectRoute)]
    assert [route.name for route in routes if _sources(route) is not None] == ["whole"]


async def test_a_route_with_dependencies_of_its_own_keeps_them() -> None:
    async def refuse() -> None:
        raise RequestError("Never.", status=403)

    router = APIRouter(route_class=DirectRoute, dependencies=[Depends(refuse)])
    router.get("/whole/{thing:path}")(whole)
    app = app_with(DirectRoute)
    app.router.routes[:] = router.routes
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://deja") as client:
        assert (await client.get("/whole/a", headers={"authorization": "Bearer sk-one"})).status_code == 403
