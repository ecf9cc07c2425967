from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import httpx
import openai

from proxy.ports import UpstreamRequest
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.simulated import (
    IDENTITY,
    Pace,
    SimulatedProvider,
    SimulatedTransport,
    simulated_app,
    simulated_upstream,
)

CALL = {"model": "simulated-small", "messages": [{"role": "user", "content": "What is Redis?"}]}


def request(**fields: object) -> UpstreamRequest:
    return UpstreamRequest("POST", "/chat/completions", b"", (), json.dumps({**CALL, **fields}).encode())


async def timed(upstream: OpenAIUpstream, sent: UpstreamRequest) -> list[float]:
    """Seconds from the call to each piece."""
    began = time.perf_counter()
    response = await upstream.send(sent)
    return [time.perf_counter() - began async for _ in response.chunks()]


def test_the_in_process_provider_has_an_identity_of_its_own() -> None:
    assert simulated_upstream().identity == IDENTITY == "simulated://"


async def test_a_stream_comes_at_the_pace_that_was_set() -> None:
    times = await timed(simulated_upstream(Pace(latency_s=0.05, tokens_per_s=200)), request(stream=True, max_tokens=20))
    assert times[0] >= 0.05
    assert times[10] >= 0.05 + 10 / 200
    assert times[10] < times[-1]


async def test_a_whole_answer_takes_as_long_as_its_tokens() -> None:
    times = await timed(simulated_upstream(Pace(tokens_per_s=200)), request(max_tokens=20))
    assert times[-1] >= 20 / 200


def test_failures_come_at_the_rate_that_was_set_and_repeat_with_the_seed() -> None:
    def statuses(seed: int) -> list[int]:
        provider = SimulatedProvider(Pace(failure_rate=0.3, seed=seed))
        body = json.dumps(CALL).encode()
        return [provider.answer("POST", "/chat/completions", body)[0].status for _ in range(400)]

    first = statuses(1)
    assert first == statuses(1) != statuses(2)
    assert set(first) == {200, 429, 500}
    assert 80 < sum(status != 200 for status in first) < 160  # 120 expected; five standard deviations are 46


def test_a_lognormal_latency_has_the_median_that_was_set() -> None:
    provider = SimulatedProvider(Pace(latency_s=0.4, latency_sigma=0.5))
    drawn = sorted(provider.answer("GET", "/models", b"")[1] for _ in range(801))
    assert 0.35 < drawn[400] < 0.45
    assert drawn[-1] > 1.0


def test_the_calls_are_counted_by_path() -> None:
    provider = SimulatedProvider()
    for path in ("/models", "/models", "/nowhere"):
        provider.answer("GET", path, b"")
    assert provider.calls == {"/models": 2, "/nowhere": 1}


async def test_the_openai_client_reads_every_kind_of_answer() -> None:
    http = httpx.AsyncClient(transport=SimulatedTransport(SimulatedProvider()))
    async with openai.AsyncOpenAI(api_key="x", base_url="http://simulated.invalid/v1", http_client=http) as client:
        messages = [{"role": "user", "content": "What is Redis?"}]
        whole = await client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)  # type: ignore[arg-type]
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(parts) == whole.choices[0].message.content
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 10
        text = await client.completions.create(model="m", prompt="What is Redis?")
        assert "What is Redis?" in text.choices[0].text
        assert len((await client.embeddings.create(model="m", input="a")).data[0].embedding) == 8
        assert [model.id async for model in client.models.list()]


async def test_the_app_streams_and_tells_its_counts() -> None:
    app = simulated_app(SimulatedProvider())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim") as client:
        streamed = await client.post("/v1/chat/completions", json={**CALL, "stream": True})
        stats = await client.get("/__stats")
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert stats.json() == {"calls": 1, "by_path": {"/chat/completions": 1}}


def test_the_module_serves_on_its_own() -> None:
    command = [sys.executable, "-m", "proxy.upstream.simulated", "--port", "0", "--latency-ms", "5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
            assert "What is Redis?" in httpx.post(f"{address}/v1/chat/completions", json=CALL).text
        finally:
            server.terminate()
            server.communicate(timeout=10)
