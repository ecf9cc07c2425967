"""A scriptable model provider on a real loopback socket, for tests that need more than a mock can show.

It runs in a thread with an event loop of its own, so synchronous clients and subprocesses can call it too. A test says
what the next calls get, in order; the last thing said goes on for good:

    with FakeUpstream() as fake:
        fake.script(too_many_requests(retry_after_s=3), chat("hello"))

A behaviour is `async (Exchange) -> None`: it writes what it likes, at the pace it likes, and may cut the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

HANG_S = 60.0
"""How long "hanging" lasts, in seconds: longer than any test."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came over the wire; header names lower-case, in wire order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """All values of one header joined by a comma, None if it did not come."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


@dataclass(slots=True)
class Exchange:
    """What a behaviour holds: the request, and the line to answer on."""

    request: Recorded
    writer: asyncio.StreamWriter
    chunked: bool = field(default=False, init=False)
    is_cut: bool = field(default=False, init=False)

    async def head(self, status: int = 200, headers: Iterable[tuple[str, str]] = (), length: int | None = None) -> None:
        """Send the status line and headers; without a length the body goes chunked."""
        self.chunked = length is None
        framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*headers, framing))
        await self.raw(f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Send one piece of the body."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    async def end(self) -> None:
        """Finish a chunked body."""
        if self.chunked:
            await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def cut(self) -> None:
        """Drop the line without another word (a TCP reset)."""
        self.is_cut = True
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


class _Line(asyncio.StreamReader):
    """A reader that tells when the other side is gone, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.closed.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.closed.set()


class FakeUpstream:
    """The server; `with` or `async with` it.

    Attributes:
        requests: what came, in order of arrival.
        disconnects: how many clients left before their answer was complete.
        caller_port: of the connection that the last request came by.
        connections, open_connections: how many connections were opened, and are open now.
        in_flight, peak_in_flight: calls being answered, now and at most.
    """

    def __init__(self) -> None:
        self.caller_port = 0
        self.requests: list[Recorded] = []
        self.disconnects = 0
        self.connections = 0
        self.open_connections = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self._script: list[Behaviour] = [chat()]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-upstream", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._port = 0
        self._failures: list[BaseException] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def script(self, *behaviours: Behaviour) -> None:
        """Answer the coming calls with these, in order; the last one goes on."""
        self._script = list(behaviours)

    def reset(self) -> None:
        """Forget what came and what was scripted."""
        self.requests.clear()
        self.disconnects = self.connections = self.peak_in_flight = 0
        self.script(chat())

    def wait_for(self, condition: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """Block until the condition holds. Raises AssertionError when it does not in time."""
        give_up_at = time.monotonic() + timeout_s
        while not condition(self):
            assert time.monotonic() < give_up_at, "the fake upstream never came to the awaited state"
            time.sleep(0.005)

    async def seen(self, condition: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """`wait_for` without blocking the event loop."""
        await asyncio.to_thread(self.wait_for, condition, timeout_s)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()
        if self._failures:
            raise AssertionError("a behaviour of the fake upstream failed") from self._failures[0]

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def connected(line: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert isinstance(line, _Line)
            task = self._loop.create_task(self._connection(line, writer))
            tasks.add(task)
            task.add_done_callback(over)

        def over(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (failure := task.exception()) is not None:
                self._failures.append(failure)

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(_Line(), connected)

        server = await self._loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, line: _Line, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            while (request := await _read_request(line)) is not None:
                self.caller_port = writer.get_extra_info("peername")[1]
                self.requests.append(request)
                behaviour = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                exchange = Exchange(request, writer)
                if not await self._answer(behaviour, exchange, line):
                    break
        finally:
            self.open_connections -= 1
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _answer(self, behaviour: Behaviour, exchange: Exchange, line: _Line) -> bool:
        """Run the behaviour while watching the line; False when the connection is over."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        answering = self._loop.create_task(behaviour(exchange))
        leaving = self._loop.create_task(line.closed.wait())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done() and not isinstance(answering.exception(), ConnectionError):
                answering.result()
                return not exchange.is_cut
            self.disconnects += not exchange.is_cut
            return False
        finally:
            self.in_flight -= 1
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Recorded | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    found = dict(headers)
    try:
        if found.get("transfer-encoding") == "chunked":
            body = b"".join([piece async for piece in _chunked(reader)])
        else:
            body = await reader.readexactly(int(found.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Recorded(method, target, headers, body)


async def _chunked(reader: asyncio.StreamReader) -> Any:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


# Behaviours ---------------------------------------------------------------------------------------------------------


def answer(
    payload: bytes | dict[str, Any] | Callable[[Any], Any],
    *,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    after_s: float = 0.0,
) -> Behaviour:
    """A whole answer: bytes, a JSON value, or a callable that makes one from the parsed request body."""

    async def behave(exchange: Exchange) -> None:
        await asyncio.sleep(after_s)
        made = payload(exchange.request.json) if callable(payload) else payload
        body = made if isinstance(made, bytes) else json.dumps(made).encode()
        await exchange.head(status, (("content-type", "application/json"), *headers), len(body))
        await exchange.write(body)

    return behave


def chat(text: str = "Hello from the fake provider.", *, after_s: float = 0.0, **fields: Any) -> Behaviour:
    """An OpenAI chat completion, streamed if the request asks for it; `fields` overwrite the top level."""

    async def behave(exchange: Exchange) -> None:
        try:
            body = exchange.request.json if exchange.request.body else {}
        except ValueError:
            await error(400, code="invalid_json")(exchange)
            return
        if body.get("stream"):
            chunks = sse_chat(text, with_usage=bool((body.get("stream_options") or {}).get("include_usage")))
            await sse(chunks, before_s=after_s)(exchange)
        else:
            await answer(chat_completion(text, body.get("model", "fake"), **fields), after_s=after_s)(exchange)

    return behave


def sse(
    pieces: Sequence[bytes], *, before_s: float = 0.0, between_s: float = 0.0, headers: Sequence[tuple[str, str]] = ()
) -> Behaviour:
    """A stream sent in exactly these pieces, wherever they split the events."""

    async def behave(exchange: Exchange) -> None:
        await asyncio.sleep(before_s)
        await exchange.head(200, (("content-type", "text/event-stream; charset=utf-8"), *headers))
        for index, piece in enumerate(pieces):
            await asyncio.sleep(between_s if index else 0)
            await exchange.write(piece)
        await exchange.end()

    return behave


def error(status: int, *, code: str = "fake_error", headers: Sequence[tuple[str, str]] = ()) -> Behaviour:
    """An OpenAI-shaped error."""
    body = {"error": {"message": f"fake error {status}", "type": "fake", "param": None, "code": code}}
    return answer(body, status=status, headers=headers)


def too_many_requests(retry_after_s: int = 7) -> Behaviour:
    """429 with Retry-After and OpenAI's rate-limit headers."""
    headers = (("retry-after", str(retry_after_s)), ("x-ratelimit-remaining-requests", "0"))
    return error(429, code="rate_limit_exceeded", headers=headers)


def gzipped(payload: dict[str, Any]) -> Behaviour:
    """A compressed answer, whatever the request accepts."""
    return answer(gzip.compress(json.dumps(payload).encode()), headers=(("content-encoding", "gzip"),))


def hang() -> Behaviour:
    """Take the request and never say a word."""
    return sse((), before_s=HANG_S)


def hang_after(pieces: Sequence[bytes]) -> Behaviour:
    """Begin a stream, then fall silent."""
    return _then(pieces, _silence)


def cut_after(pieces: Sequence[bytes] = ()) -> Behaviour:
    """Begin a stream, then drop the line; with no pieces, drop it before the head."""
    return _then(pieces, _cut)


def garbage() -> Behaviour:
    """Bytes that are no HTTP at all."""

    async def behave(exchange: Exchange) -> None:
        await exchange.raw(b"what is this?\r\n\r\n")
        exchange.cut()

    return behave


def huge(total_bytes: int) -> Behaviour:
    """One very long answer text, in pieces of 64 KiB."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, (("content-type", "application/json"),), total_bytes)
        piece = b"x" * 65_536
        for start in range(0, total_bytes, len(piece)):
            await exchange.write(piece[: total_bytes - start])

    return behave


async def _silence(exchange: Exchange) -> None:
    await asyncio.sleep(HANG_S)


async def _cut(exchange: Exchange) -> None:
    exchange.cut()


def _then(pieces: Sequence[bytes], last: Behaviour) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        if pieces:
            await exchange.head(200, (("content-type", "text/event-stream"),))
        for piece in pieces:
            await exchange.write(piece)
            await asyncio.sleep(0.01)  # its own packet, so that the reader sees it before the end
        await last(exchange)

    return behave


# Payloads -----------------------------------------------------------------------------------------------------------


def chat_completion(text: str, model: str = "fake", **fields: Any) -> dict[str, Any]:
    """The JSON of a finished chat completion."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
        **fields,
    }


def sse_chat(text: str, *, model: str = "fake", with_usage: bool = False) -> list[bytes]:
    """The same as stream events, one word each."""
    words = [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas.append(({}, "stop"))
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
    events: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas
    ]
    if with_usage:
        usage = {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)}
        events.append({**head, "choices": [], "usage": usage})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def split_oddly(pieces: Iterable[bytes], size: int = 7) -> list[bytes]:
    """The same bytes cut every `size` bytes, in the middle of events, lines and UTF-8 characters."""
    whole = b"".join(pieces)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    """A fresh provider on its own port."""
    with FakeUpstream() as fake:
        yield fake
