"""A memory, and what of the memories is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class MemoryType(StrEnum):
    """What a memory is; the Agent Memory Server's three."""

    SEMANTIC = "semantic"  # a fact that holds until another replaces it
    EPISODIC = "episodic"  # an event, with its time
    MESSAGE = "message"  # something that was said, word for word


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory of one tenant. Times are unix seconds.

    Attributes:
        memory_id: the caller's own or minted; storing it again overwrites.
        text: what is remembered.
        memory_type: what kind of memory it is.
        user, session, namespace: whom and what it belongs to, None for none.
        topics, entities: labels, in any order.
        created_at, updated_at, accessed_at: when it was first stored, changed, and last found.
        event_at: when what it tells happened, None where unknown; episodic memories have one.
        invalid_at: when another fact took its place, None while it holds.
        replaced_by: id of that other one.
        replaces: id of the fact whose place this one takes; of one that holds in the same tenant.
        extracted_from: ids of the messages it was drawn from.
        is_pinned: never forgotten by a policy.
        times_found: how often a search returned it.
    """

    memory_id: str
    text: str
    memory_type: MemoryType
    user: str | None
    session: str | None
    namespace: str | None
    topics: tuple[str, ...]
    entities: tuple[str, ...]
    created_at: float
    updated_at: float
    accessed_at: float
    event_at: float | None = None
    invalid_at: float | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    extracted_from: tuple[str, ...] = ()
    is_pinned: bool = False
    times_found: int = 0

    @property
    def valid_from(self) -> float:
        """Since when it is taken to hold: since what it tells happened, or since it was stored if that was earlier."""
        return self.created_at if self.event_at is None else min(self.created_at, self.event_at)

    def holds_at(self, at: float) -> bool:
        """Whether it held at a time, unix seconds."""
        return self.valid_from <= at and (self.invalid_at is None or self.invalid_at > at)


@dataclass(frozen=True, slots=True)
class Match:
    """A condition on a field that holds one word.

    Attributes:
        one_of: it must be one of these; None for no such condition.
        none_of: it must be none of these.
        starts_with: it must begin so; None for no such condition.
    """

    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] = ()
    starts_with: str | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """A condition on a field that holds several words; upper and lower case are the same.

    Attributes:
        any_of: at least one of these; None for no such condition.
        all_of: every one of these.
        none_of: none of these.
    """

    any_of: tuple[str, ...] | None = None
    all_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Period:
    """A condition on a time, unix seconds; None leaves an end open.

    Attributes:
        since, until: both included.
        after, before: both excluded.
    """

    since: float | None = None
    until: float | None = None
    after: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Exactly whose a memory is; None is nobody's, and not anybody's."""

    user: str | None
    namespace: str | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which memories of a tenant are meant; all conditions hold together."""

    memory_id: Match = field(default_factory=Match)
    memory_type: Match = field(default_factory=Match)
    user: Match = field(default_factory=Match)
    session: Match = field(default_factory=Match)
    namespace: Match = field(default_factory=Match)
    topics: Labels = field(default_factory=Labels)
    entities: Labels = field(default_factory=Labels)
    created: Period = field(default_factory=Period)
    accessed: Period = field(default_factory=Period)
    event: Period = field(default_factory=Period)
    owner: Owner | None = None


class SearchMode(StrEnum):
    """How memories are found."""

    SEMANTIC = "semantic"  # by meaning
    KEYWORD = "keyword"  # by words
    HYBRID = "hybrid"  # by both


@dataclass(frozen=True, slots=True)
class Recency:
    """How much newer memories are preferred; the Agent Memory Server's weights.

    Attributes:
        semantic_weight, recency_weight: of relevance and of recency, which add up to 1.
        freshness_weight, novelty_weight: within recency: of the last use, and of the age.
        half_life_accessed_days, half_life_created_days: after which each counts half.
    """

    semantic_weight: float = 0.8
    recency_weight: float = 0.2
    freshness_weight: float = 0.6
    novelty_weight: float = 0.4
    half_life_accessed_days: float = 7.0
    half_life_created_days: float = 30.0


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        text: the question; empty lists by the conditions alone, newest first.
        mode: how.
        conditions: among which memories.
        limit, offset: of the ranked list.
        max_distance: cosine distance in [0, 2] beyond which nothing is found by meaning, None for any.
        semantic_share: in [0, 1], of meaning against words in a hybrid search.
        recency: how newer ones are preferred, None for not at all.
        as_of: unix seconds at which the facts must have held; None for now.
    """

    text: str
    mode: SearchMode = SearchMode.SEMANTIC
    conditions: Conditions = field(default_factory=Conditions)
    limit: int = 10
    offset: int = 0
    max_distance: float | None = None
    semantic_share: float = 0.7
    recency: Recency | None = None
    as_of: float | None = None


@dataclass(frozen=True, slots=True)
class FoundMemory:
    """A memory that was found.

    Attributes:
        memory: it.
        distance: cosine distance in [0, 2]; for keyword and hybrid searches 1 - score.
        score: what it was ranked by, higher is better.
    """

    memory: Memory
    distance: float
    score: float


@dataclass(frozen=True, slots=True)
class FoundMemories:
    """The ranked list.

    Attributes:
        found: best first.
        total: how many fulfil the conditions in all, as far as known.
        next_offset: where the list goes on, None at its end.
    """

    found: Sequence[FoundMemory]
    total: int
    next_offset: int | None


class Stored(StrEnum):
    """What became of a memory that was to be stored."""

    CREATED = "created"
    UPDATED = "updated"  # its id was there
    MERGED = "merged"  # another one says the same: that one was kept and took what is new
    REPLACED = "replaced"  # it holds from now on; an older fact does not any more


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """The outcome of storing one memory.

    Attributes:
        memory: as it stands now; of the one that was kept, where it was merged.
        what: what became of it.
        other: id of the memory it was merged into or took the place of, None otherwise.
    """

    memory: Memory
    what: Stored
    other: str | None = None
