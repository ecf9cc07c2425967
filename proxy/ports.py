"""What the services need from the outside, as Protocols; no code.

Stores and upstreams implement these, services call them, `app.py` joins the two. Every method that touches a
network may raise the errors named in its docstring and no others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.base import Embedding
from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.flights import Lease
from proxy.core.keys import FlightKeys, LookUpKeys
from proxy.core.models import About, Candidate, ContextRecord, Entry
from proxy.core.prices import Tariff
from proxy.core.traces import Trace

FloatArray = NDArray[np.float32]

Headers = tuple[tuple[bytes, bytes], ...]
"""Header pairs in wire order, names lower-case; a name may repeat."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One HTTP request to a model provider, ready to send.

    Attributes:
        method: upper-case HTTP method.
        path: what follows the base URL's `/v1`, beginning with a slash: `/chat/completions`.
        query: raw query string without the question mark, b"" if none.
        headers: the caller's headers that may travel (hop-by-hop, Host, Content-Length and `X-Deja-*` already gone).
        body: the request body, or an iterator of it for bodies that are passed through unread.
        model: the `model` field where the body was parsed, else None.
        is_stream: it asks for a stream of events, as far as is known.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    model: str | None = None
    is_stream: bool = False


class UpstreamResponse(Protocol):
    """A provider's answer whose head has arrived; the body follows through `chunks`."""

    @property
    def status(self) -> int:
        """HTTP status, whatever the provider sent."""

    @property
    def headers(self) -> Headers:
        """End-to-end headers as sent; hop-by-hop ones and Content-Length removed."""

    @property
    def served_by(self) -> UpstreamRoute | None:
        """Who answered, where the route that was called has several to ask; None where there was no choice."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, byte for byte, never empty pieces.

        Raises:
            UpstreamTimeoutError: nothing came within the read timeout.
            UpstreamBrokenError: the connection ended before the body did.
        """

    async def aclose(self) -> None:
        """Give the connection back, cancelling what has not arrived. May be called more than once."""


class Upstream(Protocol):
    """A model provider."""

    @property
    def identity(self) -> str:
        """What makes answers of this provider its own: the base URL. Part of the room, never a secret."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request and return once the head of the answer is there.

        Any HTTP status is a normal return. The caller must `aclose` the response.

        Raises:
            UpstreamTimeoutError: no head within the timeouts.
            UpstreamError: refused, unresolvable, TLS failure, connection lost.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class UpstreamRoute(Protocol):
    """Where one request goes."""

    @property
    def upstream(self) -> Upstream:
        """What to call."""

    @property
    def identity(self) -> str:
        """What keeps answers of this route apart in the cache."""

    @property
    def tariff(self) -> Tariff:
        """What is called, as far as prices go."""

    def rewrite(self, request: UpstreamRequest) -> UpstreamRequest:
        """The request under the model name this upstream knows."""


class Upstreams(Protocol):
    """The configured model providers."""

    def resolve(self, model: str | None) -> UpstreamRoute:
        """Find the upstream for a model name.

        Raises:
            RequestError: nothing serves it.
        """


class ResponseStore(Protocol):
    """Where answers lie. Methods raise `StoreError` and its branches only."""

    async def look_up(self, at: LookUpKeys) -> tuple[Entry | None, ContextRecord | None, frozenset[str]]:
        """Read the entry of exactly this request, the meaning of its conversation, and digests of texts that never serve it."""

    async def fetch(self, redis_key: str) -> Entry | None:
        """Read an entry by its key; None if it is gone."""

    async def put(
        self,
        entry: Entry,
        *,
        redis_key: str,
        partition: str,
        vector: bytes | None,
        exact_key: str,
        context_key: str | None,
        condemned_key: str,
        record: ContextRecord,
        about: About,
        stale_s: int = 0,
    ) -> None:
        """Store an entry with its exact key and the context it opens, atomically, until so long past its freshness."""

    async def condemn(
        self, entry_id: str, *, at: str, condemned_key: str, pair: Sequence[tuple[str, str]], keep_s: int
    ) -> bool:
        """Remove an entry called wrong, with all contexts through it; remember a pair as never equal. Whether it was there."""

    async def fetch_and_link(
        self, redis_key: str, context_key: str, record: ContextRecord, *, ttl_s: int
    ) -> Entry | None:
        """`fetch`, and write what a conversation prefix stands for, unless it already stands for something."""


class VectorIndex(Protocol):
    """Nearest stored questions. Methods raise `StoreError` and its branches only."""

    async def nearest(
        self, partition: str, vector: FloatArray, *, k: int, earlier: FloatArray | None = None
    ) -> list[Candidate]:
        """The nearest entries of one partition, nearest first; with `earlier`, the vector of the embedder before, its `k` nearest, too."""


class Embedder(Protocol):
    """Text to vector, off the event loop."""

    @property
    def fingerprint(self) -> str:
        """Names model, weights, dims and metric; part of every entry's key."""

    async def embed(self, text: str, *, whose: str = "") -> Embedding:
        """Embed one text for an owner, usually a tenant; what was embedded for another is not at hand.

        Raises:
            EmbeddingError: it could not be.
        """


