"""Sends spans by OTLP over HTTP, with OpenTelemetry's SDK; imported only where the settings ask for traces.

The SDK's batching thread does the sending: what comes is put into a bounded queue, the oldest give way when a collector does not keep up,
and no request ever waits. What the SDK reads of the environment (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_…`) it
reads here as everywhere.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.tracing import Span, Trace
from proxy.services.tracing import Sink, Tracing
from proxy.settings import Settings

logger = logging.getLogger("deja.telemetry")

TRACES_PATH = "/v1/traces"
"""Below a collector's address. Source: OTLP specification, section OTLP/HTTP."""
LAST_BATCH_S = 2.0
"""How long the way out waits for the last batch."""
CALL_S = 5.0
"""For one call to the collector: half of the SDK's own, so that the way out stays short."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What makes traces.

    Attributes:
        tracing: begins and ends them.
        end: sends what waits, for `LAST_BATCH_S` at most, and lets the collector go; blocks.
    """

    tracing: Tracing
    end: Callable[[], None]


def open_tracing(settings: Settings, *, version: str) -> Traces | None:
    """Tracing as the settings ask for it; None where they do not, or where the packages are missing, which is said."""
    wanted = settings.telemetry
    if wanted.otlp_endpoint is None:
        return None
    try:
        sink, end = _otlp_sink(wanted.otlp_endpoint, service=wanted.service_name, version=version)
    except ImportError:
        logger.warning(
            'no traces are sent: an OTLP endpoint is set, but its packages are missing; pip install "deja[otel]"'
        )
        return None
    return Traces(Tracing(sink, share=wanted.sample_share, has_content=wanted.capture_content), end)


def _otlp_sink(endpoint: str, *, service: str, version: str) -> tuple[Sink, Callable[[], None]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    base = endpoint.rstrip("/")
    exporter = OTLPSpanExporter(endpoint=base if base.endswith(TRACES_PATH) else base + TRACES_PATH, timeout=CALL_S)
    processor = BatchSpanProcessor(exporter)
    resource = Resource.create({"service.name": service, "service.version": version})
    scope = InstrumentationScope("deja", version)
    kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
    sampled = TraceFlags(TraceFlags.SAMPLED)

    def context(trace: Trace, span_id: str, *, is_remote: bool) -> SpanContext:
        return SpanContext(int(trace.trace_id, 16), int(span_id, 16), is_remote, sampled)

    def readable(trace: Trace, span: Span) -> ReadableSpan:
        is_top = span.span_id == trace.span_id
        return ReadableSpan(
            name=span.name,
            context=context(trace, span.span_id, is_remote=False),
            parent=context(trace, span.parent_id, is_remote=is_top) if span.parent_id else None,
            resource=resource,
            attributes={**span.attributes, **({"error.type": span.error} if span.error else {})},
            kind=kinds[span.kind],
            status=Status(StatusCode.ERROR) if span.error else Status(),
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=scope,
        )

    def send(trace: Trace, spans: list[Span]) -> None:
        for span in spans:
            processor.on_end(readable(trace, span))

    def end() -> None:
        ending = threading.Thread(target=processor.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(LAST_BATCH_S)
        if ending.is_alive():  # the collector is away, and would be tried again
            exporter.shutdown()  # type: ignore[no-untyped-call]

    return send, end
