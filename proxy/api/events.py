"""/v1/events: append CloudEvents to a stream, read it, follow it, say how much of it is kept. Consumer groups are in `event_groups`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from proxy.api import bodies, streaming
from proxy.api.bodies import StrictBody
from proxy.api.deps import Deps, Services, Tenant
from proxy.core import names, stream_ids
from proxy.core.coordination import events
from proxy.core.coordination.events import Filters, StreamInfo
from proxy.errors import RequestError
from proxy.ports import StreamEntry
from proxy.services import ids

router = APIRouter()

MAX_PAGE = 1000
MAX_FILTERS = 32
MAX_EVENTS = 1_000_000_000
MAX_AGE_S = 100 * 366 * 86_400
SMALL_BODY_BYTES = 65_536
"""Of the bodies that only say what is wished."""


async def stream_name(stream: str = events.DEFAULT_STREAM) -> str:
    """The stream a request names; RequestError 400 where it cannot be a name."""
    return names.checked(stream, "stream")


Stream = Annotated[str, Depends(stream_name)]


async def filters(
    type: Annotated[list[str], Query(max_length=MAX_FILTERS)] = [],  # noqa: A002, B006  the parameter's name; FastAPI copies it
    agent: Annotated[list[str], Query(max_length=MAX_FILTERS)] = [],  # noqa: B006
    session: Annotated[list[str], Query(max_length=MAX_FILTERS)] = [],  # noqa: B006
) -> Filters:
    """What a reader wants to see; each parameter may repeat."""
    return Filters(tuple(type), tuple(agent), tuple(session))


Wanted = Annotated[Filters, Depends(filters)]


class Trim(StrictBody):
    """What need not be kept; at least one of them."""

    max_events: int | None = Field(None, ge=0, le=MAX_EVENTS)
    max_age_s: float | None = Field(None, ge=0, le=MAX_AGE_S)
    before: str | None = None


class Policy(StrictBody):
    """What a stream keeps; null goes back to the default, what is left out stays."""

    max_events: int | None = Field(None, ge=1, le=MAX_EVENTS)
    max_age_s: int | None = Field(None, ge=1, le=MAX_AGE_S)
    max_unread_events: int | None = Field(None, ge=1, le=MAX_EVENTS)


def json_answer(value: Any, status: int = 200) -> Response:
    """An answer of many events, without FastAPI's walk through each of their values."""
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


@router.post("/v1/events", status_code=201)
async def append(request: Request, stream: Stream, tenant: Tenant, deps: Deps) -> Response:
    """Append one event or a batch, all or none; their places in the stream, in order."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if any(name.startswith("ce-") for name in request.headers):
        raise RequestError(
            "Events are sent in CloudEvents' structured mode: attributes and data in one JSON body, none in ce-* headers. "
            "Nothing was appended.",
            status=415,
            code="unsupported_media_type",
            param="body",
        )
    body = await bodies.json_body(request, limit_bytes=deps.events.body_bytes)
    defaults = events.Defaults(
        agent=_named(request, "X-Deja-Agent"),
        session=_named(request, "X-Deja-Session"),
        mint_id=ids.event_id,
        max_bytes=deps.events.event_bytes,
    )
    batch = events.batch_of(body, kind)
    fields = [events.fields_of(event, f"events[{index}]", defaults) for index, event in enumerate(batch)]
    event_ids = await deps.events.append(tenant, stream, fields)
    _note(deps, tenant, stream, fields, event_ids)
    return json_answer({"object": "events.appended", "stream": stream, "event_ids": event_ids}, 201)


@router.get("/v1/events")
async def read(
    request: Request,
    stream: Stream,
    tenant: Tenant,
    deps: Deps,
    wanted: Wanted,
    after: str | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "asc",
) -> Response:
    """A part of a stream, in the order asked for; or with `Accept: text/event-stream` what is and what comes."""
    if streaming.wants_events(request):
        return await _tail(request, stream, tenant, deps, wanted, after)
    is_ascending = order == "asc"
    after = stream_ids.checked(after, "after") if after else None
    page = await deps.events.read(
        tenant,
        stream,
        after=after,
        before=stream_ids.checked(before, "before") if before else None,
        limit=limit,
        is_ascending=is_ascending,
        filters=wanted,
    )
    on = {"next_after": page.position or after} if is_ascending else {"next_before": page.position or before}
    shown = [events.event_of(entry.entry_id, entry.fields) for entry in page.entries]
    return json_answer({"object": "list", "stream": stream, "data": shown, "has_more": page.is_more} | on)


@router.get("/v1/events/tail")
async def tail(
    request: Request, stream: Stream, tenant: Tenant, deps: Deps, wanted: Wanted, after: str | None = None
) -> Response:
    """Follow a stream by server-sent events, from `Last-Event-ID` or `after` on, else from now on."""
    return await _tail(request, stream, tenant, deps, wanted, after)


@router.post("/v1/events/trim")
async def trim(request: Request, stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Remove what need not be kept; what a consumer group has not acknowledged stays."""
    wish = await bodies.body_of(request, Trim, limit_bytes=SMALL_BODY_BYTES)
    if not wish.model_fields_set:
        raise RequestError("Say what may go: `max_events`, `max_age_s` or `before`. Nothing was removed.", param="body")
    before = stream_ids.checked(wish.before, "before") if wish.before else None
    max_age_s = None if wish.max_age_s is None else math.ceil(wish.max_age_s)
    done = await deps.events.trim_now(tenant, stream, max_events=wish.max_events, max_age_s=max_age_s, before=before)
    return {
        "object": "events.trimmed",
        "stream": stream,
        "removed": done.removed,
        "left": done.left,
        "held_by": done.held_by,
    }


