"""/v1/sessions: short-term memory of agents. Messages, what fits a context window, structured data; for their own tenant alone."""

from __future__ import annotations

import re
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from proxy.api import errors
from proxy.api.bodies import Body, StrictBody, body_of, json_body
from proxy.api.deps import Deps, Tenant
from proxy.core import names, stream_ids
from proxy.core.coordination import versions
from proxy.core.coordination.versions import Conditions, VersionConflictError
from proxy.core.sessions import MAX_TTL_S, MAX_WINDOW_TOKENS, About, checked_user
from proxy.errors import RequestError

router = APIRouter(prefix="/v1/sessions")

SETTINGS_BYTES = 4096
_CURSOR = re.compile(r"(\d{1,16}):(.{1,200})\Z", re.DOTALL)


class NewMessages(Body):
    """Messages to append."""

    messages: list[Any]
    idempotency_key: str | None = None
    user: str | None = None
    agent: str | None = None


class Wishes(StrictBody):
    """What may be said of a session; null takes it away, what is left out stays as it is."""

    user: str | None = None
    ttl_s: int | None = Field(None, ge=1, le=MAX_TTL_S)
    window_tokens: int | None = Field(None, ge=1, le=MAX_WINDOW_TOKENS)


# Routes with a word at the end come first: ids may hold slashes.


