"""GET /v1/sessions/{session_id}: what was recorded of a session, for its own tenant alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from proxy.api.deps import Deps, Tenant
from proxy.errors import RequestError

router = APIRouter()


@router.get("/v1/sessions/{session_id:path}")
async def read_session(
    session_id: str, tenant: Tenant, deps: Deps, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, Any]:
    """The session's last turns and events, oldest first; 404 if this tenant has no such session."""
    session = await deps.sessions.read(tenant, session_id, limit=limit)
    if session is None:
        raise RequestError(
            "There is no such session: nothing was recorded under this id with this credential, or its time is over.",
            status=404,
            code="session_not_found",
            param="session_id",
        )
    return {
        "id": session_id,
        "object": "session",
        "created_at": session.created_at,
        "last_active_at": session.last_active_at,
        "ttl_s": session.ttl_s,
        "turns": [
            {
                "id": turn["id"],
                "role": turn["role"],
                "content": turn["message"].get("content"),
                "message": turn["message"],
                "agent": turn["agent"],
                "request_id": turn["request_id"],
                "at": turn["at"],
            }
            for turn in session.turns
        ],
        "events": list(session.events),
    }
