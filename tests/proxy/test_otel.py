"""Spans on their way to a collector: sent at the latest on the way out, and never in the way."""

from __future__ import annotations

import sys
import time

import pytest

from proxy.core.models import Forwarded
from proxy.core.outcome import Outcome
from proxy.core.tracing import Answered, Span, Trace, spans_of
from proxy.errors import ConfigError
from proxy.otel import open_tracing
from proxy.services.tracing import Tracing, _content
from proxy.settings import Settings, load
from tests.deja_process import free_port
from tests.otlp_collector import Collector, attributes

CALLER = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


def settings(**telemetry: object) -> Settings:
    return Settings.model_validate({"telemetry": telemetry})


def spans(trace: Trace) -> list[Span]:
    outcome = Outcome(fwd=Forwarded.MISS, reason="no-candidate", timings_ms={"upstream": 30.0})
    told = Answered("chat", "/v1/chat/completions", "gpt-4o", "req_1", outcome, 502, time.time_ns(), 40_000_000)
    return spans_of(trace, told, span_ids=iter(()))


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert open_tracing(settings(), version="1") is None


def test_spans_that_wait_are_sent_on_the_way_out() -> None:
    with Collector() as collector:
        traces = open_tracing(settings(otlp_endpoint=collector.url, service_name="edge"), version="1.2")
        assert traces is not None
        trace = traces.tracing.begin([(b"traceparent", CALLER + b"01")])
        traces.tracing.sink(trace, spans(trace))
        traces.end()
        request, call = collector.spans(2)
    assert request.trace_id.hex() == trace.trace_id
    assert call.parent_span_id == request.span_id
    assert attributes(request)["error.type"] == "502"
    assert request.status.code == 2
    assert collector.resources[0].items() >= {"service.name": "edge", "service.version": "1.2"}.items()


def test_a_collector_that_is_away_keeps_nobody() -> None:
    traces = open_tracing(settings(otlp_endpoint=f"http://127.0.0.1:{free_port()}"), version="1")
    assert traces is not None
    trace = traces.tracing.begin([])
    traces.tracing.sink(trace, spans(trace))
    traces.end()


def test_without_its_packages_it_says_so_and_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert open_tracing(settings(otlp_endpoint="http://127.0.0.1:4318"), version="1") is None
    assert 'pip install "deja[otel]"' in caplog.text


def test_a_trace_begins_here_unless_the_caller_began_it() -> None:
    tracing = Tracing(lambda *_: None)
    own, callers = tracing.begin([]), tracing.begin([(b"traceparent", CALLER + b"01")])
    assert (own.parent_id, own.is_sampled, len(own.trace_id)) == ("", True, 32)
    assert (callers.trace_id, callers.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert len({own.span_id, own.upstream_id, callers.span_id, callers.upstream_id}) == 4


def test_a_share_is_of_the_traces_that_begin_here_alone() -> None:
    tracing = Tracing(lambda *_: None, share=0.0)
    assert not tracing.begin([]).is_sampled
    assert tracing.begin([(b"traceparent", CALLER + b"01")]).is_sampled
    assert not Tracing(lambda *_: None).begin([(b"traceparent", CALLER + b"00")]).is_sampled


def test_opentelemetrys_own_variables_are_honoured() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SERVICE_NAME": "edge", "HOME": "/x"}
    found = load(environ).telemetry
    assert (found.otlp_endpoint, found.service_name) == ("http://collector:4318", "edge")
    assert (
        load(environ | {"DEJA_TELEMETRY__OTLP_ENDPOINT": "http://own:4318"}).telemetry.otlp_endpoint
        == "http://own:4318"
    )
    assert load(environ | {"OTEL_SDK_DISABLED": "true"}).telemetry.otlp_endpoint is None


def test_an_address_that_is_not_http_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="gRPC"):
        load({"DEJA_TELEMETRY__OTLP_ENDPOINT": "collector:4317", "HOME": "/x"})


def test_words_are_in_spans_only_where_the_settings_say_so_aloud() -> None:
    words = _content([{"role": "user", "content": "why?"}], {"choices": []})
    assert words == {
        "gen_ai.input.messages": '[{"role":"user","content":"why?"}]',
        "gen_ai.output.messages": '{"choices":[]}',
    }
    assert not settings().telemetry.capture_content