class Judge(Protocol):
    """Says whether a stored answer may serve; the one place where a hit by meaning is decided."""

    def level(self, scope: Scope) -> float:
        """The confidence a hit needs at least, in [0, 1], or above 1 for exact hits only; a caller may only ask for more."""

    async def judge(
        self,
        asked: str,
        candidates: Sequence[Candidate],
        *,
        scope: Scope,
        floor: float | None = None,
        is_follow_up: bool = False,
    ) -> Verdict:
        """Choose among candidates. Never raises: what cannot be judged is refused, with a reason.

        Args:
            asked: the text to answer.
            candidates: all from the caller's partition, in any order; may be empty.
            scope: whose error budget counts.
            floor: the caller's own level, None for the server's.
            is_follow_up: they go on from an answer of Deja's, so that candidates are what else was asked at that very point.
        """

    async def merge_confidence(self, stored: str, asked: str, judged: Judged, *, scope: Scope) -> float | None:
        """How sure it is, in (0, 1], that two conversations at these texts may go on as one; None if they may not.

        Stricter than serving.

        Args:
            stored: the question whose answer serves.
            asked: the question it serves.
            judged: what `judge` found about the two.
            scope: whose error budget counts.
        """


class Levels(Protocol):
    """The confidence that a hit needs, for each scope: what keeps the wrong-hit rate under its bound."""

    def level(self, scope: Scope) -> float:
        """For serving, in [0, 1]; above 1 when only exact hits are allowed."""

    def judging_level(self, scope: Scope) -> float:
        """From here on a candidate is judged in full, though it may not be served; not above `level`."""

    def merge_level(self, scope: Scope) -> float:
        """What the less sure of the verifier's two orders has to reach besides, for letting two conversations go on as one."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of a Redis Stream.

    Attributes:
        entry_id: `<milliseconds>-<sequence>`.
        fields: name -> value.
    """

    entry_id: str
    fields: dict[str, str]


class StreamTails(Protocol):
    """Reads of streams that are followed. Methods raise `StoreError` and its branches only."""

    async def page(self, key: str, *, after: str, count: int) -> list[StreamEntry]:
        """The first `count` entries that follow an id."""

    async def last_id(self, key: str) -> str:
        """Id of the newest entry, "0-0" for a stream without any."""

    async def is_trimmed_after(self, key: str, after: str) -> bool:
        """Whether entries after this id may have been trimmed away."""

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Wait until a stream has entries after its id; empty when none came in time, or `interrupt` was called."""

    async def interrupt(self) -> None:
        """End the wait now."""


class FlightStore(Protocol):
    """Leases, followers and words. Methods raise `StoreError` and its branches only."""

    async def claim(self, lease: str, flight: str, *, ttl_ms: int) -> Lease | None:
        """Take the lease if nobody has it; else the one that is held."""

    async def renew(self, calls: Sequence[tuple[FlightKeys, str]], *, ttl_ms: int) -> list[tuple[bool, int]]:
        """Renew leases; for each whether it is still the caller's, and how many follow."""

    async def land(self, lease: str, flight: str, *, linger_ms: int | None) -> None:
        """Give a lease up: at once, or after so long, in which it says that the answer is stored."""

    async def beat(self, at: FlightKeys, follower: str, *, ttl_ms: int) -> Lease | None:
        """Count as a follower; who leads now."""

    async def leave(self, at: FlightKeys, follower: str) -> None:
        """Follow no more."""

    async def followers(self, at: FlightKeys) -> int:
        """How many follow."""

    async def tell(self, inbox: str, fields: Mapping[str, str]) -> None:
        """Write into the inbox of the process that leads."""

    async def say(self, words: str, first: int, said: Sequence[Mapping[str, str | bytes]]) -> None:
        """Append words in order; one that is there already is not said again."""


class Traces(Protocol):
    """What requests left outside of their sessions. Methods raise `StoreError` and its branches only."""

    async def leave(self, trace: Trace, *, tenant: str, user: str | None, until_s: float) -> None:
        """Note what a request is about to leave, until it is gone by itself."""


class Guard(Protocol):
    """Bounds what Redis may cost."""

    def within(self, deadline_s: float) -> AbstractAsyncContextManager[None]:
        """Guard the calls inside the block; raises StoreUnavailableError when they got no answer in time."""


class Keeping(Protocol):
    """Sees to it that what is acknowledged is kept."""

    def keeping(self) -> AbstractAsyncContextManager[None]:
        """Leave the block once what was written inside survives the death of any process; raises RequestError 503, StoreError."""


Period = Literal["day", "month"]
"""A running day or month, in UTC."""


class Spending(Protocol):
    """What tenants have cost."""

    def spent_usd(self, scope: str, period: Period) -> Decimal:
        """What a tenant has spent in the running period as far as this process knows: others' spending a second late.

        Calls without a known price are not in it. Costs no round trip; asking keeps the tenant known. Of one that was never asked for
        only what this process spent just now is known at first.
        """
