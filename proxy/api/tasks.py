"""/v1/queues: queues of tasks. Submit, claim, settle, look, watch; what the fields mean stands in docs/guide/tasks.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from proxy.api.asgi import ClientLeft, UntilClientLeaves
from proxy.api.bodies import Body, StrictBody, checked, json_body
from proxy.api.deps import Deps, Services, Tenant
from proxy.api.direct import DirectRoute
from proxy.api.streaming import GAP, last_event_id, stream
from proxy.core import sse, stream_ids
from proxy.core.coordination import task_requests as limits
from proxy.core.coordination.task_requests import ClaimRequest
from proxy.core.coordination.tasks import TaskState
from proxy.errors import RequestError
from proxy.services.tails import Gap
from proxy.services.task_views import Event, TaskFilter

router = APIRouter(prefix="/v1/queues", route_class=DirectRoute)

Limit = Annotated[int, Query(ge=1, le=1000)]
Attempts = Annotated[int, Field(ge=1, le=limits.MAX_ATTEMPTS)]
LeaseS = Annotated[float, Field(ge=1, le=limits.MAX_LEASE_S)]
DelayS = Annotated[float, Field(ge=0, le=limits.MAX_DELAY_S)]
UnixS = Annotated[float, Field(ge=0, le=1e11)]  # the year 5138
Word = Annotated[str, Field(min_length=1, max_length=256)]


class Configuration(StrictBody):
    """What may be said about a queue."""

    durability: Literal["everysec", "fsync"] | None = None
    max_attempts: Attempts | None = None
    lease_s: LeaseS | None = None
    backoff_s: DelayS | None = None
    max_backoff_s: DelayS | None = None
    retention_s: Annotated[float, Field(ge=1, le=10 * limits.MAX_DELAY_S)] | None = None


class NewTask(StrictBody):
    """A task as it is submitted."""

    id: Word | None = None
    payload: Any = None
    priority: Annotated[int, Field(ge=0, le=limits.MAX_PRIORITY)] | None = None
    delay_s: DelayS | None = None
    not_before: UnixS | None = None
    deadline_s: Annotated[float, Field(gt=0, le=limits.MAX_DELAY_S)] | None = None
    deadline_at: UnixS | None = None
    max_attempts: Attempts | None = None
    parent: Annotated[str, Field(min_length=1, max_length=260)] | None = None
    idempotency_key: str | None = None
    session: Word | None = None
    agent: Word | None = None


class NewTasks(StrictBody):
    """Many of them."""

    tasks: Annotated[list[NewTask], Field(min_length=1, max_length=limits.MAX_BATCH)]


class Claim(StrictBody):
    """What a worker asks for."""

    worker: Word
    count: Annotated[int, Field(ge=1, le=limits.MAX_BATCH)] = 1
    wait_s: Annotated[float, Field(ge=0, le=limits.MAX_WAIT_S)] = 0.0
    lease_s: LeaseS | None = None
    recover: bool = False


class Held(StrictBody):
    """Whatever needs a lease."""

    lease: Word


class Renewal(Held):
    """Hold it longer."""

    lease_s: LeaseS | None = None


class Completion(Held):
    """It is done."""

    result: Any = None


class Failure(Held):
    """This attempt failed."""

    error: Any = None
    retry: bool = True
    retry_in_s: DelayS | None = None


class Rejection(Held):
    """Nobody shall do it."""

    reason: Any = None


class Pause(Held):
    """It waits for somebody's word."""

    state: Literal["input-required", "auth-required"] = "input-required"
    message: Any = None


class Input(StrictBody):
    """That word."""

    input: Any = None


class Nothing(StrictBody):
    """No fields."""


class DeadLetter(StrictBody):
    """How much of it."""

    limit: Annotated[int, Field(ge=1, le=limits.MAX_BATCH)] = limits.MAX_BATCH


# ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("")
async def list_queues(tenant: Tenant, deps: Deps, limit: Limit = 100, cursor: str | None = None) -> Response:
    """The tenant's queues by name."""
    found, following = await deps.task_views.queues(tenant, limit=limit, after=cursor)
    return _json({"object": "list", "data": found, "next_cursor": following})


