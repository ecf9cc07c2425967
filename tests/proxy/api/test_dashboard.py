from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from proxy.api import dashboard, errors


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(dashboard.router)
    errors.install(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://deja", headers={"accept-encoding": ""}
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "kind"),
    [("", "text/html"), ("app.js", "text/javascript"), ("views/live.js", "text/javascript"), ("style.css", "text/css")],
)
async def test_its_files_are_served_with_their_kind_and_under_a_strict_policy(
    http: httpx.AsyncClient, path: str, kind: str
) -> None:
    answer = await http.get(f"/dashboard/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_is_found_without_its_slash(http: httpx.AsyncClient) -> None:
    answer = await http.get("/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (308, "dashboard/")


@pytest.mark.parametrize(
    "path", ["nothing.js", "__init__.py", "vendor", "vendor/README.md", "../app.py", "%2e%2e/app.py"]
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"/dashboard/{path}")).status_code == 404


async def test_an_unchanged_file_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/dashboard/app.js")
    again = await http.get("/dashboard/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_who_takes_gzip_gets_it(http: httpx.AsyncClient) -> None:
    plain = (await http.get("/dashboard/app.js")).content
    async with http.stream("GET", "/dashboard/app.js", headers={"accept-encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join([piece async for piece in packed.aiter_raw()])) == plain
