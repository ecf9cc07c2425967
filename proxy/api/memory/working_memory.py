"""/v1/working-memory: sessions put, read, listed, removed."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from proxy.api.deps import Deps, Tenant
from proxy.api.memory import rendering
from proxy.api.memory.route import MemoryRoute, body_of, credentials, json
from proxy.api.memory.shapes import WorkingMemoryIn, session_name
from proxy.core.memory import limits
from proxy.core.memory_server.window import window_of
from proxy.errors import RequestError

router = APIRouter(prefix="/v1/working-memory", route_class=MemoryRoute, tags=["memory"])

NO_TIMES = (
    "messages[].created_at will become required in the next major version. Please provide timestamps for all messages."
)
"""What the server's own header says of messages without a time."""

Window = Annotated[int | None, Query(ge=0)]
Word = Annotated[str | None, Query(max_length=limits.MAX_NAME_CHARS)]


@router.get("")
async def list_sessions(
    tenant: Tenant,
    deps: Deps,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    namespace: Word = None,
    user_id: Word = None,
) -> Response:
    """Ids of the tenant's sessions, those that changed last first."""
    total, found = await deps.working_memories.sessions(
        tenant, namespace=namespace or None, user=user_id or None, offset=offset, limit=limit
    )
    return json({"sessions": found, "total": total})


@router.get("/{session_id:path}")
async def get_working_memory(
    session_id: str,
    tenant: Tenant,
    deps: Deps,
    user_id: str | None = None,
    namespace: str | None = None,
    model_name: str | None = None,
    context_window_max: Window = None,
    recent_messages_limit: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """A session; of its messages the newest that fit into the window named."""
    name = session_name(_id(session_id), user_id, namespace)
    shown = await deps.working_memories.show(
        tenant,
        name,
        window_tokens=window_of(model_name, context_window_max),
        newest=recent_messages_limit or None,
    )
    if shown is None:
        raise _not_found(name.session)
    return json(rendering.working_memory(shown, is_new=False), headers=rendering.headers_of(shown))


@router.put("/{session_id:path}")
async def put_working_memory(
    session_id: str,
    request: Request,
    tenant: Tenant,
    deps: Deps,
    user_id: str | None = None,
    model_name: str | None = None,
    context_window_max: Window = None,
) -> Response:
    """Put a session in place of what is there; one that has outgrown its window is summarised first."""
    window_tokens = window_of(model_name, context_window_max)
    told = await body_of(request, WorkingMemoryIn, deps)
    memory = told.working_memory(_id(session_id), user_id=user_id, now=time.time())
    shown = await deps.working_memories.put(
        tenant, memory, window_tokens=window_tokens, credentials=credentials(request, deps)
    )
    headers = rendering.headers_of(shown)
    if told.lacks_times:
        headers["X-Deprecation-Warning"] = NO_TIMES
    return json(rendering.working_memory(shown, is_new=shown.memory.version == 1), headers=headers)


@router.delete("/{session_id:path}")
async def delete_working_memory(
    session_id: str, tenant: Tenant, deps: Deps, user_id: str | None = None, namespace: str | None = None
) -> Response:
    """Remove a session; one that is not there is no error."""
    await deps.working_memories.delete(tenant, session_name(_id(session_id), user_id, namespace))
    return json({"status": "ok"})


def _id(path: str) -> str:
    """The id in the path, without the slash that may follow it."""
    session_id = path.removesuffix("/")
    if not session_id:
        raise _not_found("")
    return session_id


def _not_found(session_id: str) -> RequestError:
    return RequestError(f"Session {session_id} not found", status=404, code="session_not_found", param="session_id")