@router.put("/{queue}")
async def configure(queue: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Create a queue or change it; what is not given stays as it is."""
    given = _given(checked(Configuration, await _body(request, deps, is_optional=True)))
    is_new, shown = await deps.tasks.configure(tenant, queue, given)
    return _json(shown, 201 if is_new else 200)


@router.get("/{queue}")
async def read_queue(queue: str, tenant: Tenant, deps: Deps) -> Response:
    """How a queue works and stands."""
    return _json(await deps.task_views.queue(tenant, queue))


@router.get("/{queue}/watch")
async def watch_queue(queue: str, request: Request, tenant: Tenant, deps: Deps, after: str | None = None) -> Response:
    """A queue as it stands, then every change of a task's state, as server-sent events."""
    return stream(_framed(await deps.task_views.watch_queue(tenant, queue, after=last_event_id(request, after))))


@router.get("/{queue}/dead")
async def read_dead(queue: str, tenant: Tenant, deps: Deps, limit: Limit = 100, cursor: str | None = None) -> Response:
    """The dead letter, oldest first."""
    after = None if cursor is None else stream_ids.checked(cursor, "cursor")
    found, following = await deps.task_views.dead(tenant, queue, limit=limit, after=after)
    return _json({"object": "list", "data": found, "next_cursor": following})


@router.post("/{queue}/dead/requeue")
async def requeue_dead(queue: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Take the oldest tasks out of the dead letter."""
    given = checked(DeadLetter, await _body(request, deps, is_optional=True))
    count, left = await deps.tasks.requeue_dead(tenant, queue, limit=given.limit)
    return _json({"object": "requeued", "requeued": count, "left": left})


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/{queue}/tasks")
async def submit(
    queue: str,
    request: Request,
    tenant: Tenant,
    deps: Deps,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Submit one task, or many: all or none. 201 where any is new."""
    body = await _body(request, deps)
    if isinstance(body, dict) and "tasks" in body:
        if idempotency_key is not None:
            raise RequestError(
                "`Idempotency-Key` goes with a single task: give each of many its own `idempotency_key`.",
                param="Idempotency-Key",
            )
        given = [_given(task) for task in checked(NewTasks, body).tasks]
        told = await deps.tasks.submit(tenant, queue, given, is_batch=True)
        created = sum(task["created"] for task in told)
        return _json({"object": "list", "data": told, "created": created}, 201 if created else 200)
    one = _given(checked(NewTask, body))
    if idempotency_key is not None and one.setdefault("idempotency_key", idempotency_key) != idempotency_key:
        raise RequestError("`Idempotency-Key` and `idempotency_key` differ: give one of them.", param="Idempotency-Key")
    (task,) = await deps.tasks.submit(tenant, queue, [one], is_batch=False)
    return _json(task, 201 if task["created"] else 200)


@router.get("/{queue}/tasks")
async def list_tasks(
    queue: str,
    tenant: Tenant,
    deps: Deps,
    state: TaskState | None = None,
    parent: Annotated[str | None, Query(min_length=1)] = None,
    worker: Annotated[str | None, Query(min_length=1)] = None,
    limit: Limit = 100,
    cursor: str | None = None,
) -> Response:
    """Tasks, newest first, without what may be long."""
    wanted = TaskFilter(state, parent, worker)
    found, following = await deps.task_views.tasks(tenant, queue, wanted, limit=limit, cursor=cursor)
    return _json({"object": "list", "data": found, "next_cursor": following})


@router.post("/{queue}/tasks/claim")
async def claim(queue: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """The tasks a worker gets, after a while if need be. A worker that has left gets none, and they go back at once."""
    wanted = checked(Claim, await _body(request, deps))
    asked = ClaimRequest(wanted.worker, wanted.count, wanted.lease_s, wanted.recover)
    claimed: list[dict[str, Any]] = []
    try:
        async with UntilClientLeaves(request.receive, deps.background):
            claimed = await deps.tasks.claim(tenant, queue, asked, wait_s=wanted.wait_s)
        is_left = await request.is_disconnected()
    except ClientLeft:
        is_left = True
    if is_left:
        deps.tasks.give_back(tenant, queue, wanted.worker, claimed)
        raise ClientLeft
    return _json({"object": "list", "data": claimed})


@router.get("/{queue}/tasks/{task_id}")
async def read_task(queue: str, task_id: str, tenant: Tenant, deps: Deps) -> Response:
    """A task."""
    return _json(await deps.task_views.task(tenant, queue, task_id))


@router.get("/{queue}/tasks/{task_id}/watch")
async def watch_task(
    queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps, after: str | None = None
) -> Response:
    """A task as it stands, then every change, until it has ended; 204 where the caller has seen the end."""
    events = await deps.task_views.watch_task(tenant, queue, task_id, after=last_event_id(request, after))
    return Response(status_code=204) if events is None else stream(_framed(events))


@router.post("/{queue}/tasks/{task_id}/renew")
async def renew(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Hold a task longer, counted from now."""
    given = checked(Renewal, await _body(request, deps))
    return _json(await deps.tasks.renew(tenant, queue, task_id, given.lease, lease_s=given.lease_s))


@router.post("/{queue}/tasks/{task_id}/complete")
async def complete(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Complete a task, once."""
    given = checked(Completion, await _body(request, deps))
    return _json(await deps.tasks.complete(tenant, queue, task_id, given.lease, given.result))


@router.post("/{queue}/tasks/{task_id}/fail")
async def fail(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Let an attempt fail: tried again later, or in the dead letter."""
    given = checked(Failure, await _body(request, deps))
    failed = deps.tasks.fail(
        tenant, queue, task_id, given.lease, given.error, retry=given.retry, retry_in_s=given.retry_in_s
    )
    return _json(await failed)


@router.post("/{queue}/tasks/{task_id}/release")
async def release(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Give a task back unharmed."""
    given = checked(Held, await _body(request, deps))
    return _json(await deps.tasks.release(tenant, queue, task_id, given.lease))


@router.post("/{queue}/tasks/{task_id}/reject")
async def reject(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Nobody shall do it."""
    given = checked(Rejection, await _body(request, deps))
    return _json(await deps.tasks.reject(tenant, queue, task_id, given.lease, given.reason))


@router.post("/{queue}/tasks/{task_id}/pause")
async def pause(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Let a task wait for somebody's word."""
    given = checked(Pause, await _body(request, deps))
    return _json(await deps.tasks.pause(tenant, queue, task_id, given.lease, given.state, given.message))


@router.post("/{queue}/tasks/{task_id}/input")
async def give_input(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Give a paused task what it waits for."""
    given = checked(Input, await _body(request, deps))
    return _json(await deps.tasks.input(tenant, queue, task_id, given.input))


@router.post("/{queue}/tasks/{task_id}/cancel")
async def cancel(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Cancel a task that has not ended."""
    checked(Nothing, await _body(request, deps, is_optional=True))
    return _json(await deps.tasks.cancel(tenant, queue, task_id))


@router.post("/{queue}/tasks/{task_id}/requeue")
async def requeue(queue: str, task_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Take a task out of the dead letter."""
    checked(Nothing, await _body(request, deps, is_optional=True))
    return _json(await deps.tasks.requeue(tenant, queue, task_id))


@router.api_route("/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def nothing_here(rest: str, request: Request) -> Response:
    """A mistyped path of a queue is an error here: passed through, a task's payload would go to the model provider."""
    raise RequestError(
        f"{request.method} /v1/queues/{rest} is not a route of Deja; docs/guide/tasks.md lists them.",
        status=404,
        code="not_found",
    )


# ── in common ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _body(request: Request, deps: Services, *, is_optional: bool = False) -> Any:
    if is_optional and request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return {}
    return await json_body(request, limit_bytes=deps.tasks.body_bytes)


def _given(body: Body) -> dict[str, Any]:
    """The fields that were given; null counts as not given."""
    return {name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None}


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


async def _framed(events: AsyncIterator[Event | None] | AsyncIterator[Event | Gap | None]) -> AsyncIterator[bytes]:
    yield sse.COMMENT  # the head leaves with it: the caller knows that it is connected
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            if event is None:
                yield sse.COMMENT
            elif isinstance(event, Gap):
                yield sse.named_event("gap", orjson.dumps(GAP))
            else:
                name, told, event_id = event
                yield sse.named_event(name, orjson.dumps(told), event_id=event_id)
