"""Bodies of the Agent Memory Server, and what they mean. Unknown fields are ignored, as there."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from proxy.api.memory.filters import Filters
from proxy.api.memory.route import Shape, refused
from proxy.api.memory.times import FUTURE_S, Moment
from proxy.core.memory import limits
from proxy.core.memory.records import Memory, MemoryType, Recency, Search, SearchMode
from proxy.core.memory_server.working import KeptMemory, Message, SessionName, WorkingMemory

MAX_TTL_S = 100 * 365 * 86_400
"""A hundred years; Redis counts milliseconds, and would overflow somewhere above."""
STRATEGY = "discrete"
"""What every memory of Deja says of how it was drawn."""

Name = Annotated[str, Field(max_length=limits.MAX_NAME_CHARS), AfterValidator(lambda name: name or None)]
"""A user's, a namespace's or a session's; an empty one is none."""


def session_name(session_id: str, user_id: str | None, namespace: str | None) -> SessionName:
    """Which session is meant.

    Raises:
        RequestError: 422, a name is too long.
    """
    for value, field in ((session_id, "session_id"), (user_id, "user_id"), (namespace, "namespace")):
        if value is not None and len(value) > limits.MAX_NAME_CHARS:
            raise refused(f"`{field}` has more than {limits.MAX_NAME_CHARS} characters.", field, status=422)
    return SessionName(session_id, user_id or None, namespace or None)


class MessageIn(Shape):
    """A message."""

    role: str = Field(min_length=1, max_length=limits.MAX_NAME_CHARS)
    content: str
    id: str | None = None
    created_at: Moment | None = None
    persisted_at: Moment | None = None
    discrete_memory_extracted: Literal["t", "f"] = "f"

    def message(self, *, now: float) -> Message:
        """The message.

        Raises:
            RequestError: 400, it says nothing; 422, it was said in the future.
        """
        message_id = self.id or f"msg_{secrets.token_hex(12)}"
        if not self.content.strip():
            raise refused(f"Message content cannot be empty (message ID: {message_id})", "messages")
        created_at = _seconds(self.created_at, now)
        if created_at > now + FUTURE_S:
            raise refused(
                f"created_at cannot be more than {FUTURE_S:.0f} seconds in the future (message ID: {message_id})",
                "messages",
                status=422,
            )
        return Message(
            message_id=message_id,
            role=self.role,
            content=self.content,
            created_at=created_at,
            persisted_at=None if self.persisted_at is None else _seconds(self.persisted_at, now),
            is_extracted=self.discrete_memory_extracted == "t",
        )


class MemoryIn(Shape):
    """A memory; `replaces` is Deja's own."""

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    session_id: Name | None = None
    user_id: Name | None = None
    namespace: Name | None = None
    last_accessed: Moment | None = None
    created_at: Moment | None = None
    pinned: bool = False
    topics: list[str] | None = None
    entities: list[str] | None = None
    memory_type: MemoryType | None = None
    persisted_at: Moment | None = None
    extracted_from: list[str] | None = None
    event_date: Moment | None = None
    replaces: str | None = None

    def memory(self, *, now: float, default_type: MemoryType) -> Memory:
        """The memory.

        Raises:
            RequestError: 400 or 413 naming the field, it cannot be stored.
        """
        created_at = _seconds(self.created_at, now)
        return limits.checked(
            Memory(
                memory_id=self.id,
                text=self.text,
                memory_type=self.memory_type or default_type,
                user=self.user_id,
                session=self.session_id,
                namespace=self.namespace,
                topics=tuple(self.topics or ()),
                entities=tuple(self.entities or ()),
                created_at=created_at,
                updated_at=now,
                accessed_at=_seconds(self.last_accessed, now),
                event_at=None if self.event_date is None else _seconds(self.event_date, now),
                extracted_from=tuple(self.extracted_from or ()),
                is_pinned=self.pinned,
                replaces=self.replaces,
            )
        )


class StrategyIn(Shape):
    """How memories are to be drawn from messages."""

    strategy: Literal["discrete", "summary", "preferences", "custom"] = "discrete"
    config: dict[str, Any] = Field(default_factory=dict)


class WorkingMemoryIn(Shape):
    """A session's working memory; its id stands in the path."""

    messages: list[MessageIn] = Field(default_factory=list)
    memories: list[MemoryIn] = Field(default_factory=list)
    data: dict[str, Any] | None = None
    context: str | None = None
    user_id: Name | None = None
    tokens: int = Field(0, ge=0, le=2**53)
    namespace: Name | None = None
    long_term_memory_strategy: StrategyIn = Field(default_factory=StrategyIn)
    ttl_seconds: int | None = Field(None, ge=1, le=MAX_TTL_S)
    last_accessed: Moment | None = None
    created_at: Moment | None = None

    def working_memory(self, session_id: str, *, user_id: str | None, now: float) -> WorkingMemory:
        """The working memory.

        Args:
            session_id: from the path.
            user_id: from the query; it goes before the body's, as the client documents.
            now: unix seconds.

        Raises:
            RequestError: what cannot be stored.
        """
        return WorkingMemory(
            name=session_name(session_id, user_id or self.user_id, self.namespace),
            messages=tuple(each.message(now=now) for each in self.messages),
            memories=tuple(
                KeptMemory(
                    each.memory(now=now, default_type=MemoryType.MESSAGE),
                    persisted_at=None if each.persisted_at is None else _seconds(each.persisted_at, now),
                )
                for each in self.memories
            ),
            data=self.data or {},
            context=self.context or None,
            tokens=self.tokens,
            strategy=self.long_term_memory_strategy.strategy,
            strategy_config=self.long_term_memory_strategy.config,
            ttl_s=self.ttl_seconds,
            created_at=None if self.created_at is None else _seconds(self.created_at, now),
            accessed_at=_seconds(self.last_accessed, now),
        )

    @property
    def lacks_times(self) -> bool:
        """Whether a message does not say when it was said."""
        return any(each.created_at is None for each in self.messages)


