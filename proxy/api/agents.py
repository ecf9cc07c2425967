"""/v1/agents: agents' states with versions, heartbeats, history, and transitions as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from proxy.api import errors
from proxy.api.bodies import StrictBody, body_of, json_body
from proxy.api.deps import Deps, Services, Tenant
from proxy.api.direct import DirectRoute
from proxy.api.streaming import events_of, last_event_id
from proxy.core import names, stream_ids
from proxy.core.coordination import agents, versions
from proxy.core.coordination.agents import MAX_TTL_S, Seat, State
from proxy.core.coordination.versions import Conditions, VersionConflictError
from proxy.errors import RequestError
from proxy.ports import StreamEntry
from proxy.services.tails import Gap

router = APIRouter(prefix="/v1/agents", route_class=DirectRoute)

HEARTBEAT_BYTES = 1024
SNAPSHOT = "snapshot"
"""Field of the entry that stands for the state with which a watch begins; no transition has it."""


class Heartbeat(StrictBody):
    """An agent lives, and will say so again within `ttl_s`."""

    ttl_s: float = Field(ge=1, le=MAX_TTL_S)


# Routes with a word at the end come first: agents' names may hold slashes, and none ends in such a word.


@router.get("")
async def list_agents(
    tenant: Tenant,
    deps: Deps,
    status: str | None = None,
    alive: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> Response:
    """The tenant's agents, those that changed last first."""
    if status is not None:
        names.checked(status, "status")
    below = None if cursor is None else Seat.of_cursor(cursor)
    found, following, position = await deps.agents.page(tenant, status=status, alive=alive, below=below, limit=limit)
    return _json(
        {
            "object": "list",
            "data": [agents.summary(state) for state in found],
            "next_cursor": following.cursor if following else None,
            "watch_after": position,
        }
    )


@router.get("/watch")
async def watch_agents(request: Request, tenant: Tenant, deps: Deps, after: str | None = None) -> Response:
    """Transitions of all the tenant's agents, as server-sent events."""
    position = last_event_id(request, after)
    return events_of(deps.agents.watch_all(tenant, after=position), _shown)


@router.get("/{agent_id:path}/watch")
async def watch_agent(
    agent_id: str, request: Request, tenant: Tenant, deps: Deps, after: str | None = None
) -> Response:
    """An agent's state, unless the caller goes on from `after`, then its transitions, as server-sent events."""
    state, position = await deps.agents.watched(tenant, agent_id, after=last_event_id(request, after))
    tail = deps.agents.watch(tenant, agent_id, after=position)
    return events_of(tail if state is None else _led_by(state, position, tail), _shown)


