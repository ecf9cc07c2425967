"""A tool's request over HTTP: what is sent, what comes back, and what is said where nothing does."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from proxy.errors import AwayError
from proxy.mcp.calls import Answer, Call
from proxy.mcp.outside import Outside


async def answered(
    handle: Callable[[httpx.Request], httpx.Response], call: Call, root: str = "http://me:secret@deja.test:8080"
) -> Answer:
    async with Outside(root, {"authorization": "Bearer sk-ö"}, httpx.MockTransport(handle)) as caller:
        return await caller(call)


async def test_a_call_is_sent_as_it_stands_with_the_key() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(409, json={"error": {"code": "version_conflict"}})

    call = Call("PATCH", "/v1/agents/a%2Fb%20c", {"x": ["1", "2&"]}, {"n": None}, {"if-match": '"7"'})
    assert await answered(handle, call, "http://deja.test") == Answer(409, {"error": {"code": "version_conflict"}})
    (request,) = seen
    assert (request.method, request.url.raw_path) == ("PATCH", b"/v1/agents/a%2Fb%20c?x=1&x=2%26")
    assert request.read() == b'{"n":null}'
    assert request.headers.get("content-type") == "application/json"
    assert request.headers.get("if-match") == '"7"'
    assert (b"authorization", "Bearer sk-ö".encode()) in [(name.lower(), value) for name, value in request.headers.raw]


async def test_an_empty_answer_is_none() -> None:
    assert await answered(lambda _: httpx.Response(204), Call("DELETE", "/v1/x")) == Answer(204, None)


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (lambda _: httpx.Response(200, text="<html>"), "is no Deja (status 200"),
        (lambda _: httpx.Response(502, text="Bad gateway"), "is no Deja (status 502"),
    ],
)
async def test_something_else_at_that_address_is_told(
    handle: Callable[[httpx.Request], httpx.Response], said: str
) -> None:
    with pytest.raises(AwayError, match=r"deja\.test:8080") as caught:
        await answered(handle, Call("GET", "/v1/x"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("refused"), "Start it with `deja serve`"),
        (httpx.ConnectTimeout("slow"), "Start it with `deja serve`"),
        (httpx.RemoteProtocolError("gone"), "Start it with `deja serve`"),
        (httpx.ReadTimeout("slow"), "may have been done all the same"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_a_deja_that_is_away_is_told(error: Exception, said: str) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(AwayError) as caught:
        await answered(handle, Call("GET", "/v1/x"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
