"""What is recorded of a completion (turns for its session, one event for session and journal), and what a session reads as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.outcome import Outcome

COMPLETION = "deja.completion"


@dataclass(frozen=True, slots=True)
class Record:
    """One completion, ready to be written.

    Attributes:
        at: unix time in seconds.
        tenant: who asked.
        request_id: ours.
        session: session id, None if the request named none.
        agent: agent id, None if the request named none.
        event: field -> value, flat, as it goes into a Redis stream; never holds a prompt.
        turns: (role, message as JSON) in order; empty when the request named no session.
    """

    at: float
    tenant: str
    request_id: str
    session: str | None
    agent: str | None
    event: Mapping[str, str]
    turns: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Session:
    """What is kept of a session.

    Attributes:
        created_at: unix seconds of its first turn.
        last_active_at: unix seconds of its last.
        ttl_s: seconds until it is forgotten, if nothing more is said.
        turns: oldest first.
        events: oldest first.
    """

    created_at: float
    last_active_at: float
    ttl_s: int
    turns: tuple[dict[str, Any], ...]
    events: tuple[dict[str, str], ...]


def record_of(
    *,
    at: float,
    tenant: str,
    request_id: str,
    session: str | None,
    agent: str | None,
    model: str,
    outcome: Outcome,
    status: int,
    duration_ms: float,
    asked: Mapping[str, Any],
    answered: Mapping[str, Any] | None,
) -> Record:
    """Put together what is recorded.

    Args:
        at: unix time in seconds when the answer was complete.
        tenant: who asked.
        request_id: ours.
        session: session id or None.
        agent: agent id or None.
        model: the model asked for.
        outcome: what became of the request.
        status: HTTP status of the answer, 499 when the caller left first.
        duration_ms: from the request's arrival to the answer's last byte.
        asked: the last message of the request.
        answered: the answer's message, None when there was no complete one.
    """
    event = {
        "type": COMPLETION,
        "at": f"{at:.3f}",
        "request_id": request_id,
        "tenant": tenant,
        "session": session or "",
        "agent": agent or "",
        "model": model,
        "outcome": outcome.label,
        "reason": outcome.reason or "",
        "entry_id": (outcome.entry.entry_id if outcome.entry else outcome.stored_as) or "",
        "not_stored": outcome.not_stored or "",
        "similarity": "" if outcome.similarity is None else f"{outcome.similarity:.4f}",
        "status": str(status),
        "duration_ms": f"{duration_ms:.1f}",
    }
    if outcome.would_hit is not None:
        event["would_hit"] = outcome.would_hit.value
    turns: list[tuple[str, bytes]] = []
    if session is not None and answered is not None:
        turns = [
            (str(asked.get("role", "user")), orjson.dumps(asked)),
            ("assistant", orjson.dumps({"role": "assistant", **answered})),
        ]
    return Record(at, tenant, request_id, session, agent, event, tuple(turns))
