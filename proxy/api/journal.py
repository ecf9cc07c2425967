"""/v1/sessions/{session_id}/timeline, /recording, /replay and /fork: what happened in a session, once more, and from there on.

Mounted before the routes of `api.sessions`: a session's id may hold a `/`.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field

from proxy.api.bodies import Body, body_of
from proxy.api.deps import Deps, Tenant
from proxy.api.streaming import events_of, last_event_id, wants_events
from proxy.core import names, recording, stream_ids, timeline
from proxy.core.dialects import BY_FAMILY
from proxy.core.recording import Recorded, Recording, Replayed
from proxy.ports import StreamEntry

router = APIRouter()

FORK_BYTES = 4096
MAX_STEPS = 100
"""Of one page: as many long prompts are some ten megabytes."""

After = Annotated[int, Query(ge=0, le=2**53)]
Steps = Annotated[int, Query(ge=1, le=MAX_STEPS)]


class Fork(Body):
    """Where a session forks, and into what."""

    at: int = Field(ge=1, le=2**53)
    name: str | None = Field(None, alias="as")


@router.get("/v1/sessions/{session_id:path}/timeline")
async def read_timeline(
    session_id: str,
    request: Request,
    tenant: Tenant,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Any:
    """The session's events after an id, oldest first; as server-sent events where they are asked for. 404: no such session."""
    since = last_event_id(request, after)
    if wants_events(request):
        return events_of(await deps.timeline.follow(tenant, session_id, after=since or stream_ids.BEGINNING), _event)
    found = await deps.timeline.read(tenant, session_id, after=since or stream_ids.BEGINNING, limit=limit)
    return {
        "object": "session.timeline",
        "session": session_id,
        "events": _once(found),
        "last_id": found[-1].entry_id if found else since,
        "has_more": len(found) == limit,
    }


@router.get("/v1/sessions/{session_id:path}/recording")
async def read_recording(
    session_id: str, tenant: Tenant, deps: Deps, after: After = 0, limit: Steps = 20
) -> dict[str, Any]:
    """The session's requests with their answers, whole, from the step after `after` on. 404: none is recorded."""
    page = await deps.replay.recording(tenant, session_id, after=after, limit=limit)
    steps = [{**_step(step), "request": step.request, "answer": step.answer} for step in page.steps]
    return {"object": "session.recording", **_about(session_id, page), "steps": steps}


@router.get("/v1/sessions/{session_id:path}/replay")
async def replay(
    session_id: str, tenant: Tenant, deps: Deps, after: After = 0, limit: Steps = MAX_STEPS
) -> dict[str, Any]:
    """The session's steps replayed: whether the cache still holds each answer, and whether it is the same. 404: none is recorded."""
    found = await deps.replay.replay(tenant, session_id, after=after, limit=limit)
    steps = [_replayed(step) for step in found.steps]
    return {"object": "session.replay", **_about(session_id, found.recording), "steps": steps}


@router.post("/v1/sessions/{session_id:path}/fork", status_code=201)
async def fork(session_id: str, request: Request, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Begin a session with the first steps of this one. 404: none is recorded; 409: the name is taken."""
    wanted = await body_of(request, Fork, limit_bytes=FORK_BYTES)
    name = None if wanted.name is None else names.checked(wanted.name, "as")
    made = await deps.replay.fork(tenant, session_id, at=wanted.at, name=name)
    return {"object": "session.fork", "id": made, "parent": session_id, "forked_at": wanted.at}


def _event(entry: StreamEntry) -> tuple[str, Any]:
    return entry.fields.get("type", "event"), timeline.shown(entry.entry_id, entry.fields)


def _once(entries: list[StreamEntry]) -> list[dict[str, Any]]:
    """Without events that a batch written again brought twice."""
    seen: set[str] = set()
    kept = []
    for entry in entries:
        event_id = entry.fields.get("event_id", entry.entry_id)
        if event_id not in seen:
            seen.add(event_id)
            kept.append(timeline.shown(entry.entry_id, entry.fields))
    return kept


def _about(session_id: str, page: Recording) -> dict[str, Any]:
    last = page.steps[-1].number if page.steps else None
    return {
        "session": session_id,
        "parent": page.parent,
        "forked_at": page.forked_at or None,
        "total": page.total,
        "bytes": page.bytes,
        "skipped": page.skipped,
        "has_more": last is not None and last < page.total,
    }


def _step(step: Recorded) -> dict[str, Any]:
    told = step.told
    return {
        "step": step.number,
        "request_id": told["request_id"],
        "at": float(told["at"]),
        "path": BY_FAMILY[told.get("family", recording.CHAT)].path,
        "headers": orjson.loads(told.get("headers") or "{}"),
        "agent": told["agent"] or None,
        "model": told["model"],
        "stream": bool(told["stream"]),
        "status": int(told["status"]),
        "outcome": told["outcome"],
        "reason": told["reason"] or None,
        "messages": int(told["messages"]),
        "answer_digest": told["answer_digest"] or None,
    }


def _replayed(one: Replayed) -> dict[str, Any]:
    return {
        **_step(one.step),
        "verdict": one.verdict.value,
        "source": one.source.value,
        "differences": list(one.differences),
        "answer": one.answer,
    }