@router.get("/v1/events/streams")
async def list_streams(tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """The caller's streams by name."""
    found = await deps.events.streams(tenant)
    return {"object": "list", "data": [{"object": "events.stream", "stream": name} for name in found]}


@router.get("/v1/events/streams/{stream:path}")
async def read_stream(stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """How long a stream is and what it keeps; 404 if there is none."""
    return _stream(await deps.events.stream(tenant, stream))


@router.put("/v1/events/streams/{stream:path}")
async def configure(request: Request, stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Say what a stream keeps, and trim it so; it need not be there yet."""
    wish = await bodies.body_of(request, Policy, limit_bytes=SMALL_BODY_BYTES)
    wanted = {name: getattr(wish, name) for name in wish.model_fields_set}
    return _stream(await deps.events.configure(tenant, stream, wanted))


@router.delete("/v1/events/streams/{stream:path}", status_code=204)
async def delete_stream(stream: Stream, tenant: Tenant, deps: Deps) -> None:
    """Remove a stream with its events and groups; 404 if there is none."""
    await deps.events.delete(tenant, stream)


async def _tail(
    request: Request, stream: str, tenant: str, deps: Services, wanted: Filters, after: str | None
) -> Response:
    position = streaming.last_event_id(request, after)
    return streaming.events_of(await deps.events.follow(tenant, stream, after=position), partial(_shown, wanted))


def _shown(wanted: Filters, entry: StreamEntry) -> tuple[str, Any] | None:
    return ("event", events.event_of(entry.entry_id, entry.fields)) if wanted.passes(entry.fields) else None


def _note(
    deps: Services, tenant: str, stream: str, appended: Sequence[events.Fields], event_ids: Sequence[str]
) -> None:
    """Tell the timelines of the sessions that events name, each once a batch."""
    of_sessions: dict[str, list[int]] = {}
    for at, event in enumerate(appended):
        if "session" in event:
            of_sessions.setdefault(str(event["session"]), []).append(at)
    for session, places in of_sessions.items():
        types = {str(appended[at].get("type", "")) for at in places}
        told = {
            "stream": stream,
            "events": str(len(places)),
            "first": event_ids[places[0]],
            "last": event_ids[places[-1]],
            "event_type": types.pop() if len(types) == 1 else "",
        }
        agent = appended[places[0]].get("agent")
        deps.timeline.note(tenant, session, "deja.events.append", told, agent=None if agent is None else str(agent))


def _named(request: Request, header: str) -> str | None:
    value = request.headers.get(header)
    return None if value is None else names.checked(value, header)


def _stream(info: StreamInfo) -> dict[str, Any]:
    return {
        "object": "events.stream",
        "stream": info.name,
        "events": info.events,
        "first_event_id": info.first_id,
        "last_event_id": info.last_id,
        "groups": info.groups,
        **asdict(info.retention),
    }
