"""The values that travel between layers: modes, reasons, requests, entries, outcomes. Frozen, and free of behaviour.

Every "no" of Deja is a `Reason` (or a `GateReason` of `core.gates`); the same word stands in the Cache-Status header, the metric
label, the journal and the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """What a request lets the cache do (`X-Deja-Mode`)."""

    OFF = "off"
    EXACT = "exact"
    SEMANTIC = "semantic"
    READ_ONLY = "read-only"
    WRITE_ONLY = "write-only"
    SHADOW = "shadow"

    @property
    def reads(self) -> bool:
        """Whether the cache is looked at (shadow looks, and never serves)."""
        return self not in (Mode.OFF, Mode.WRITE_ONLY)

    @property
    def writes(self) -> bool:
        """Whether the answer may be stored."""
        return self not in (Mode.OFF, Mode.READ_ONLY)


class MemoryUse(StrEnum):
    """What a request asks of long-term memory."""

    READ = "read"
    WRITE = "write"
    BOTH = "both"

    @property
    def reads(self) -> bool:
        """Whether memories are told to the model."""
        return self is not MemoryUse.WRITE

    @property
    def writes(self) -> bool:
        """Whether memories are drawn from the turn."""
        return self is not MemoryUse.READ


class HitKind(StrEnum):
    """Which tier served."""

    EXACT = "exact"
    SEMANTIC = "semantic"


class Forwarded(StrEnum):
    """RFC 9211 `fwd`: why the request went upstream."""

    MISS = "miss"
    PARTIAL = "partial"
    STALE = "stale"
    REQUEST = "request"
    BYPASS = "bypass"


class Reason(StrEnum):
    """Why a stored answer was not served, apart from the gates' own reasons."""

    # bypass: the cache was not asked, or could not answer
    MODE_OFF = "mode-off"
    NO_STORE = "no-store"
    NOT_CACHEABLE = "not-cacheable"
    REDIS_UNAVAILABLE = "redis-unavailable"
    INDEX_LOADING = "index-loading"
    CACHE_ERROR = "cache-error"
    SHADOW = "shadow"
    # the request said so
    NO_CACHE = "no-cache"
    WRITE_ONLY = "write-only"
    REPEAT = "repeat"
    MAX_AGE = "max-age"
    ONLY_IF_CACHED = "only-if-cached"
    # exact tier only, and nothing there
    EXACT_ONLY = "exact-only"
    MODE_EXACT = "mode-exact"
    NOT_USER_TEXT = "not-user-text"
    MULTIPLE_CHOICES = "multiple-choices"
    TEXT_TOO_LONG = "text-too-long"
    UNKNOWN_TOKENS = "unknown-tokens"
    EMBEDDER_UNAVAILABLE = "embedder-unavailable"
    # semantic tier looked, and said no
    NO_CANDIDATE = "no-candidate"
    BELOW_CONFIDENCE = "below-confidence"
    FEEDBACK = "feedback"
    VERIFIER = "verifier"
    VERIFIER_UNAVAILABLE = "verifier-unavailable"
    BUDGET = "budget"
    NOT_RENDERABLE = "not-renderable"


class NotStored(StrEnum):
    """Why an answer was not stored."""

    REQUEST = "request"
    STATUS = "status"
    MALFORMED = "malformed"
    PARTIAL = "partial"
    FINISH_REASON = "finish-reason"
    REFUSAL = "refusal"
    EMPTY = "empty"
    TOO_LARGE = "too-large"
    ENCODED = "encoded"
    FALLBACK = "fallback"
    STORE_UNAVAILABLE = "store-unavailable"
    STORE_FULL = "store-full"
    CACHE_ERROR = "cache-error"


