"""/v1/events/groups: consumers that share the events of a stream, each of which goes to one of them until it is acknowledged."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from proxy.api import bodies
from proxy.api.asgi import UntilClientLeaves
from proxy.api.bodies import StrictBody
from proxy.api.deps import Deps, Tenant
from proxy.api.events import SMALL_BODY_BYTES, Stream, json_answer
from proxy.core import names, stream_ids
from proxy.core.coordination import events
from proxy.core.coordination.events import GroupInfo

router = APIRouter()

MAX_READ = 1000
MAX_WAIT_S = 60.0
"""Below what proxies on the way close a silent connection for, with some luck; a consumer asks again."""
MIN_IDLE_S = 60.0
"""Ten times what handling an event may take before another consumer gets it, too: said for each read."""
MAX_IDLE_S = 30 * 86_400.0
BEGINNING, NOW = "beginning", "now"


def _group_name(group: Annotated[str, Path()]) -> str:
    return names.checked(group, "group")


class Start(StrictBody):
    """Where a group begins."""

    start: str = NOW


class Read(StrictBody):
    """What a consumer asks for."""

    consumer: str
    count: int = Field(10, ge=1, le=MAX_READ)
    wait_s: float = Field(0.0, ge=0, le=MAX_WAIT_S)
    recover: bool = False
    min_idle_s: float = Field(MIN_IDLE_S, ge=0, le=MAX_IDLE_S)


class Acknowledgement(StrictBody):
    """What has been dealt with."""

    event_ids: list[str] = Field(min_length=1, max_length=MAX_READ)


@router.get("/v1/events/groups")
async def list_groups(stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """The consumer groups of a stream, with what they have still to read and to acknowledge."""
    found = await deps.event_groups.groups(tenant, stream)
    return {"object": "list", "stream": stream, "data": [_group(each, stream) for each in found]}


@router.put("/v1/events/groups/{group:path}")
async def create_group(
    request: Request, response: Response, group: str, stream: Stream, tenant: Tenant, deps: Deps
) -> dict[str, Any]:
    """Make a group; one that is there stays where it is. The stream need not be there yet."""
    group = names.checked(group, "group")
    start = (await bodies.body_of(request, Start, limit_bytes=SMALL_BODY_BYTES)).start
    made, is_new = await deps.event_groups.create(tenant, stream, group, start=_start_id(start))
    response.status_code = 201 if is_new else 200
    return _group(made, stream)


@router.get("/v1/events/groups/{group:path}")
async def read_group(group: str, stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """One group and its consumers."""
    return _group(await deps.event_groups.group(tenant, stream, names.checked(group, "group")), stream)


@router.delete("/v1/events/groups/{group:path}", status_code=204)
async def delete_group(group: str, stream: Stream, tenant: Tenant, deps: Deps) -> None:
    """Remove a group with what it has pending."""
    await deps.event_groups.delete(tenant, stream, names.checked(group, "group"))


@router.post("/v1/events/groups/{group:path}/read")
async def read(request: Request, group: str, stream: Stream, tenant: Tenant, deps: Deps) -> Response:
    """Give a consumer its next events: its own where it recovers, then what others left, then new ones."""
    wish = await bodies.body_of(request, Read, limit_bytes=SMALL_BODY_BYTES)
    async with UntilClientLeaves(request.receive, deps.event_groups.background):  # or events were given to nobody
        found = await deps.event_groups.read(
            tenant,
            stream,
            names.checked(group, "group"),
            names.checked(wish.consumer, "consumer"),
            count=wish.count,
            wait_s=wish.wait_s,
            is_recovering=wish.recover,
            min_idle_s=wish.min_idle_s,
        )
    shown = [events.event_of(each.event_id, each.fields) | {"delivery_count": each.deliveries} for each in found.events]
    answer = {"object": "list", "stream": stream, "group": group, "data": shown, "missed_total": found.missed_total}
    return json_answer(answer)


@router.post("/v1/events/groups/{group:path}/ack")
async def acknowledge(request: Request, group: str, stream: Stream, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Say that events have been dealt with; done twice it does no harm."""
    wish = await bodies.body_of(request, Acknowledgement, limit_bytes=SMALL_BODY_BYTES)
    event_ids = [stream_ids.checked(each, "event_ids") for each in wish.event_ids]
    group = names.checked(group, "group")
    count = await deps.event_groups.acknowledge(tenant, stream, group, event_ids)
    return {"object": "events.acknowledged", "stream": stream, "group": group, "acknowledged": count}


def _start_id(start: str) -> str:
    match start:
        case "beginning":
            return stream_ids.BEGINNING
        case "now":
            return "$"
    return stream_ids.checked(start, "start")


def _group(group: GroupInfo, stream: str) -> dict[str, Any]:
    return {
        "object": "events.group",
        "group": group.name,
        "stream": stream,
        "last_event_id": group.position,
        "lag": group.lag,
        "pending": group.pending,
        "missed_total": group.missed_total,
        "consumers": [
            {"consumer": each.name, "pending": each.pending, "idle_s": each.idle_s} for each in group.consumers
        ],
    }
