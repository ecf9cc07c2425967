"""Asks a provider outside of any caller's request: the same question again, or what a judge is to answer. Whole, never stored.

The call goes out with what the caller sent, headers and credential among them, while that request has just been answered; nothing of it
is kept. No answer is worth repeating for: whatever goes wrong is `NoAnswer`, with a word for the metric.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from proxy.core import storability
from proxy.core.answers import Answer, Malformed
from proxy.core.dialects.base import Dialect
from proxy.core.dialects.chat import CHAT
from proxy.core.ledger import SHARED
from proxy.errors import RequestError, UpstreamError
from proxy.ports import UpstreamRequest, UpstreamRoute
from proxy.services.bookkeeping import Books
from proxy.services.calls import Decision

DEADLINE_S = 120.0
"""For one call: models answer within two minutes, and nobody waits."""

_CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key"})
_JSON = (b"content-type", b"application/json")


class NoAnswer(Exception):  # noqa: N818 - an audit without a verdict, never shown to a caller
    """There is nothing to judge by; the message is one word for the metric."""


class Asker:
    """Calls providers in the background.

    Args:
        answer_bytes: an answer larger than this is not read to its end.
        on_call: told of each call, what it was for ("answer" or "judge") and the usage the provider names.
        books: told what each call cost; None keeps none.
    """

    def __init__(
        self,
        *,
        answer_bytes: int,
        on_call: Callable[[str, Mapping[str, Any]], None],
        books: Books | None = None,
    ) -> None:
        self._answer_bytes = answer_bytes
        self._on_call = on_call
        self._books = books

    def line(self, decision: Decision) -> Line:
        """Open a line to the providers for one audit."""
        return Line(self, decision)

    async def ask(
        self,
        purpose: str,
        route: UpstreamRoute,
        request: UpstreamRequest,
        *,
        dialect: Dialect = CHAT,
        tenant: str = SHARED,
    ) -> str:
        """Send a request and give the answer's text, on a tenant's account; `NoAnswer` where there is none."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await self._answer(dialect, route, request)
        except (UpstreamError, RequestError, TimeoutError) as error:
            self._on_call(purpose, {})
            raise NoAnswer("failed") from error
        except NoAnswer:
            self._on_call(purpose, {})
            raise
        self._on_call(purpose, answer.usage or {})
        if self._books is not None:
            self._books.asked(purpose, tenant, route.tariff, answer.usage or {}, answer.body)
        text = text_of(answer.message)
        if text is None or storability.why_not_stored(answer) is not None:
            raise NoAnswer("unusable")
        return text

    async def _answer(self, dialect: Dialect, route: UpstreamRoute, request: UpstreamRequest) -> Answer:
        response = await route.upstream.send(route.rewrite(request))
        try:
            if response.status != 200:
                raise NoAnswer("failed")
            raw = bytearray()
            async for piece in response.chunks():
                raw += piece
                if len(raw) > self._answer_bytes:
                    raise NoAnswer("unusable")
        finally:
            await response.aclose()
        try:
            return dialect.read_json(bytes(raw))
        except Malformed:
            raise NoAnswer("unusable") from None


class Line:
    """The calls of one audit.

    Attributes:
        made: how many there were.
    """

    def __init__(self, asker: Asker, decision: Decision) -> None:
        self._asker = asker
        self._decision = decision
        self.made = 0

    async def again(self) -> str:
        """Ask what the caller asked, in the caller's own words and name, and give the answer's text.

        Raises:
            NoAnswer: there is none that could be compared.
        """
        call = self._decision.call
        body = _whole(call.dialect, call.body)
        request = UpstreamRequest("POST", call.path, call.query, call.headers, body, model=call.request.model)
        self.made += 1
        return await self._asker.ask("answer", self._decision.route, request, dialect=call.dialect, tenant=call.tenant)

    async def judge(self, route: UpstreamRoute, model: str, messages: list[dict[str, str]]) -> str:
        """Ask a model for a verdict; at another provider than the caller's, without the caller's credential.

        Raises:
            NoAnswer: it gave none.
        """
        is_same = route.upstream == self._decision.route.upstream
        credentials = [pair for pair in self._decision.call.headers if is_same and pair[0] in _CREDENTIALS]
        body = orjson.dumps({"model": model, "messages": messages})
        request = UpstreamRequest("POST", CHAT.path, b"", (_JSON, *credentials), body, model=model)
        self.made += 1
        return await self._asker.ask("judge", route, request, tenant=self._decision.call.tenant)


def text_of(message: Mapping[str, Any] | None) -> str | None:
    """The text of an answer's message; None where there is none, or more than text."""
    if message is None or message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
        return None
    content = message.get("content")
    return content if isinstance(content, str) and content.strip() else None


def stored_text(dialect: Dialect, body: bytes) -> str | None:
    """The text of a stored answer; None where there is none to compare."""
    return text_of(dialect.message_of(orjson.loads(body)))


def _whole(dialect: Dialect, body: bytes) -> bytes:
    """The request as it was sent, unless it asks for a stream: an answer in one piece is easier on both sides."""
    parsed = orjson.loads(body)
    return orjson.dumps(dialect.whole(parsed)) if parsed.get("stream") else body
