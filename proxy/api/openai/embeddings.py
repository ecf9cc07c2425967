"""POST /v1/embeddings: parse, let `services.embeddings_cache` decide and answer, render. Raw ASGI, the hot path."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from proxy.api import asgi
from proxy.api.asgi import ClientLeft, Receive, Scope, Send
from proxy.api.cache_headers import REQUEST_ID, cache_status, response_headers
from proxy.api.errors import CLIENT_LEFT, INTERNAL, body_of, status_of
from proxy.api.identity import Identity
from proxy.api.passthrough import PassThrough
from proxy.api.understanding import Understanding
from proxy.core.embedding_requests import EmbeddingRequest, read_request
from proxy.core.models import Forwarded, Mode, Reason
from proxy.core.outcome import Outcome
from proxy.core.records import Record, record_of
from proxy.core.sessions import user_of
from proxy.errors import DejaError, RequestError, where
from proxy.ports import Headers
from proxy.services import ids
from proxy.services.background import Background
from proxy.services.bookkeeping import Books
from proxy.services.calls import Reply
from proxy.services.embedding_calls import EmbeddingCall, EmbeddingDecision
from proxy.services.embeddings_cache import EmbeddingsCache
from proxy.services.history import History
from proxy.services.policies import Policies
from proxy.services.recorder import Recorder
from proxy.services.tracing import Tracing
from proxy.telemetry import Metrics, log_request
from proxy.upstream.headers import end_to_end

logger = logging.getLogger("deja.embeddings")

ROUTE = "embeddings"
PATH = "/embeddings"
_JSON: Headers = ((b"content-type", b"application/json"),)


class _Reads:
    """How bodies are read. Implements `proxy.api.understanding.Reads`."""

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> EmbeddingRequest | None:
        """None where the inputs cannot be told apart."""
        return read_request(body, key_user=key_user)

    def prompt_chars(self, _: Mapping[str, Any]) -> int:
        """Nobody asks: usage is counted input by input."""
        return 0

    def user_of(self, body: Mapping[str, Any]) -> str | None:
        """As in chat."""
        return user_of(body)


class Embeddings:
    """The ASGI application of the route.

    Args:
        cache: the driver.
        identity: who is asking.
        recorder: told of requests that name a session or a user, so that an erasure of these finds what was under way.
        history: takes how it went, for the dashboard.
        metrics: counts.
        background: where the watch for a caller's leaving runs.
        passthrough: takes requests whose body we cannot read (a compressed one).
        policies: what owners decided for their namespaces.
        default_mode: of requests that name none.
        key_user: whether the `user` field keeps answers apart.
        body_bytes: the largest body.
        now: unix time in seconds.
        tracing: makes traces, None where there are none.

    Attributes:
        active: requests being answered now.
    """

    def __init__(
        self,
        *,
        cache: EmbeddingsCache,
        identity: Identity,
        recorder: Recorder[Record],
        history: History,
        books: Books,
        metrics: Metrics,
        background: Background,
        passthrough: PassThrough,
        policies: Policies,
        default_mode: Mode,
        key_user: bool,
        body_bytes: int,
        now: Callable[[], float],
        tracing: Tracing | None = None,
    ) -> None:
        self.cache = cache
        self._identity = identity
        self._policies = policies
        self._recorder = recorder
        self._history = history
        self._books = books
        self.metrics = metrics
        self.background = background
        self._passthrough = passthrough
        self._understanding = Understanding(_Reads(), default_mode=default_mode, key_user=key_user)
        self._body_bytes = body_bytes
        self._tracing = tracing
        self._now = now
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

    async def parse(self, scope: Scope, receive: Receive, *, request_id: str, began_at: float) -> EmbeddingCall:
        """Read and understand a request.

        Raises:
            RequestError: it cannot be served as sent.
        """
        caller = self._identity.caller(scope)
        raw = await asgi.read_body(scope, receive, limit_bytes=self._body_bytes)
        understood = self._understanding.of(scope, raw, caller.tenant)
        model = str(understood.sent.get("model") or "")
        directives = self._policies.applied(caller.tenant, understood.directives, family=ROUTE, model=model)
        headers = self._identity.for_upstream(end_to_end(scope["headers"]))
        trace = None if self._tracing is None else self._tracing.begin(scope["headers"])
        return EmbeddingCall(
            request_id=request_id,
            tenant=caller.tenant,
            space=self._identity.space(caller, directives.namespace)[0],
            request=understood.request,
            directives=directives,
            sent=understood.sent,
            path=PATH,
            query=scope["query_string"],
            headers=headers if trace is None else trace.carried(headers),
            body=understood.body,
            distinctions=understood.distinctions,
            began_at=began_at,
            trace=trace,
        )

    def finish(self, decision: EmbeddingDecision, *, status: int) -> None:
        """Count and record a request whose answer has left, or will not."""
        call, outcome = decision.call, decision.outcome
        duration_s = time.monotonic() - call.began_at
        self.metrics.requests.labels(ROUTE, outcome.label, outcome.reason or "").inc()
        self.metrics.duration.labels(ROUTE, outcome.label).observe(duration_s)
        self._history.answered(call.tenant, outcome.label, duration_s)
        for stage, milliseconds in outcome.timings_ms.items():
            self.metrics.stage.labels(stage).observe(milliseconds / 1000)
        stored = len(decision.served)
        self.metrics.embedding_inputs.labels("stored").inc(stored)
        self.metrics.embedding_inputs.labels("provider").inc(len(decision.found) - stored)
        if outcome.not_stored is not None:
            self.metrics.not_stored.labels(outcome.not_stored).inc()
        self._books.embedded(decision, status)
        log_request(call.request_id, ROUTE, call.model or "", outcome.label, outcome.reason, status, duration_s)
        if self._tracing is not None:
            self._tracing.embedded(decision, status=status, duration_s=duration_s)
        session, user = call.directives.session, user_of(call.sent)
        if session is not None or user is not None:
            self._recorder.put(self._record(decision, user, status=status, duration_s=duration_s))

    def _record(self, decision: EmbeddingDecision, user: str | None, *, status: int, duration_s: float) -> Record:
        call = decision.call
        return record_of(
            at=self._now(),
            tenant=call.tenant,
            request_id=call.request_id,
            session=call.directives.session,
            agent=call.directives.agent,
            model=call.model or "",
            outcome=decision.outcome,
            status=status,
            duration_ms=duration_s * 1000,
            messages=(),
            answered=None,
            user=user,
        )


class _Exchange:
    """One request and its response."""

    def __init__(self, route: Embeddings, scope: Scope, receive: Receive, send: Send) -> None:
        self._route = route
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = ids.request_id()
        self._decision: EmbeddingDecision | None = None

    async def run(self) -> None:
        try:
            call = await self._route.parse(
                self._scope, self._receive, request_id=self._request_id, began_at=time.monotonic()
            )
            self._decision = decision = await self._route.cache.decide(call)
            reply = await self._reply(decision)
            headers = response_headers(reply.headers, decision.outcome, self._request_id)
            assert isinstance(reply.body, bytes)
            await asgi.send_whole(self._send, reply.status, headers, reply.body)
            self._finish(reply.status)
        except ClientLeft:
            self._finish(CLIENT_LEFT)
        except DejaError as error:
            await self._fail(status_of(error), body_of(error))
        except Exception as error:
            logger.error("request %s failed with %s", self._request_id, where(error))
            await self._fail(500, INTERNAL)

    async def _reply(self, decision: EmbeddingDecision) -> Reply:
        if decision.outcome.hit is not None:
            return await self._route.cache.reply_from_cache(decision)
        if decision.call.directives.only_if_cached:
            decision.outcome.forward(Forwarded.MISS, Reason.ONLY_IF_CACHED)
            raise RequestError(
                "Not all of these inputs are stored, and `only-if-cached` forbids asking the model provider.",
                status=504,
                code="only_if_cached",
                param="Cache-Control",
            )
        async with asgi.UntilClientLeaves(self._receive, self._route.background):
            return await self._route.cache.forward(decision)

    async def _fail(self, status: int, body: bytes) -> None:
        self._finish(status)
        headers: list[tuple[bytes, bytes]] = [*_JSON, (REQUEST_ID, self._request_id.encode())]
        if self._decision is not None:
            headers.append((b"cache-status", cache_status(self._decision.outcome).encode()))
        await asgi.send_whole(self._send, status, tuple(headers), body)

    def _finish(self, status: int) -> None:
        if self._decision is not None:
            self._route.finish(self._decision, status=status)
        else:
            self._route.metrics.requests.labels(ROUTE, Outcome().label, str(status)).inc()