class WireMode(StrEnum):
    """How an answer travels, and in which ways a stored one can be replayed."""

    BOTH = "both"
    JSON = "json"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Directives:
    """What one request asks of the cache, from headers and body together.

    Attributes:
        mode: see `Mode`.
        namespace: caller's own partitioning, "" if none.
        no_cache: a stored answer may not be served.
        no_store: nothing of this exchange may be stored.
        only_if_cached: answer from the cache or 504.
        max_age_s: a stored answer may be at most this old; None for no bound.
        stale_if_error_s: if the provider fails, one may do that has been stale for so long; None leaves it to the setting.
        ttl_s: seconds the answer stays fresh; None for the configured default.
        tags: labels of the entry, for invalidation.
        session: session id or None.
        agent: agent id or None.
        confidence: the caller's own, stricter floor in [0, 1], or None.
        query: the text matched by meaning in place of the last user turn, or None.
        context: text compared exactly in place of the conversation's prefix, or None.
        memory: what it asks of long-term memory, None for nothing.
    """

    mode: Mode = Mode.SEMANTIC
    namespace: str = ""
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_s: int | None = None
    stale_if_error_s: int | None = None
    ttl_s: int | None = None
    tags: tuple[str, ...] = ()
    session: str | None = None
    agent: str | None = None
    confidence: float | None = None
    query: str | None = None
    context: str | None = None
    memory: MemoryUse | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request in canonical form, of whatever dialect.

    Attributes:
        model: the model asked for.
        keyed: every keyed field but the conversation, as sent.
        instructions: what stands before the conversation (the leading system and developer messages), as sent.
        prefix: the canonical messages between the instructions and the last one.
        last: the last message in canonical form.
        question: the last user turn's text, trimmed and NFC, or None when the last message is no user's plain text.
        is_stream: the caller wants server-sent events.
        include_usage: a stream is to end with a usage chunk.
        choices: `n`.
        has_tools: tools or functions are on offer.
        is_cacheable: its answer depends on what it says alone, not on what the provider looks up or does meanwhile.
        is_shareable: a provider's own answer may go to several callers who ask the same at once.
    """

    model: str
    keyed: dict[str, Any]
    instructions: tuple[dict[str, Any], ...]
    prefix: tuple[dict[str, Any], ...]
    last: dict[str, Any]
    question: str | None
    is_stream: bool
    include_usage: bool
    choices: int
    has_tools: bool
    is_cacheable: bool = True
    is_shareable: bool = True


@dataclass(frozen=True, slots=True)
class ContextRecord:
    """What a conversation prefix stands for: the answer of entry `entry_id`, reached with `confidence` in (0, 1].

    `lineage` names the entries of the turns before, nearest first: when one of them is condemned, this falls with it.
    """

    entry_id: str
    confidence: float
    lineage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer.

    Attributes:
        entry_id: minted per answer, never reused: `ent_…`.
        question: the text it answers; "" for entries that replay on an exact match only.
        body: JSON object of the answer without `id` and `created`, as bytes.
        wire: the ways in which it can be replayed.
        created_at: unix time in seconds.
        ttl_s: seconds it stays fresh.
        answer_hash: of its answer as a canonical message: the next link of a conversation's prefix.
        has_tool_calls: tool-call ids must be minted anew at each replay.
        usage_estimated: the provider sent no usage; ours is a count of our own.
        tags: the caller's labels.
        usage: what its call used, as `core.usage` writes it; b"" where that is not known.
    """

    entry_id: str
    question: str
    body: bytes
    wire: WireMode
    created_at: float
    ttl_s: int
    answer_hash: str = ""
    has_tool_calls: bool = False
    usage_estimated: bool = False
    tags: tuple[str, ...] = ()
    usage: bytes = b""

    def age_s(self, now_s: float) -> int:
        """Whole seconds since it was stored, never negative (clocks of two machines differ)."""
        return max(0, int(now_s - self.created_at))

    def ttl_left_s(self, now_s: float) -> int:
        """Whole seconds it stays fresh; negative once it is stale, as RFC 9211 tells it."""
        return self.ttl_s - self.age_s(now_s)

    def remaining_s(self, now_s: float) -> int:
        """Whole seconds it stays fresh, 0 when stale."""
        return max(0, self.ttl_left_s(now_s))


@dataclass(frozen=True, slots=True)
class About:
    """What an entry is listed under and found by; nothing of it is read on the way to a hit.

    Attributes:
        owner: the tenant whose it is, as `keys.tenant_of` names it.
        namespace: the caller's own partitioning, "" if none.
        model: the model that was asked for.
        family: of the route, such as `chat`.
    """

    owner: str
    namespace: str
    model: str
    family: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A neighbour the vector index offered.

    Attributes:
        redis_key: where the entry lies.
        entry_id: its id.
        question: the text it answers.
        distance: cosine distance in [0, 2], lower is closer.
        created_at: unix time in seconds.
        ttl_s: seconds it stays fresh.
        answer_hash: of its answer, as in `Entry`.
        is_earlier: the distance is of the embedder before, whose entries are on their way to the one in use.
    """

    redis_key: str
    entry_id: str
    question: str
    distance: float
    created_at: float
    ttl_s: int
    answer_hash: str = ""
    is_earlier: bool = False

    @property
    def similarity(self) -> float:
        """Cosine, in [-1, 1]."""
        return 1.0 - self.distance
