"""A request whose answer has left, and what audits need around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from proxy.core import keys
from proxy.core.canonical import canonical_chat
from proxy.core.decision import Judged, Verdict
from proxy.core.dialects.chat import CHAT
from proxy.core.models import Directives, Entry, HitKind
from proxy.core.outcome import Outcome
from proxy.errors import UpstreamError
from proxy.ports import Headers, UpstreamRequest
from proxy.services.calls import Call, Decision
from tests.builders import answer_body, assistant, candidate, chat_body, entry, place, user

KEY: Headers = ((b"authorization", b"Bearer sk-of-the-caller"), (b"openai-organization", b"org"))
STORED, FRESH = "Seven minutes.", "About seven minutes."


class Response:
    """A whole answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Headers = ()
        self._body = body
        self.is_closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body[:5]
        yield self._body[5:]

    async def aclose(self) -> None:
        self.is_closed = True


Reply = Callable[[dict[str, Any]], Any]


class Provider:
    """An upstream that says what `reply` makes of the request's body: a text, (status, bytes), or an error to raise."""

    identity = "provider"

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[UpstreamRequest] = []
        self.responses: list[Response] = []

    async def send(self, request: UpstreamRequest) -> Response:
        self.requests.append(request)
        assert isinstance(request.body, bytes)
        said = self.reply(orjson.loads(request.body))
        if isinstance(said, UpstreamError):
            raise said
        status, body = said if isinstance(said, tuple) else (200, orjson.dumps(answer_body(assistant(said))))
        self.responses.append(Response(status, body))
        return self.responses[-1]

    async def aclose(self) -> None:
        """Nothing is open."""


class Route:
    """A route to a provider under the name that was asked for."""

    def __init__(self, upstream: Provider) -> None:
        self.upstream = upstream
        self.identity = upstream.identity

    def rewrite(self, request: UpstreamRequest) -> UpstreamRequest:
        return request


class Upstreams:
    """Everything goes to one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def resolve(self, model: str | None) -> Route:
        assert model
        return Route(self.provider)


class Unguarded:
    """Bounds nothing."""

    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        assert deadline_s > 0
        yield


class Calls:
    """What was told of calls to providers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, purpose: str, usage: Mapping[str, Any]) -> None:
        self.told.append((purpose, dict(usage)))


def stored_entry(text: str = STORED, **fields: Any) -> Entry:
    return entry(body=orjson.dumps({"choices": [{"index": 0, "message": assistant(text)}]}), **fields)


def decision_of(provider: Provider, outcome: Outcome, directives: Directives | None = None, **body: Any) -> Decision:
    """A request as it ended."""
    sent = chat_body(user("How long do I boil an egg?"), **body)
    call = Call(
        dialect=CHAT,
        request_id="req_1",
        tenant="tenant",
        request=canonical_chat(sent),
        directives=directives or Directives(namespace="shop"),
        sent=sent,
        query=b"api-version=1",
        sent_headers=KEY,
        travelling=tuple,
        body=keys.encode(sent),
        distinctions=(),
        prompt_chars=10,
        began_at=0.0,
    )
    return Decision(call, Route(provider), place(sent), outcome)


def semantic_hit(confidence: float = 0.99) -> Outcome:
    verdict = Verdict(0, None, confidence, 0.98, (Judged(0, 0.95, confidence=confidence),))
    return Outcome(hit=HitKind.SEMANTIC, entry=stored_entry(), candidates=(candidate(),), verdict=verdict)
