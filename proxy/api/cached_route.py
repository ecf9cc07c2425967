"""A route whose answers are cached: parse, let `services.completions` decide and answer, render. Raw ASGI, the hot path.

One for each dialect (`core.dialects`); what is different about a model API is there, and not here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from prometheus_client import Counter, Histogram

from proxy.api import asgi
from proxy.api.asgi import ClientLeft, Receive, Scope, Send
from proxy.api.cache_headers import REQUEST_ID, cache_status, response_headers
from proxy.api.errors import CLIENT_LEFT, INTERNAL_FAULT, fault_of
from proxy.api.identity import Identity
from proxy.api.passthrough import PassThrough
from proxy.api.understanding import Understanding
from proxy.core.access.callers import Caller
from proxy.core.dialects.base import Dialect, Fault
from proxy.core.models import Forwarded, Mode, Reason
from proxy.core.outcome import Outcome
from proxy.core.records import Record, record_of
from proxy.errors import DejaError, RequestError, where
from proxy.ports import Headers
from proxy.services import ids
from proxy.services.background import Background
from proxy.services.calls import Call, Decision, Reply
from proxy.services.completions import Completions
from proxy.services.decisions import DecisionLog
from proxy.services.error_budget import ErrorBudget
from proxy.services.follow_ups import FollowUps
from proxy.services.history import History
from proxy.services.keeper import Kept
from proxy.services.memory_through_proxy import MemoryWriter
from proxy.services.policies import Policies
from proxy.services.recorder import Recorder
from proxy.services.recordings import Tape
from proxy.services.tracing import Tracing
from proxy.telemetry import Metrics, log_request
from proxy.upstream.headers import end_to_end

logger = logging.getLogger("deja.cached")

_JSON: Headers = ((b"content-type", b"application/json"),)


class CachedRoute:
    """The ASGI application of one dialect's route.

    Args:
        dialect: the model API.
        completions: the driver.
        identity: who is asking.
        recorder: takes what is to be recorded.
        tape: takes the requests of sessions whole.
        memory: takes what is to be remembered.
        decisions: takes what was decided.
        history: takes how it went, for the dashboard.
        error_budget: audits a share of the hits.
        metrics: counts.
        background: where the watch for a caller's leaving runs.
        passthrough: takes requests whose body we cannot read (a compressed one).
        policies: what owners decided for their namespaces.
        default_mode: of requests that name none.
        key_user: whether the `user` field keeps answers apart.
        body_bytes: the largest body.
        now: unix time in seconds.
        follow_ups: keeps what is replayed, and what no provider keeps, for a dialect whose requests go on from an answer by its id;
            None for any other.
        tracing: makes traces, None where there are none.

    Attributes:
        active: requests being answered now.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        completions: Completions,
        identity: Identity,
        recorder: Recorder[Record],
        tape: Tape,
        memory: MemoryWriter,
        decisions: DecisionLog,
        history: History,
        error_budget: ErrorBudget,
        metrics: Metrics,
        background: Background,
        passthrough: PassThrough,
        policies: Policies,
        default_mode: Mode,
        key_user: bool,
        body_bytes: int,
        now: Callable[[], float],
        follow_ups: FollowUps | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.dialect = dialect
        self.completions = completions
        self.decide: Callable[[Call], Awaitable[Decision]] = completions.decide if follow_ups is None else self._keeping
        self._follow_ups = follow_ups
        self._tracing = tracing
        self._identity = identity
        self._policies = policies
        self._recorder = recorder
        self._tape = tape
        self._memory = memory
        self._decisions = decisions
        self._history = history
        self._error_budget = error_budget
        self.metrics = metrics
        self.background = background
        self._passthrough = passthrough
        self._understanding = Understanding(dialect, default_mode=default_mode, key_user=key_user)
        self._body_bytes = body_bytes
        self._now = now
        self._counted: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if asgi.header(scope, b"content-encoding") not in (None, b"identity"):
            await self._passthrough(scope, receive, send)
            return
        self.active += 1
        try:
            await _Exchange(self, scope, receive, send).run()
        finally:
            self.active -= 1

    async def parse(self, scope: Scope, receive: Receive, *, request_id: str, began_at: float) -> Call:
        """Read and understand a request.

        Raises:
            RequestError: it cannot be served as sent.
        """
        caller = self._identity.caller(scope)
        raw = await asgi.read_body(scope, receive, limit_bytes=self._body_bytes)
        return await self._call(scope, raw, caller=caller, request_id=request_id, began_at=began_at)

    async def keep_given(self, scope: Scope, raw: bytes, answer: bytes) -> Kept:
        """Store an answer that a caller brings along, as if the provider had given it to this request now.

        Args:
            scope: whose headers and query, and whose caller, are the request's.
            raw: the request's body.
            answer: the provider's, in one piece.

        Raises:
            RequestError: the request could not be served as sent; 403, its namespace is shared.
        """
        caller, began_at = self._identity.caller(scope), time.monotonic()
        call = await self._call(scope, raw, caller=caller, request_id=ids.request_id(), began_at=began_at)
        if call.sharing:
            raise RequestError(
                "This namespace is shared, and what is served to others comes from the provider alone; store answers in one of your own.",
                status=403,
                code="shared_namespace",
                param="X-Deja-Namespace",
            )
        return await self.completions.keep_given(call, answer)

    async def _call(self, scope: Scope, raw: bytes, *, caller: Caller, request_id: str, began_at: float) -> Call:
        understood = self._understanding.of(scope, raw, caller.tenant)
        directives = self._policies.applied(
            caller.tenant, understood.directives, family=self.dialect.family, model=understood.request.model
        )
        space, sharing = self._identity.space(caller, directives.namespace)
        call = Call(
            dialect=self.dialect,
            request_id=request_id,
            tenant=caller.tenant,
            space=space,
            sharing=sharing,
            request=understood.request,
            directives=directives,
            sent=understood.sent,
            query=scope["query_string"],
            sent_headers=scope["headers"],
            travelling=self._travelling,
            body=understood.body,
            distinctions=understood.distinctions,
            prompt_chars=understood.prompt_chars,
            user=understood.user,
            places=understood.places,
            began_at=began_at,
            trace=None if self._tracing is None else self._tracing.begin(scope["headers"]),
            answered=None if self._follow_ups is None else self._follow_ups.keep_answer,
        )
        if self._follow_ups is None:
            return call
        return await self._follow_ups.resolved(call, key_user=self._understanding.key_user)

    async def _keeping(self, call: Call) -> Decision:
        """Decide, and keep what is about to be replayed."""
        assert self._follow_ups is not None
        decision = await self.completions.decide(call)
        if decision.outcome.hit is not None:
            await self._follow_ups.keep(decision)
        return decision

    def _travelling(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        return self._identity.for_upstream(end_to_end(headers))

    def _count(self, label: str, reason: str, duration_s: float) -> None:
        """Looking a metric's labels up costs more than counting."""
        found = self._counted.get((label, reason))
        if found is None:
            metrics, family = self.metrics, self.dialect.family
            found = metrics.requests.labels(family, label, reason), metrics.duration.labels(family, label)
            self._counted[label, reason] = found
        requests, duration = found
        requests.inc()
        duration.observe(duration_s)

    def finish(
        self,
        decision: Decision,
        *,
        status: int,
        answered: Mapping[str, Any] | None,
        answer: bytes | Mapping[str, Any] | None,
    ) -> None:
        """Count and record a request whose answer has left, or will not; `answered` is the message of the `answer`."""
        call, outcome = decision.call, decision.outcome
        duration_s = time.monotonic() - call.began_at
        self._count(outcome.label, outcome.reason or "", duration_s)
        for stage, milliseconds in outcome.timings_ms.items():
            self.metrics.stage.labels(stage).observe(milliseconds / 1000)
        log_request(
            call.request_id, self.dialect.family, call.request.model, outcome.label, outcome.reason, status, duration_s
        )
        if outcome.not_stored is not None:
            self.metrics.not_stored.labels(outcome.not_stored).inc()
        self._recorder.put(
            record_of(
                at=self._now(),
                tenant=call.tenant,
                request_id=call.request_id,
                session=call.directives.session,
                agent=call.directives.agent,
                model=call.request.model,
                outcome=outcome,
                status=status,
                duration_ms=duration_s * 1000,
                messages=() if call.directives.session is None else call.conversation,
                answered=answered,
                user=call.user,
            )
        )
        self._tape.put(decision, status=status, answer=answer)
        if call.directives.memory is not None and status == 200:
            self._memory.note(decision, answered)
        self._decisions.put(decision)
        self._history.answered(call.tenant, outcome.label, duration_s)
        self._error_budget.consider(decision, answered)
        self.completions.books.finished(decision, status)
        if self._tracing is not None:
            self._tracing.completed(decision, status=status, duration_s=duration_s, answer=answer)


class _Exchange:
    """One request and its response."""

    def __init__(self, route: CachedRoute, scope: Scope, receive: Receive, send: Send) -> None:
        self._route = route
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = ids.request_id()
        self._decision: Decision | None = None
        self._has_head = False

    async def run(self) -> None:
        try:
            call = await self._route.parse(
                self._scope, self._receive, request_id=self._request_id, began_at=time.monotonic()
            )
            self._decision = decision = await self._route.decide(call)
            if decision.outcome.hit is not None:
                await self._answer_from_cache(decision)
            else:
                await self._answer_from_upstream(decision)
        except ClientLeft:
            self._finish(CLIENT_LEFT)
        except DejaError as error:
            await self._fail(fault_of(error))
        except Exception as error:
            logger.error("request %s failed with %s", self._request_id, where(error))
            await self._fail(INTERNAL_FAULT)

    async def _answer_from_cache(self, decision: Decision) -> None:
        reply = self._route.completions.reply_from_cache(decision)
        if reply is None:
            await self._answer_from_upstream(decision)
            return
        await self._send_reply(decision, reply)
        entry = decision.outcome.entry
        wishes = decision.call.directives
        if (wishes.session is not None or wishes.memory is not None) and entry is not None:  # only these keep the words
            self._finish(reply.status, self._route.dialect.message_of(orjson.loads(entry.body)), entry.body)
        else:
            self._finish(reply.status)

    async def _answer_from_upstream(self, decision: Decision) -> None:
        if decision.call.directives.only_if_cached:
            decision.outcome.forward(Forwarded.MISS, Reason.ONLY_IF_CACHED)
            raise RequestError(
                "No stored answer fits this request, and `only-if-cached` forbids asking the model provider.",
                status=504,
                code="only_if_cached",
                param="Cache-Control",
            )
        async with asgi.UntilClientLeaves(self._receive, self._route.background):
            reply, answer = await self._route.completions.forward(decision)
            if reply is not None and reply.is_event_stream:
                await self._send_reply(decision, reply)
        if reply is None:  # the provider failed, and a stored answer stands in for its error
            await self._answer_from_cache(decision)
            return
        if reply.is_event_stream:
            await asgi.send_end(self._send)
            answer = decision.answer
        else:
            await self._send_reply(decision, reply)
        self._finish(reply.status, *((answer.message, answer.body) if answer is not None else ()))

    async def _send_reply(self, decision: Decision, reply: Reply) -> None:
        headers = response_headers(reply.headers, decision.outcome, self._request_id)
        self._has_head = True
        if isinstance(reply.body, bytes):
            await asgi.send_whole(self._send, reply.status, headers, reply.body)
            return
        await asgi.send_head(self._send, reply.status, headers)
        await asgi.send_pieces(self._send, reply.body)
        if decision.outcome.hit is not None:
            await asgi.send_end(self._send)

    async def _fail(self, fault: Fault) -> None:
        self._finish(fault.status)
        if self._has_head:
            return  # the response has begun: the server closes the connection, and the caller sees it cut
        headers = [*_JSON, (REQUEST_ID, self._request_id.encode())]
        if self._decision is not None:
            headers.append((b"cache-status", cache_status(self._decision.outcome).encode()))
        await asgi.send_whole(self._send, fault.status, tuple(headers), self._route.dialect.error_body(fault))

    def _finish(
        self,
        status: int,
        answered: Mapping[str, Any] | None = None,
        answer: bytes | Mapping[str, Any] | None = None,
    ) -> None:
        if self._decision is not None:
            self._route.finish(self._decision, status=status, answered=answered, answer=answer)
        else:
            self._route.metrics.requests.labels(self._route.dialect.family, Outcome().label, str(status)).inc()
