"""The built-in simulated provider: inside Deja for a first run, or a server of its own for load tests.

    python -m proxy.upstream.simulated --port 9000 --latency-ms 400 --tokens-per-s 80 --failure-rate 0.01

What it says is in `simulation.py`; here is when it says it, and over what.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import uvicorn

from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.simulation import Simulated, failure, simulate

IDENTITY = "simulated://"
"""Identity of the in-process provider; no base URL looks like it, so its answers are never served for another."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow and how unreliable the provider is.

    Attributes:
        latency_s: seconds before the first byte; the median where it varies.
        latency_sigma: spread of a log-normal latency (standard deviation of its logarithm); 0 makes it fixed. Provider
            latencies have a long right tail, which a normal distribution would miss.
        tokens_per_s: output tokens a second; 0 means at once.
        failure_rate: share of calls in [0, 1] that end in 429 or 500, half and half.
        seed: equal seeds give equal latencies and failures in the order of the calls.
    """

    latency_s: float = 0.0
    latency_sigma: float = 0.0
    tokens_per_s: float = 0.0
    failure_rate: float = 0.0
    seed: int = 0


class SimulatedProvider:
    """Counts the calls and draws their fate; both faces below share it."""

    def __init__(self, pace: Pace = Pace()) -> None:
        self.calls: Counter[str] = Counter()
        self._pace = pace
        self._random = random.Random(pace.seed)  # noqa: S311  (load, not secrets)

    def answer(self, method: str, path: str, body: bytes) -> tuple[Simulated, float]:
        """Decide one call: the answer, and the seconds until its first byte."""
        number = self.calls.total()
        self.calls[path] += 1
        pace, draw = self._pace, self._random
        latency_s = pace.latency_s
        if pace.latency_sigma:
            latency_s *= math.exp(draw.gauss(0.0, pace.latency_sigma))
        if pace.failure_rate and draw.random() < pace.failure_rate:
            if draw.random() < 0.5:
                retry = ((b"retry-after", b"1"),)
                return failure(429, "Simulated rate limit.", code="rate_limit_exceeded", headers=retry), latency_s
            return failure(500, "Simulated server error.", code="server_error"), latency_s
        return simulate(method, path, body, call=number, now_s=time.time()), latency_s

    async def pieces(self, answer: Simulated, started_at: float) -> AsyncIterator[bytes]:
        """Yield the body at the pace of the model; a whole answer comes when its last token would.

        Args:
            answer: what `answer` gave.
            started_at: event loop time of the first byte. Waits are counted from it, so delays do not add up.
        """
        rate = self._pace.tokens_per_s
        last = len(answer.pieces)
        for index, piece in enumerate(answer.pieces):
            if rate and answer.output_tokens:
                tokens = index if last > 1 else answer.output_tokens
                await asyncio.sleep(max(0.0, started_at + tokens / rate - asyncio.get_running_loop().time()))
            yield piece


class SimulatedTransport(httpx.AsyncBaseTransport):
    """The provider behind httpx, without a socket; streams are real streams."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._provider = provider

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer after the latency."""
        path = _after_v1(request.url.path)
        answer, latency_s = self._provider.answer(request.method, path, await request.aread())
        await asyncio.sleep(latency_s)
        started_at = asyncio.get_running_loop().time()
        body = _Body(self._provider.pieces(answer, started_at))
        return httpx.Response(answer.status, headers=list(answer.headers), stream=body)


class _Body(httpx.AsyncByteStream):
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


def simulated_upstream(pace: Pace | None = None) -> OpenAIUpstream:
    """The provider inside this process, for when none is configured; identity `simulated://`."""
    return OpenAIUpstream(
        "http://simulated.invalid/v1",
        api_key=None,
        connect_timeout_s=5.0,
        read_timeout_s=600.0,
        max_connections=1,  # no connection is ever opened
        identity=IDENTITY,
        transport=SimulatedTransport(SimulatedProvider(pace or Pace())),
    )


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def simulated_app(provider: SimulatedProvider) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The provider as an ASGI application under `/v1`; `GET /__stats` tells how often each path was called."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read_body(receive)
        if scope["path"] == "/__stats":
            counts = {"calls": provider.calls.total(), "by_path": dict(provider.calls)}
            await _respond(send, 200, [(b"content-type", b"application/json")])
            await send({"type": "http.response.body", "body": orjson.dumps(counts)})
            return
        answer, latency_s = provider.answer(scope["method"], _after_v1(scope["path"]), body)
        await asyncio.sleep(latency_s)
        await _respond(send, answer.status, list(answer.headers))
        async for piece in provider.pieces(answer, asyncio.get_running_loop().time()):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _read_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _respond(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _after_v1(path: str) -> str:
    return path.removeprefix("/v1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m proxy.upstream.simulated", description="A simulated provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="before the first byte; the median if it varies")
    parser.add_argument("--latency-sigma", type=float, default=0.0, help="log-normal spread of the latency; 0 is fixed")
    parser.add_argument("--tokens-per-s", type=float, default=0.0, help="0 is at once")
    parser.add_argument("--failure-rate", type=float, default=0.0, help="share of calls that end in 429 or 500")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    pace = Pace(given.latency_ms / 1000, given.latency_sigma, given.tokens_per_s, given.failure_rate, given.seed)
    uvicorn.run(simulated_app(SimulatedProvider(pace)), host=given.host, port=given.port, access_log=False)


if __name__ == "__main__":
    main()
