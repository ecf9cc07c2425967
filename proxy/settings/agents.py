"""Sections of the settings for what agents share: sessions, journal, state, tasks, events, signals, memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.settings.section import Section


class SessionSettings(Section):
    """What is recorded of a session."""

    ttl_s: int = Field(
        86_400, ge=1, description="Seconds a session is kept after its last use, unless it says otherwise."
    )
    max_turns: int = Field(1000, ge=2, description="Turns kept per session; older ones go first.")
    max_bytes: int = Field(16 << 20, ge=1 << 20, description="Bytes of messages kept per session; older ones go first.")
    max_message_bytes: int = Field(1 << 20, ge=1024, description="Largest message that can be appended by API.")
    max_data_bytes: int = Field(256 << 10, ge=1024, description="Structured data of a session, as JSON, at most.")


class JournalSettings(Section):
    """The recorder behind sessions and journal."""

    queue_records: int = Field(
        10_000, ge=1, description="Records that wait for Redis, at most; more are counted and dropped."
    )
    max_events: int = Field(100_000, ge=100, description="Events kept in the journal; older ones go first.")
    hard_max_events: int = Field(
        500_000,
        ge=100,
        description="Events kept at most, where consumer groups have not acknowledged those above `max_events`.",
    )


class RecordingSettings(Section):
    """The recordings of sessions, that replay and fork read. They hold requests and answers whole, in Redis alone."""

    max_bytes: int = Field(
        8 << 20, ge=0, description="Bytes that one session's recording may take; later requests are not in it. 0: none."
    )
    queue_bytes: int = Field(
        64 << 20,
        ge=1 << 20,
        description="Bytes of requests that wait for Redis, at most; more are counted and dropped.",
    )


class DecisionSettings(Section):
    """The log of decisions that explain, feedback, what-if and `deja tune` read. It holds questions' texts, in Redis alone."""

    ttl_s: int = Field(86_400, ge=1, description="Seconds a decision is kept.")
    max_per_tenant: int = Field(
        10_000, ge=0, description="Decisions kept per tenant and stream, at most; 0 records none."
    )
    queue_records: int = Field(
        10_000, ge=1, description="Decisions that wait for Redis, at most; more are counted and dropped."
    )


class AgentSettings(Section):
    """How much state agents may share."""

    max_agents: int = Field(10_000, ge=1, description="Agents per tenant, at most; one more gets 409.")
    max_fields: int = Field(64, ge=1, le=1000, description="Fields per agent, at most; more get 413.")
    value_bytes: int = Field(65_536, ge=256, description="Largest field of an agent; a larger one gets 413.")
    state_bytes: int = Field(262_144, ge=1024, description="Largest state of an agent, all fields together.")
    history: int = Field(1000, ge=100, description="Transitions kept per agent, about; older ones go first.")
    feed: int = Field(10_000, ge=100, description="Transitions kept of all agents of a tenant, about.")
    history_bytes: int = Field(4 << 20, ge=65_536, description="Memory that each of these two may take, about.")
    deleted_ttl_s: int = Field(604_800, ge=60, description="Seconds the history of a deleted agent is kept.")


class EventSettings(Section):
    """Streams of events that agents append."""

    event_bytes: int = Field(262_144, ge=1024, description="Largest event, all its attributes together.")
    max_events: int = Field(
        100_000, ge=1, description="Events kept per stream, about; older ones go first. A stream may say otherwise."
    )
    max_age_s: int = Field(604_800, ge=1, description="Seconds an event is kept. A stream may say otherwise.")
    max_unread_events: int = Field(
        400_000,
        ge=1,
        description="Events kept where a consumer group lags; past it the oldest go unread. A stream may say otherwise.",
    )
    max_streams: int = Field(10_000, ge=1, description="Streams a tenant may have.")


class SignalSettings(Section):
    """Signals, sent to whoever listens."""

    message_bytes: int = Field(65_536, ge=1024, description="Largest signal.")
    queue_signals: int = Field(
        256, ge=1, description="Signals that wait for a slow subscriber; older ones are left out."
    )
    max_subscribers: int = Field(10_000, ge=1, description="Subscribers of one process.")


class TaskSettings(Section):
    """Queues of tasks: bounds, and how a queue works that does not say otherwise."""

    payload_bytes: int = Field(1 << 20, ge=1024, description="Largest payload, result, input or error, as JSON.")
    max_queues: int = Field(1000, ge=1, description="Queues a tenant may have.")
    max_updates: int = Field(10_000, ge=100, description="Changes of state kept per queue for who watches, about.")
    max_ended: int = Field(100_000, ge=1, description="Ended tasks kept per queue; older ones go first.")
    retention_s: int = Field(604_800, ge=1, description="Seconds an ended task is kept. A queue may say otherwise.")
    max_attempts: int = Field(
        5, ge=1, le=100, description="Claims after which a failing task is dead. A queue may say otherwise."
    )
    lease_s: float = Field(
        60.0, ge=1, le=86_400, description="Seconds a worker may be silent. A queue may say otherwise."
    )
    backoff_s: float = Field(
        1.0,
        ge=0,
        description="Seconds before a second attempt, doubled for each further one. A queue may say otherwise.",
    )
    max_backoff_s: float = Field(300.0, ge=0, description="Most of them. A queue may say otherwise.")


class MemorySettings(Section):
    """Memory that a model has a part in."""

    model: str | None = Field(
        None,
        description="Model that writes summaries and draws memories; unset: nothing is summarised, and what users plainly say of "
        "themselves is remembered word for word.",
    )
    strategy: Literal["discrete", "summary", "preferences", "custom"] = Field(
        "discrete", description="How a model draws memories from what is said through the proxy."
    )
    prompt: str | None = Field(
        None, max_length=10_000, description="What it is to draw, in your words, where that is `custom`."
    )
    write_delay_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="What one session says within so many seconds is drawn from together, after them.",
    )
    write_lease_s: float = Field(
        30.0, ge=1, le=3600, description="Seconds after which another process takes over the drawing of one that died."
    )
    read_limit: int = Field(5, ge=1, le=50, description="Memories told with one request, at most.")
    read_tokens: int = Field(1000, ge=100, le=100_000, description="Tokens they may take together, about.")
    read_max_distance: float = Field(
        0.7, gt=0, le=2, description="Cosine distance beyond which a memory has nothing to do with a question."
    )
    read_deadline_ms: float = Field(
        100.0, gt=0, description="Looking for memories takes no longer; the request goes on without."
    )
