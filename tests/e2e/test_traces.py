"""Traces and log lines of a running Deja: what a collector gets, what a provider is told, and what is never said."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream
from tests.otlp_collector import Collector, attributes

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CANARIES = ("canary-prompt-7141", "of the provider", "sk-canary-key-2718", "canary-provider-key-3141")
QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"What is the capital of {CANARIES[0]}?"}]}
CALLER = {"Authorization": f"Bearer {CANARIES[2]}", "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(provider: FakeUpstream, collector: Collector) -> Iterator[DejaProcess]:
    settings = {
        "DEJA_UPSTREAM__BASE_URL": provider.base_url,
        "DEJA_UPSTREAM__API_KEY": CANARIES[3],
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "DEJA_LOG_FORMAT": "json",
        "DEJA_LOG_REQUESTS": "true",
    }
    with running_deja(**settings) as process:
        yield process


def ask(deja: DejaProcess, **more: object) -> httpx.Response:
    with httpx.Client(base_url=deja.root, headers=CALLER, timeout=20) as client:
        return client.post("/v1/chat/completions", json=QUESTION | more)


def test_a_miss_and_a_hit_are_traced_below_the_callers_span(
    traced: DejaProcess, upstream: FakeUpstream, collector: Collector
) -> None:
    collector.clear()
    miss = ask(traced)
    found = {span.kind: span for span in collector.spans(4)}  # the request, lookup, embed, the call
    request, call = found[2], found[3]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert request.name == "chat gpt-4o"
    told = attributes(request)
    assert told["deja.request_id"] == miss.headers["x-deja-request-id"]
    assert (told["deja.cache.outcome"], told["deja.cache.reason"]) == ("miss", "no-candidate")
    assert (told["gen_ai.operation.name"], told["gen_ai.request.model"]) == ("chat", "gpt-4o")
    usage = miss.json()["usage"]
    assert attributes(call)["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert call.parent_span_id == request.span_id
    heard = dict(upstream.requests[-1].headers)["traceparent"]
    assert heard == f"00-{TRACE_ID}-{call.span_id.hex()}-01"
    collector.clear()
    ask(traced)
    (hit, _) = collector.spans(2)
    assert attributes(hit)["deja.cache.outcome"] == "exact"
    assert attributes(hit)["deja.saved.input_tokens"] == usage["prompt_tokens"]
    assert collector.resources[-1]["service.name"] == "deja"


def test_no_word_of_anybodys_is_in_traces_or_logs(
    traced: DejaProcess, upstream: FakeUpstream, collector: Collector
) -> None:
    collector.clear()
    ask(traced, temperature=0.3, stream=True)
    told = ask(traced, temperature=0.5).text
    assert CANARIES[1] in told, "the fake provider says it in each answer"
    everything = repr(collector.spans(6)) + traced.log
    assert not [word for word in CANARIES if word in everything]


def test_each_log_line_is_an_object_and_requests_are_among_them(traced: DejaProcess, upstream: FakeUpstream) -> None:
    answer = ask(traced, temperature=0.4)
    lines = [json.loads(line) for line in traced.log.splitlines() if line.startswith("{")]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (line,) = [each for each in lines if each.get("request_id") == answer.headers["x-deja-request-id"]]
    assert (line["route"], line["model"], line["status"]) == ("chat", "gpt-4o", 200)
    assert line["outcome"] in answer.headers["cache-status"]