class CreateMemoriesIn(Shape):
    """Memories to be stored."""

    memories: list[MemoryIn]
    deduplicate: bool = True


class EditMemoryIn(Shape):
    """What is to change of a memory; what is not named, or null, stays."""

    text: str | None = Field(None, min_length=1)
    topics: list[str] | None = None
    entities: list[str] | None = None
    memory_type: MemoryType | None = None
    namespace: Name | None = None
    user_id: Name | None = None
    session_id: Name | None = None
    event_date: Moment | None = None
    pinned: bool | None = None

    def changes(self) -> dict[str, Any]:
        """The fields of `Memory` that change."""
        told: dict[str, Any] = {
            "text": self.text,
            "topics": None if self.topics is None else tuple(self.topics),
            "entities": None if self.entities is None else tuple(self.entities),
            "memory_type": self.memory_type,
            "namespace": self.namespace,
            "user": self.user_id,
            "session": self.session_id,
            "event_at": None if self.event_date is None else _seconds(self.event_date, 0.0),
            "is_pinned": self.pinned,
        }
        return {name: value for name, value in told.items() if value is not None}


class StrategyFilter(Shape):
    """A filter on how memories were drawn: one way only, here."""

    eq: str | None = None
    ne: str | None = None
    any: list[str] | None = None

    @property
    def is_met(self) -> bool:
        """Whether it lets Deja's memories through."""
        return self.eq in (None, STRATEGY) and self.ne != STRATEGY and (self.any is None or STRATEGY in self.any)


Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
HalfLife = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class SearchIn(Filters):
    """A search in long-term memory; `as_of` is Deja's own."""

    text: str | None = None
    search_mode: SearchMode = SearchMode.SEMANTIC
    hybrid_alpha: float = Field(0.7, ge=0, le=1)
    distance_threshold: float | None = Field(None, ge=0, allow_inf_nan=False)
    limit: int = Field(10, ge=1, le=100)
    offset: int = Field(0, ge=0, le=limits.MAX_OFFSET)
    recency_boost: bool | None = None
    recency_semantic_weight: Weight | None = None
    recency_recency_weight: Weight | None = None
    recency_freshness_weight: Weight | None = None
    recency_novelty_weight: Weight | None = None
    recency_half_life_last_access_days: HalfLife | None = None
    recency_half_life_created_days: HalfLife | None = None
    extraction_strategy: StrategyFilter | None = None
    as_of: Moment | None = None

    @field_validator("distance_threshold")
    @classmethod
    def _is_near(cls, value: float | None, _: ValidationInfo) -> float | None:
        return None if value is None else min(value, 2.0)

    @property
    def finds_nothing(self) -> bool:
        """Whether no memory of Deja can fulfil it."""
        return self.extraction_strategy is not None and not self.extraction_strategy.is_met

    def search(self) -> Search:
        """What is looked for.

        Raises:
            RequestError: 400, a distance is asked for where there is none.
        """
        if self.distance_threshold is not None and self.search_mode is not SearchMode.SEMANTIC:
            raise refused("distance_threshold is only supported for semantic search mode", "distance_threshold")
        return Search(
            text=self.text or "",
            mode=self.search_mode,
            conditions=self.conditions(),
            limit=self.limit,
            offset=self.offset,
            max_distance=self.distance_threshold,
            semantic_share=self.hybrid_alpha,
            recency=None if self.recency_boost is False else self._recency(),
            as_of=None if self.as_of is None else _seconds(self.as_of, 0.0),
        )

    def _recency(self) -> Recency:
        told = {
            "semantic_weight": self.recency_semantic_weight,
            "recency_weight": self.recency_recency_weight,
            "freshness_weight": self.recency_freshness_weight,
            "novelty_weight": self.recency_novelty_weight,
            "half_life_accessed_days": self.recency_half_life_last_access_days,
            "half_life_created_days": self.recency_half_life_created_days,
        }
        return Recency(**{name: value for name, value in told.items() if value is not None})


class SessionIn(Shape):
    """Which session goes into a prompt."""

    session_id: str
    namespace: str | None = None
    user_id: str | None = None
    model_name: str | None = None
    context_window_max: int | None = None


class PromptIn(Shape):
    """A question that is to get its memories."""

    query: str
    session: SessionIn | None = None
    long_term_search: SearchIn | bool | None = None


def _seconds(moment: Any, default: float) -> float:
    """A `Moment` holds seconds by the time it is read, whatever its annotation says."""
    return default if moment is None else float(moment)