@router.get("")
async def list_sessions(
    tenant: Tenant,
    deps: Deps,
    user: str | None = None,
    agent: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The tenant's sessions, the one written to last first; looking does not count as using them."""
    if user is not None:
        checked_user(user, "user")
    if agent is not None:
        names.checked(agent, "agent")
    found, following = await deps.sessions.page(tenant, user=user, agent=agent, limit=limit, after=_position(cursor))
    return {
        "object": "list",
        "data": [_about(about) for about in found],
        "next_cursor": f"{following[0]}:{following[1]}" if following else None,
    }


@router.post("/{session_id:path}/messages")
async def append_messages(
    session_id: str,
    request: Request,
    tenant: Tenant,
    deps: Deps,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Append messages in order, all or none; 200 where they were appended before under the same key, else 201."""
    wanted = await body_of(request, NewMessages, limit_bytes=deps.sessions.bounds.body_bytes)
    key = wanted.idempotency_key or idempotency_key
    if idempotency_key is not None and key != idempotency_key:
        raise RequestError("`Idempotency-Key` and `idempotency_key` differ: give one of them.", param="Idempotency-Key")
    done = await deps.sessions.append(
        tenant, session_id, wanted.messages, key=key, user=wanted.user, agent=wanted.agent
    )
    told = {
        "object": "session.append",
        "session": session_id,
        "ids": done.ids,
        "repeated": done.is_repeated,
        **_budget(done.turns, done.tokens, done.window_tokens),
    }
    return _json(told, status=200 if done.is_repeated else 201)


@router.get("/{session_id:path}/messages")
async def read_messages(
    session_id: str,
    tenant: Tenant,
    deps: Deps,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    after: str | None = None,
    max_tokens: Annotated[int | None, Query(ge=1, le=MAX_WINDOW_TOKENS)] = None,
) -> dict[str, Any]:
    """The session's last messages, those after an id, or the newest that fit a context window; oldest first."""
    if max_tokens is not None:
        if after is not None:
            raise RequestError("`max_tokens` and `after` do not go together: give one of them.", param="after")
        session, fitting = await deps.sessions.window(tenant, session_id, max_tokens=max_tokens)
        turns = fitting.turns
        rest: dict[str, Any] = {"omitted": fitting.omitted, "max_tokens": max_tokens}
    else:
        since = None if after is None else stream_ids.checked(after, "after")
        session = await deps.sessions.read(tenant, session_id, turns=limit, after=since)
        turns = session.turns
        rest = {"last_id": turns[-1]["id"] if turns else since, "has_more": since is not None and len(turns) == limit}
    about = session.about
    return {
        "object": "list",
        "session": session_id,
        "data": list(turns),
        "tokens": sum(turn["tokens"] for turn in turns),
        "in_session": _budget(about.turns, about.tokens, about.window_tokens),
        **rest,
    }


@router.get("/{session_id:path}/data")
async def read_data(session_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """The session's structured data with their version as ETag; {} and no ETag where there are none."""
    wanted = versions.if_none_match(request.headers.get("if-none-match"))
    session = await deps.sessions.read(tenant, session_id, turns=0)
    version = session.about.data_version
    if wanted is not None and wanted.has(version or None):
        return Response(status_code=304, headers={"etag": versions.etag(version)})
    return _data(session_id, version, session.data or b"{}")


@router.put("/{session_id:path}/data")
async def replace_data(session_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Make the structured data what the body says; 412 where If-Match does not hold."""
    body = await json_body(request, limit_bytes=deps.sessions.bounds.body_bytes)
    try:
        version, data = await deps.sessions.replace_data(tenant, session_id, body, _conditions(request))
    except VersionConflictError as conflict:
        return _conflict(conflict)
    return _data(session_id, version, data)


@router.patch("/{session_id:path}/data")
async def merge_data(session_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Merge the body into the structured data as RFC 7396 says; 412 where If-Match does not hold."""
    body = await json_body(request, limit_bytes=deps.sessions.bounds.body_bytes)
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object: a merge patch as RFC 7396 describes it.", param="body")
    try:
        version, data = await deps.sessions.merge_data(tenant, session_id, body, _conditions(request))
    except VersionConflictError as conflict:
        return _conflict(conflict)
    return _data(session_id, version, data)


@router.get("/{session_id:path}")
async def read_session(
    session_id: str, tenant: Tenant, deps: Deps, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, Any]:
    """What is known of the session, its data, its last turns and events, oldest first; 404 if this tenant has no such session."""
    session = await deps.sessions.read(tenant, session_id, turns=limit, events=limit)
    turns = [{**turn, "content": turn["message"].get("content")} for turn in session.turns]
    told = _about(session.about) | {"data": orjson.loads(session.data or b"{}")}
    return {**told, "turns": turns, "events": list(session.events)}


@router.put("/{session_id:path}")
async def set_session(session_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Create a session, or change what is said of it; 201 where it is new."""
    wanted = await body_of(request, Wishes, limit_bytes=SETTINGS_BYTES)
    given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if given.get("user") is not None:
        checked_user(given["user"], "user")
    fields = {name: "" if value is None else str(value) for name, value in given.items()}
    is_new = await deps.sessions.set(tenant, session_id, fields)
    session = await deps.sessions.read(tenant, session_id, turns=0)
    return _json(_about(session.about), status=201 if is_new else 200)


@router.delete("/{session_id:path}")
async def erase_session(session_id: str, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Erase a session everywhere; tells how much of each kind went, and may be repeated."""
    erased = await deps.erasure.erase_session(tenant, names.checked(session_id, "session_id"))
    return {"object": "erasure", "session": session_id, "erased": erased}


def _about(about: About) -> dict[str, Any]:
    return {
        "id": about.session,
        "object": "session",
        "created_at": about.created_at,
        "last_active_at": about.last_active_at,
        "ttl_s": about.ttl_s,
        "user": about.user,
        **_budget(about.turns, about.tokens, about.window_tokens),
        "trimmed": about.trimmed,
        "data_version": about.data_version,
        "parent": about.parent,
    }


def _budget(turns: int, tokens: int, window_tokens: int | None) -> dict[str, Any]:
    return {
        "messages": turns,
        "tokens": tokens,
        "window_tokens": window_tokens,
        "window_used": round(tokens / window_tokens, 4) if window_tokens else None,
    }


def _position(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return "+inf", ""
    found = _CURSOR.match(cursor)
    if found is None:
        raise RequestError(
            "`cursor` cannot be used: give `next_cursor` as Deja sent it.", param="cursor", code="invalid_cursor"
        )
    return found[1], found[2]


def _conditions(request: Request) -> Conditions:
    return Conditions(
        match=versions.if_match(request.headers.get("if-match")),
        none_match=versions.if_none_match(request.headers.get("if-none-match")),
    )


def _data(session_id: str, version: int, data: bytes) -> Response:
    told = {"object": "session.data", "session": session_id, "version": version, "data": orjson.Fragment(data)}
    return _json(told, version=version)


def _conflict(conflict: VersionConflictError) -> Response:
    headers = {} if conflict.version is None else {"etag": versions.etag(conflict.version)}
    return Response(
        errors.body_of(conflict), status_code=conflict.status, media_type="application/json", headers=headers
    )


def _json(value: Any, *, status: int = 200, version: int = 0) -> Response:
    headers = {"etag": versions.etag(version)} if version else {}
    return Response(orjson.dumps(value), status_code=status, media_type="application/json", headers=headers)
