"""Traces of answered requests: gives each its place in one, and makes its spans once its answer has left.

Where the settings ask for no traces there is no `Tracing`, and a request costs the look at that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from proxy.core.tracing import Answered, Attribute, Span, Trace, is_in_share, parent_of, spans_of, usage_told
from proxy.core.usage import Usage, from_wire, usage_of
from proxy.services.calls import Decision
from proxy.services.embedding_calls import EmbeddingDecision

Sink = Callable[[Trace, list[Span]], None]
"""Takes finished spans; never waits, and never raises."""


class Tracing:
    """Begins traces and ends them.

    Args:
        sink: where spans go.
        share: of the traces that begin here, those that are sent; one that a caller began is sent if the caller says so.
        has_content: spans hold prompts and answers.

    Attributes:
        sink: as given.
    """

    def __init__(self, sink: Sink, *, share: float = 1.0, has_content: bool = False) -> None:
        self.sink = sink
        self._share = share
        self._has_content = has_content

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """A request's place: below its caller's span where it names one, else at the top of a new trace."""
        told = parent_of(headers)
        if told is None:
            trace_id, parent_id = secrets.token_hex(16), ""
            is_sampled = is_in_share(trace_id, self._share)
        else:
            trace_id, parent_id, is_sampled = told
        return Trace(trace_id, _span_id(), _span_id(), parent_id, is_sampled)

    def completed(
        self, decision: Decision, *, status: int, duration_s: float, answer: bytes | Mapping[str, Any] | None
    ) -> None:
        """A completion was answered, or will not be; `answer` is its body where that is known."""
        call, outcome = decision.call, decision.outcome
        if call.trace is None or not call.trace.is_sampled:
            return
        told = usage_told(answer)
        answered = Answered(
            family=call.dialect.family,
            path=f"/v1{call.path}",
            model=call.request.model,
            request_id=call.request_id,
            outcome=outcome,
            status=status,
            ended_ns=time.time_ns(),
            duration_ns=int(duration_s * 1e9),
            used=None if outcome.hit is not None or told is None else usage_of(told, body=_mapping(answer)),
            saved=None if outcome.entry is None else from_wire(outcome.entry.usage),
            session=call.directives.session,
            agent=call.directives.agent,
            content=_content(call.conversation, answer) if self._has_content else None,
        )
        self.sink(call.trace, spans_of(call.trace, answered, span_ids=_span_ids()))

    def embedded(self, decision: EmbeddingDecision, *, status: int, duration_s: float) -> None:
        """A request for embeddings was answered, or will not be."""
        call = decision.call
        if call.trace is None or not call.trace.is_sampled:
            return
        answered = Answered(
            family="embeddings",
            path=f"/v1{call.path}",
            model=call.model or "",
            request_id=call.request_id,
            outcome=decision.outcome,
            status=status,
            ended_ns=time.time_ns(),
            duration_ns=int(duration_s * 1e9),
            used=None if decision.spent_tokens is None else Usage(decision.spent_tokens),
            saved=Usage(sum(one.tokens for one in decision.served)) if decision.served else None,
            session=call.directives.session,
            agent=call.directives.agent,
        )
        self.sink(call.trace, spans_of(call.trace, answered, span_ids=_span_ids()))


def _span_id() -> str:
    return secrets.token_hex(8)


def _span_ids() -> Iterator[str]:
    while True:
        yield _span_id()


def _mapping(answer: bytes | Mapping[str, Any] | None) -> Mapping[str, Any]:
    return answer if isinstance(answer, Mapping) else {}


def _content(
    conversation: Sequence[Mapping[str, Any]], answer: bytes | Mapping[str, Any] | None
) -> dict[str, Attribute]:
    """The words themselves, as JSON."""
    told: dict[str, Attribute] = {"gen_ai.input.messages": orjson.dumps(list(conversation)).decode()}
    if answer is not None:
        body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        told["gen_ai.output.messages"] = body.decode()
    return told
