"""One completion on its way through the services: what was asked, where it belongs, what was decided."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embeddings.base import Embedding
from proxy.core import routing
from proxy.core.answers import Answer
from proxy.core.context import Context
from proxy.core.dialects.base import Dialect
from proxy.core.keys import Place
from proxy.core.models import ChatRequest, Directives, Entry
from proxy.core.outcome import Outcome
from proxy.core.tracing import Trace
from proxy.ports import Headers, UpstreamRoute


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request.

    Attributes:
        dialect: the model API it was made to.
        request_id: ours, `req_…`.
        tenant: who is asking, as `keys.tenant_of` names it.
        space: stands for the tenant where entries belong, "" where they are its own (`core.access.sharing`).
        sharing: with whom they are shared, "" for nobody.
        request: canonical form.
        directives: what the caller asks of the cache.
        sent: the parsed body as sent, Deja's own fields among it; not to be changed.
        query: raw query string.
        sent_headers: of the request, all of them.
        travelling: chooses from them those that may travel upstream.
        body: bytes that travel upstream; Deja's own fields already gone.
        distinctions: values of headers and query that make answers different (organisation, beta features, api version).
        prompt_chars: length of all messages, for a usage estimate.
        began_at: monotonic seconds.
        user: whose request it is, None if it names nobody.
        places: where requests of the same bytes belong, by tenant or what stands for it, upstream and memories.
        trace: its place in a trace, None where there are no traces.
        answered: told of the provider's answer before the last byte of it leaves, None for nobody.
    """

    dialect: Dialect
    request_id: str
    tenant: str
    request: ChatRequest
    directives: Directives
    sent: Mapping[str, Any]
    query: bytes
    sent_headers: Sequence[tuple[bytes, bytes]]
    travelling: Callable[[Sequence[tuple[bytes, bytes]]], Headers]
    body: bytes
    distinctions: tuple[str, ...]
    prompt_chars: int
    began_at: float
    user: str | None = None
    space: str = ""
    sharing: str = ""
    places: dict[tuple[str, str, str | None], Place] = field(default_factory=dict)
    trace: Trace | None = None
    answered: Callable[[Call, Answer], Awaitable[None]] | None = None

    @property
    def headers(self) -> Headers:
        """Those that may travel upstream."""
        headers = self.travelling(self.sent_headers)
        return headers if self.trace is None else self.trace.carried(headers)

    @property
    def path(self) -> str:
        """Below the base URL, such as `/chat/completions`."""
        return self.dialect.path

    @property
    def conversation(self) -> Sequence[Mapping[str, Any]]:
        """Its messages in chat's shape."""
        return self.dialect.conversation(self.sent)


@dataclass(slots=True)
class Decision:
    """What is known and decided about a call; filled in step by step by `services.completions`.

    Attributes:
        call: the call.
        route: where it goes if it goes.
        place: room, fingerprint and prefix.
        outcome: what became of it.
        context: what its conversation stands for, None until looked up.
        unequal: digests of texts that feedback says are never the same question as its text.
        embedding: of its text, None until computed, or when it must not be matched by meaning.
        exact_only: why it must not be matched by meaning, None if it may or nobody has asked (`settle_exact_only`).
        answer: the provider's answer taken apart, once a stream of it is complete.
        answer_id: what its replay is to be called, "" for any new id.
        at_hand: the entry of exactly this request, fresh or not, that a look-up found and that was not served.
        is_store_down: a look-up just failed, so storing is not even tried.
        is_searched: its text was looked for by meaning.
        read_since: what `FirstLevel.began` said before anything was read.
    """

    call: Call
    route: UpstreamRoute
    place: Place
    outcome: Outcome = field(default_factory=Outcome)
    context: Context | None = None
    unequal: frozenset[str] = frozenset()
    embedding: Embedding | None = None
    exact_only: str | None = None
    answer: Answer | None = None
    answer_id: str = ""
    at_hand: Entry | None = None
    is_store_down: bool = False
    is_searched: bool = False
    read_since: int = 0
    _is_routed: bool = False

    def settle_exact_only(self) -> str | None:
        """Why the text must not be matched by meaning, None if it may; reads the text's intent when first asked.

        Reading costs 0.06 ms for a short question and more for a long one, and an exact hit never needs it.
        """
        if self.exact_only is None and self.text is not None and not self._is_routed:
            self._is_routed = True
            self.exact_only = routing.exact_only(self.text, has_tools=self.call.request.has_tools)
        return self.exact_only

    @property
    def text(self) -> str | None:
        """What is matched by meaning."""
        return self.call.directives.query or self.call.request.question


@dataclass(slots=True)
class Reply:
    """What goes back to the caller, HTTP not yet spoken.

    Attributes:
        status: HTTP status.
        headers: the provider's end-to-end headers, empty on a hit.
        body: whole, or piece by piece; an iterator must be closed with `aclose`.
        is_event_stream: the body is server-sent events.
    """

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    is_event_stream: bool = False
