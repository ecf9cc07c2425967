"""What is recorded of a completion (turns for its session, events for session and journal)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core import timeline
from proxy.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Record:
    """One completion, or one note of what else happened, ready to be written.

    Attributes:
        at: unix time in seconds.
        tenant: who asked.
        request_id: ours, "" for a note.
        session: session id, None if the request named none.
        agent: agent id, None if the request named none.
        events: as `core.timeline` makes them, in order; never empty.
        turns: (role, message as JSON) in order; empty when the request named no session.
        user: whose request it was, None if it named nobody.
        began_at: unix time in seconds when the request arrived.
    """

    at: float
    tenant: str
    request_id: str
    session: str | None
    agent: str | None
    events: tuple[timeline.Event, ...]
    turns: tuple[tuple[str, bytes], ...]
    user: str | None = None
    began_at: float = 0.0


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
    messages: Sequence[Mapping[str, Any]],
    answered: Mapping[str, Any] | None,
    user: str | None = None,
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
        messages: of the request, at least one where it named a session; not read otherwise.
        answered: the answer's message, None when there was no complete one.
        user: whose request it was, None if it named nobody.
    """
    event = timeline.head(
        timeline.COMPLETION,
        event_id=f"evt_{request_id.removeprefix('req_')}",
        at=at,
        tenant=tenant,
        session=session,
        agent=agent,
    )
    event |= {
        "request_id": request_id,
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
    began_at = at - duration_ms / 1000
    if session is None:
        return Record(at, tenant, request_id, session, agent, (event,), (), user, began_at)
    results = timeline.tool_results(messages, base=event, at=began_at)
    calls = timeline.tool_calls(answered, base=event)
    turns = _turns(messages[-1], answered) if answered is not None else ()
    return Record(at, tenant, request_id, session, agent, (*results, event, *calls), turns, user, began_at)


def note_of(
    kind: str, fields: Mapping[str, str], *, event_id: str, at: float, tenant: str, session: str, agent: str | None
) -> Record:
    """What else happened in a session; see `timeline.note`."""
    event = timeline.note(kind, fields, event_id=event_id, at=at, tenant=tenant, session=session, agent=agent)
    return Record(at, tenant, "", session, agent, (event,), (), began_at=at)


def _turns(asked: Mapping[str, Any], answered: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    return (
        (str(asked.get("role", "user")), orjson.dumps(asked)),
        ("assistant", orjson.dumps({"role": "assistant", **answered})),
    )
