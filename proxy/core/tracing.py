"""Traces: W3C's `traceparent`, and the spans that one answered request comes to. Pure; ids and clocks are passed in.

Spans are made in one go from what was measured anyway: a stage's length is its own, and stages are laid one behind the other in the order
in which they ran. Names of attributes are those of OpenTelemetry's semantic conventions for generative AI, and `deja.…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core.outcome import Outcome
from proxy.core.usage import Usage

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
STAGES = ("memory", "lookup", "embed", "verify")
"""In the order in which they run; the provider comes after them."""
OPERATIONS = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
"""Family of routes -> `gen_ai.operation.name`."""

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SHARE_BITS = 56
"""The random bits of a trace id, which W3C wants to be its last seven bytes."""

Attribute = str | int | float | bool | tuple[str, ...]
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request stands in a trace; ids in lower-case hex.

    Attributes:
        trace_id: 32 digits.
        span_id: 16 digits: of the request's own span.
        upstream_id: of the span of its call to the provider.
        parent_id: of the caller's span, "" where none was named.
        is_sampled: its spans are sent.
    """

    trace_id: str
    span_id: str
    upstream_id: str
    parent_id: str = ""
    is_sampled: bool = True

    def carried(self, headers: Headers) -> Headers:
        """Headers for the provider: it hangs its spans below our call to it. The state of a trace that was not continued is left out."""
        told = f"00-{self.trace_id}-{self.upstream_id}-{int(self.is_sampled):02x}".encode()
        ours = (TRACEPARENT,) if self.parent_id else (TRACEPARENT, TRACESTATE)
        return (*(pair for pair in headers if pair[0] not in ours), (TRACEPARENT, told))


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        name: for people.
        span_id, parent_id: 16 digits of hex; "" for no parent.
        kind: `server`, `client` or `internal`.
        began_ns, ended_ns: unix time.
        attributes: what is known of it.
        error: what went wrong in a word, "" if nothing did.
    """

    name: str
    span_id: str
    parent_id: str
    kind: str
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Attribute]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is known of a request once it is answered.

    Attributes:
        family: of its route: `chat`, `embeddings`, …
        path: of its route, below the host.
        model: as asked for.
        request_id: ours.
        outcome: what became of it.
        status: HTTP status of the answer.
        ended_ns: unix time.
        duration_ns: from its arrival.
        used: what the provider counted, None where it was not asked or did not say.
        saved: what the stored answer had used, None where none was served.
        session, agent: as the request named them, None where it did not.
        content: attributes that hold the words themselves; empty unless the settings ask for them.
    """

    family: str
    path: str
    model: str
    request_id: str
    outcome: Outcome
    status: int
    ended_ns: int
    duration_ns: int
    used: Usage | None = None
    saved: Usage | None = None
    session: str | None = None
    agent: str | None = None
    content: Mapping[str, Attribute] | None = None


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str, bool] | None:
    """Trace id, span id and whether it is sampled, as the caller's `traceparent` says; None where it says nothing usable.

    Of several, or of one that W3C's rules do not allow, none counts: a trace is never continued by guess.
    """
    told = [value for name, value in headers if name == TRACEPARENT]
    match = _TRACEPARENT.fullmatch(told[0].strip()) if len(told) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return trace_id.decode(), span_id.decode(), bool(int(flags, 16) & 1)


def is_in_share(trace_id: str, share: float) -> bool:
    """Whether a trace belongs to a share of all, the same for everybody who asks."""
    return int(trace_id, 16) % (1 << _SHARE_BITS) < share * (1 << _SHARE_BITS)


def spans_of(trace: Trace, answered: Answered, *, span_ids: Iterable[str]) -> list[Span]:
    """The request's spans, its own first.

    Args:
        trace: where it stands.
        answered: what became of it.
        span_ids: new ids, one for each stage.
    """
    began_ns = answered.ended_ns - answered.duration_ns
    operation = OPERATIONS.get(answered.family, answered.family)
    name = f"{operation} {answered.model}".rstrip()
    asked: dict[str, Attribute] = {"gen_ai.operation.name": operation, "gen_ai.request.model": answered.model}
    error = str(answered.status) if answered.status >= 500 else ""
    spans = [
        Span(
            name,
            trace.span_id,
            trace.parent_id,
            "server",
            began_ns,
            answered.ended_ns,
            {**asked, **_request_attributes(answered), **(answered.content or {})},
            error,
        )
    ]
    at_ns, timings_ms = began_ns, answered.outcome.timings_ms
    for stage, span_id in zip([stage for stage in STAGES if stage in timings_ms], span_ids, strict=False):
        ended_ns = min(at_ns + int(timings_ms[stage] * 1e6), answered.ended_ns)
        spans.append(Span(f"deja.{stage}", span_id, trace.span_id, "internal", at_ns, ended_ns, {}))
        at_ns = ended_ns
    if "upstream" in timings_ms and not answered.outcome.is_collapsed:
        told = asked | _usage(answered.used, "gen_ai.usage.") | {"deja.upstream.head_ms": timings_ms["upstream"]}
        spans.append(Span(name, trace.upstream_id, trace.span_id, "client", at_ns, answered.ended_ns, told, error))
    return spans


def _request_attributes(answered: Answered) -> dict[str, Attribute]:
    outcome = answered.outcome
    told: dict[str, Attribute | None] = {
        "http.request.method": "POST",
        "http.route": answered.path,
        "http.response.status_code": answered.status,
        "gen_ai.conversation.id": answered.session,
        "gen_ai.agent.id": answered.agent,
        "deja.request_id": answered.request_id,
        "deja.cache.outcome": outcome.label,
        "deja.cache.reason": outcome.reason,
        "deja.cache.similarity": outcome.similarity,
        "deja.cache.confidence": None if outcome.verdict is None else outcome.verdict.confidence,
        "deja.cache.entry": outcome.entry.entry_id if outcome.entry is not None else outcome.stored_as,
        "deja.cache.not_stored": outcome.not_stored,
        "deja.cache.age_s": None if outcome.hit is None else outcome.age_s,
    }
    known = {name: value for name, value in told.items() if value is not None}
    return known | _usage(answered.saved, "deja.saved.")


def _usage(usage: Usage | None, prefix: str) -> dict[str, Attribute]:
    if usage is None:
        return {}
    return {f"{prefix}input_tokens": usage.input_tokens, f"{prefix}output_tokens": usage.output_tokens}


def usage_told(answer: Any) -> Mapping[str, Any] | None:
    """The `usage` of an answer that is one JSON object; None for anything else."""
    told = answer.get("usage") if isinstance(answer, Mapping) else None
    return told if isinstance(told, Mapping) else None
