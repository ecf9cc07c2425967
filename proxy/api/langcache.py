"""Redis LangCache's REST shape: `/v1/caches/{cacheId}/…`, for the unmodified SDK. Parses, calls `services.named_caches`, renders.

Errors have LangCache's shape, a problem (RFC 9457) sent as `application/json`: its SDK looks for that type.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from proxy.api import asgi
from proxy.api.bodies import json_body
from proxy.api.cache_headers import response_headers
from proxy.api.deps import Deps, Services, Tenant
from proxy.api.errors import CLIENT_LEFT, status_of
from proxy.core import langcache
from proxy.core.models import NotStored
from proxy.core.named_caches import Match, Search, public_id
from proxy.errors import DejaError, RequestError, StoreError, StoreFullError
from proxy.services import ids

ROUTE = "langcache"
_PROBLEMS = {
    400: ("/errors/invalid-data", "Invalid data"),
    401: ("/errors/authentication-failed", "Authentication failed"),
    403: ("/errors/insufficient-permissions", "Insufficient permissions"),
    404: ("/errors/resource-not-found", "Not found"),
    413: ("/errors/payload-too-large", "Payload too large"),
    424: ("/errors/resource-unavailable", "Redis is unavailable"),
    429: ("/errors/too-many-requests", "Too many requests"),
    500: ("/errors/unexpected-error", "Unexpected error"),
}
_FULL = ("/errors/database-out-of-memory", "Redis is out of memory")


class _ProblemRoute(APIRoute):
    """A route whose errors are LangCache's problems."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except DejaError as error:
                return problem(error)
            except asgi.ClientLeft:
                return Response(status_code=CLIENT_LEFT)  # nobody reads it

        return answer


router = APIRouter(prefix="/v1/caches/{cache_id}", route_class=_ProblemRoute, tags=["langcache"])


@router.post("/entries", status_code=201)
async def put_entry(cache_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Store an entry; 201 with its id."""
    caches = deps.caches
    name, body = langcache.cache_id(cache_id), await _body(request, deps)
    wish = langcache.read_set(body, response_bytes=caches.policy.response_bytes)
    try:
        entry_id = await caches.put(tenant, name, wish.content, ttl_ms=wish.ttl_ms)
    except StoreError as error:
        is_full = isinstance(error, StoreFullError)
        deps.metrics.not_stored.labels(NotStored.STORE_FULL if is_full else NotStored.STORE_UNAVAILABLE).inc()
        raise
    return _json({"entryId": entry_id}, status=201)


@router.post("/entries/search")
async def search_entries(cache_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Find entries that serve a prompt; an empty list when none does, or when the cache cannot be asked."""
    wanted = langcache.read_search(await _body(request, deps))
    data, headers = await _search(tenant, langcache.cache_id(cache_id), wanted, deps)
    return _json({"data": data}, headers=headers)


@router.post("/conversations/search")
async def search_conversation(cache_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """The same for a prompt with turns before it; `actualPrompt` is what to store the answer under."""
    wanted = langcache.read_conversation(await _body(request, deps))
    data, headers = await _search(tenant, langcache.cache_id(cache_id), wanted, deps)
    return _json({"actualPrompt": wanted.prompt, "data": data}, headers=headers)


@router.delete("/entries/{entry_id}", status_code=204)
async def delete_entry(cache_id: str, entry_id: str, tenant: Tenant, deps: Deps) -> Response:
    """Remove one entry; 404 if this tenant's cache has none of this id."""
    name = langcache.cache_id(cache_id)
    if not langcache.is_entry_id(entry_id) or not await deps.caches.delete(tenant, name, entry_id):
        raise RequestError("This cache has no entry of this id, or its time is over.", status=404, param="entryId")
    return Response(status_code=204)


@router.delete("/entries")
async def delete_entries(cache_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Remove the entries that have all the attributes named; how many there were."""
    attributes = langcache.read_delete(await _body(request, deps))
    count = await deps.caches.delete_matching(tenant, langcache.cache_id(cache_id), attributes)
    return _json({"deletedEntriesCount": count})


@router.post("/flush", status_code=204)
async def flush(cache_id: str, tenant: Tenant, deps: Deps) -> Response:
    """Remove every entry of the cache."""
    await deps.caches.flush(tenant, langcache.cache_id(cache_id))
    return Response(status_code=204)


def problem(error: DejaError) -> Response:
    """An error as LangCache's SDK reads it."""
    status = 424 if isinstance(error, StoreError) else status_of(error)
    kind, title = _FULL if isinstance(error, StoreFullError) else _PROBLEMS.get(status, _PROBLEMS[500])
    told: dict[str, Any] = {"type": kind, "title": title, "status": status}
    if status != 500:  # what Deja itself failed on is for its log
        told["detail"] = str(error)
    if isinstance(error, RequestError) and status == 400 and error.param is not None:
        told["fields"] = [{"field": error.param, "rule": error.code, "message": error.message}]
    return _json(told, status=status)


async def _search(
    tenant: str, cache_id: str, wanted: Search, deps: Services
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    began_at = time.monotonic()
    found = await deps.caches.search(tenant, cache_id, wanted)
    outcome, metrics = found.outcome, deps.metrics
    metrics.requests.labels(ROUTE, outcome.label, outcome.reason or "").inc()
    metrics.duration.labels(ROUTE, outcome.label).observe(time.monotonic() - began_at)
    for stage, milliseconds in outcome.timings_ms.items():
        metrics.stage.labels(stage).observe(milliseconds / 1000)
    headers = {name.decode(): value.decode() for name, value in response_headers((), outcome, ids.request_id())}
    return [_shown(match) for match in found.matches], headers


def _shown(match: Match) -> dict[str, Any]:
    return {
        "id": public_id(match.entry.entry_id),
        "prompt": match.content.prompt,
        "response": match.content.response,
        "attributes": dict(match.content.attributes),
        "similarity": match.similarity,
        "searchStrategy": match.strategy.value,
    }


async def _body(request: Request, deps: Services) -> Any:
    """The parsed body, whatever type it claims to be: LangCache's own examples for curl name none."""
    return await json_body(request, limit_bytes=deps.caches.policy.body_bytes)


def _json(value: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")