@router.get("/{agent_id:path}/history")
async def read_history(
    agent_id: str,
    tenant: Tenant,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """An agent's transitions after an id, oldest first."""
    position = None if after is None else stream_ids.checked(after, "after")
    found, is_gap = await deps.agents.history(tenant, agent_id, after=position, limit=limit)
    return _json({"object": "list", "data": found, "gap": is_gap, "next_after": found[-1]["id"] if found else after})


@router.post("/{agent_id:path}/heartbeat")
async def beat(agent_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Say that an agent lives."""
    wanted = await body_of(request, Heartbeat, limit_bytes=HEARTBEAT_BYTES)
    version, until = await deps.agents.beat(tenant, agent_id, ttl_s=wanted.ttl_s)
    answer = {"id": agent_id, "object": "agent.heartbeat", "version": version, "alive": True, "alive_until": until}
    return _json(answer, version=version)


@router.get("/{agent_id:path}")
async def read_agent(agent_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """An agent's state; 304 where If-None-Match names its version."""
    wanted = _conditions(request)
    state = await deps.agents.read(tenant, agent_id)
    if wanted.match is not None and not wanted.match.has(state.version):
        return _conflict(VersionConflictError(state.version))
    # A lapsed heartbeat changes what is shown a moment before it changes the version.
    if wanted.none_match is not None and wanted.none_match.has(state.version) and not state.has_lapsed:
        return Response(status_code=304, headers={"etag": versions.etag(state.version)})
    return _json(agents.shown(state), version=state.version)


@router.put("/{agent_id:path}")
async def replace_agent(agent_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Make an agent's state what the body says; 201 where it is new."""
    asked, body = _asked(request), await _body(request, deps.agents.body_bytes)
    try:
        state, change = await deps.agents.replace(tenant, agent_id, body, asked.conditions)
    except VersionConflictError as error:
        return _conflict(error)
    _note(deps, tenant, asked, change, agent_id, state.version, state.fields.get("status"))
    return _json(agents.shown(state), version=state.version, status=201 if change == "created" else 200)


@router.patch("/{agent_id:path}")
async def patch_agent(agent_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Change an agent's state by a JSON merge patch."""
    asked, body = _asked(request), await _body(request, deps.agents.body_bytes)
    try:
        state, change = await deps.agents.patch(tenant, agent_id, body, asked.conditions)
    except VersionConflictError as error:
        return _conflict(error)
    _note(deps, tenant, asked, change, agent_id, state.version, state.fields.get("status"))
    return _json(agents.shown(state), version=state.version)


@router.delete("/{agent_id:path}")
async def delete_agent(agent_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Delete an agent's state; its history stays for a while."""
    asked = _asked(request)
    try:
        version = await deps.agents.delete(tenant, agent_id, asked.conditions)
    except VersionConflictError as error:
        return _conflict(error)
    _note(deps, tenant, asked, "deleted", agent_id, version)
    return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the headers of a write say: what has to hold, in which session it happens, and who writes."""

    conditions: Conditions
    session: str | None
    by: str | None


def _asked(request: Request) -> _Asked:
    def name(header: str) -> str | None:
        value = request.headers.get(header)
        return None if value is None else names.checked(value, header)

    return _Asked(_conditions(request), name("X-Deja-Session"), name("X-Deja-Agent"))


def _note(
    deps: Services, tenant: str, asked: _Asked, change: str, agent_id: str, version: int, status: str | None = None
) -> None:
    """Tell the timeline of the session that the caller named."""
    if change != "same":
        told = {"target": agent_id, "version": str(version)} | ({"status": status} if status else {})
        deps.timeline.note(tenant, asked.session, f"deja.agent.{change}", told, agent=asked.by)


def _conditions(request: Request) -> Conditions:
    def value(name: str) -> str | None:
        lines = request.headers.getlist(name)
        return ", ".join(lines) if lines else None

    return Conditions(versions.if_match(value("if-match")), versions.if_none_match(value("if-none-match")))


async def _body(request: Request, limit_bytes: int) -> Any:
    try:
        return await json_body(request, limit_bytes=limit_bytes)
    except RequestError as error:
        if error.status != 413:
            raise
        message = f"The body is larger than {limit_bytes} bytes: keep large things elsewhere and their address here."
        raise RequestError(message, status=413, code="state_too_large", param="body") from None


def _json(value: Any, *, version: int | None = None, status: int = 200) -> Response:
    headers = {} if version is None else {"etag": versions.etag(version)}
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")


def _conflict(error: VersionConflictError) -> Response:
    headers = {} if error.version is None else {"etag": versions.etag(error.version)}
    return Response(errors.body_of(error), status_code=412, headers=headers, media_type="application/json")


async def _led_by(
    state: State, position: str, tail: AsyncIterator[list[StreamEntry] | Gap]
) -> AsyncIterator[list[StreamEntry] | Gap]:
    """The state as it is, then what follows."""
    yield [StreamEntry(position, {SNAPSHOT: orjson.dumps(agents.shown(state)).decode()})]
    async with aclosing(tail):  # type: ignore[type-var]
        async for entries in tail:
            yield entries


def _shown(entry: StreamEntry) -> tuple[str, Any]:
    if SNAPSHOT in entry.fields:
        return "agent.state", orjson.Fragment(entry.fields[SNAPSHOT])
    event = agents.transition(entry.entry_id, entry.fields)
    return event["type"], event
