"""Head and body leave together."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from proxy.api.corked import Corked, CorkedHttp


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str) -> str:
        return name


def corked(transport: Any) -> Corked:
    return Corked(transport, asyncio.get_running_loop())


async def test_what_one_turn_brings_is_written_at_once_and_in_order() -> None:
    transport = Transport()
    cork = corked(transport)
    cork.write(b"head")
    cork.write(b"body")
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [b"headbody"]
    cork.write(b"later")
    await asyncio.sleep(0)
    assert transport.written == [b"headbody", b"later"]


async def test_closing_sends_what_is_held_first() -> None:
    transport = Transport()
    cork = corked(transport)
    cork.write(b"last")
    cork.close()
    assert (transport.written, transport.is_closed) == ([b"last"], True)
    await asyncio.sleep(0)
    assert transport.written == [b"last"]


async def test_all_else_is_the_transports() -> None:
    assert corked(Transport()).get_extra_info("peername") == "peername"


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"] * 2})
        await send({"type": "websocket.close"})
    elif scope["path"] == "/pieces":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b""})
    else:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body, is_more = body + message["body"], message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> Any:
    config = uvicorn.Config(
        application, port=0, http=CorkedHttp, ws="websockets-sansio", lifespan="off", log_level="error"
    )
    server = uvicorn.Server(config)
    task = asyncio.get_running_loop().create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - it sends no event
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def test_answers_arrive_whole_and_in_pieces(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (0, 10, 1 << 20):
            assert (await client.post("/", content=b"x" * size)).content == b"x" * size
        async with client.stream("GET", "/pieces") as answer:
            assert [piece async for piece in answer.aiter_bytes()] == [b"0", b"1", b"2"]


async def test_a_connection_can_become_a_websocket(port: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.send("ab")
        assert await socket.recv() == "abab"


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(20):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n%02d" % number)
    got = b""
    while got.count(b"HTTP/1.1 200") < 20 or not got.endswith(b"19"):
        got += await asyncio.wait_for(reader.read(65536), 5)
    assert [part[-2:] for part in got.split(b"HTTP/1.1")[1:]] == [b"%02d" % number for number in range(20)]
    writer.close()
