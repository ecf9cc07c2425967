"""One request for embeddings on its way through the services: what was asked, where it belongs, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.core.embedding_answers import StoredEmbedding
from proxy.core.embedding_requests import EmbeddingRequest
from proxy.core.models import Directives
from proxy.core.outcome import Outcome
from proxy.core.tracing import Trace
from proxy.ports import Headers, UpstreamRoute


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A parsed request.

    Attributes:
        request_id: ours, `req_…`.
        tenant: who is asking.
        space: stands for the tenant where vectors belong, "" where they are its own.
        request: canonical form, None where it cannot be taken apart.
        directives: what the caller asks of the cache.
        sent: the parsed body as sent; not to be changed.
        path: below the base URL.
        query: raw query string.
        headers: those that may travel upstream.
        body: bytes that travel upstream.
        distinctions: values of headers and query that make answers different.
        began_at: monotonic seconds.
        trace: its place in a trace, None where there are no traces.
    """

    request_id: str
    tenant: str
    request: EmbeddingRequest | None
    directives: Directives
    sent: Mapping[str, Any]
    path: str
    query: bytes
    headers: Headers
    body: bytes
    distinctions: tuple[str, ...]
    began_at: float
    space: str = ""
    trace: Trace | None = None

    @property
    def model(self) -> str | None:
        """The model asked for, where one was named."""
        named = self.sent.get("model")
        return named if isinstance(named, str) else None


@dataclass(slots=True)
class EmbeddingDecision:
    """What is known and decided about a call.

    Attributes:
        call: the call.
        route: where it goes if it goes.
        room: what its vectors belong to, "" where it cannot be taken apart.
        redis_keys: of its inputs, in their order.
        outcome: what became of it.
        found: the stored vectors that serve, each in its input's place.
        spent_tokens: what the provider counted, None where it was not asked or did not say.
        is_store_down: a look-up just failed, so storing is not even tried.
    """

    call: EmbeddingCall
    route: UpstreamRoute
    room: str = ""
    redis_keys: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)
    found: list[StoredEmbedding | None] = field(default_factory=list)
    spent_tokens: int | None = None
    is_store_down: bool = False

    @property
    def missing(self) -> list[int]:
        """Positions of the inputs that the provider is to be asked for."""
        return [position for position, one in enumerate(self.found) if one is None]

    @property
    def served(self) -> list[StoredEmbedding]:
        """The stored vectors that serve."""
        return [one for one in self.found if one is not None]
