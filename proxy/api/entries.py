"""/v1/cache/entries: what a tenant has stored, listed, read and removed; for that tenant alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from proxy.api import asgi
from proxy.api.bodies import Body, body_of
from proxy.api.deps import Deps, Tenant
from proxy.core import names
from proxy.core.entries import Cursor, Listed, Wanted, cursor_from_wire
from proxy.errors import RequestError

router = APIRouter(prefix="/v1/cache/entries")

BODY_BYTES = 16_384
IMPORT_BYTES = 16 << 20
"""Of one import; an entry of the largest answer that is stored fits three times, and a client sends a file in parts."""
_MAX_TEXT_CHARS = 1000
_Tier = Literal["exact", "semantic"]


class Conditions(Body):
    """Which entries; all that is given must hold."""

    namespace: str | None = None
    model: str | None = None
    family: str | None = None
    tags: tuple[str, ...] = ()
    text: str | None = None
    tier: _Tier | None = None
    created_before: float | None = None
    prompt_version: str | None = None
    document_version: str | None = None


class Invalidation(Conditions):
    """Entries that are to be removed: counted first, and removed with the token of that count."""

    dry_run: bool
    everything: bool = False
    token: str | None = None


@router.get("")
async def list_entries(
    tenant: Tenant,
    deps: Deps,
    namespace: str | None = None,
    model: str | None = None,
    family: str | None = None,
    tag: Annotated[tuple[str, ...], Query()] = (),
    q: str | None = None,
    tier: _Tier | None = None,
    created_before: float | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The tenant's entries, those that expire last first."""
    wanted = _wanted(
        Conditions(
            namespace=namespace,
            model=model,
            family=family,
            tags=tag,
            text=q,
            tier=tier,
            created_before=created_before,
        )
    )
    found, following = await deps.entries.listing(tenant, wanted, cursor=_cursor(cursor), limit=limit)
    return {
        "object": "list",
        "data": [one.shown() for one in found],
        "next_cursor": following.to_wire() if following else None,
    }


@router.post("/invalidate")
async def invalidate(request: Request, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Count the entries under some conditions; with the token of that count, remove them."""
    asked = await body_of(request, Invalidation, limit_bytes=BODY_BYTES)
    wanted = _wanted(asked)
    if wanted.is_everything and not asked.everything:
        raise RequestError(
            "There is no condition, and so this means every entry; name one, or say `everything: true`.",
            param="everything",
        )
    told: dict[str, Any] = {"object": "cache.invalidation", "dry_run": asked.dry_run}
    if asked.dry_run:
        matched, token = await deps.entries.count(tenant, wanted)
        return {**told, "matched": matched, "token": token}
    if asked.token is None:
        raise RequestError(
            "Nothing is removed before it was counted: send this with `dry_run: true`, and its `token` along with the next.",
            param="token",
        )
    removal = await deps.entries.invalidate(tenant, wanted, token=asked.token)
    return {**told, "removed": removal.removed, "done": removal.is_done}


@router.get("/export")
async def export_entries(
    tenant: Tenant,
    deps: Deps,
    namespace: str | None = None,
    model: str | None = None,
    family: str | None = None,
    tag: Annotated[tuple[str, ...], Query()] = (),
) -> Response:
    """All entries under some conditions, as sealed lines; whole entries, those that expire last first."""
    wanted = _wanted(Conditions(namespace=namespace, model=model, family=family, tags=tag))
    return StreamingResponse(deps.entries.export(tenant, wanted), media_type="application/x-ndjson")


@router.post("/import")
async def import_entries(request: Request, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Put exported entries back, line by line; what is there already stays."""
    raw = await asgi.read_body(request.scope, request.receive, limit_bytes=IMPORT_BYTES)
    restored = await deps.entries.restore(tenant, [line for line in raw.split(b"\n") if line.strip()])
    return {"object": "cache.import", **asdict(restored)}


@router.get("/{entry_id}")
async def read_entry(entry_id: str, tenant: Tenant, deps: Deps) -> Response:
    """One entry with its answer; of a stored vector, what is known of it."""
    one, content = await deps.entries.read(tenant, entry_id)
    return Response(orjson.dumps({**one.shown(), **_content(one, content)}), media_type="application/json")


@router.delete("/{entry_id}", status_code=204)
async def delete_entry(entry_id: str, tenant: Tenant, deps: Deps) -> Response:
    """Remove one entry, with what leads to it and the conversations that lead through it."""
    await deps.entries.delete(tenant, entry_id)
    return Response(status_code=204)


def _content(one: Listed, content: dict[str, bytes]) -> dict[str, Any]:
    if one.is_vector:
        form = content["form"].decode()
        size = len(content["vector"])
        dims = size // (4 if form in ("single", "double") else 8)
        return {"embedding": {"dimensions": dims, "form": form, "bytes": size, "tokens": int(content["tokens"])}}
    return {"answer": orjson.loads(content["body"]), "replays_as": content["wire"].decode()}


def _wanted(given: Conditions) -> Wanted:
    """The conditions, checked; versions are tags that begin with `prompt:` and `doc:`."""
    tags = list(given.tags)
    tags += [f"prompt:{given.prompt_version}"] if given.prompt_version is not None else []
    tags += [f"doc:{given.document_version}"] if given.document_version is not None else []
    for tag in tags:
        names.checked(tag, "tags")
    if given.namespace:
        names.checked(given.namespace, "namespace")
    if given.text is not None and not 0 < len(given.text) <= _MAX_TEXT_CHARS:
        raise RequestError(f"The text searched for has to have 1 to {_MAX_TEXT_CHARS} characters.", param="text")
    return Wanted(
        namespace=given.namespace,
        model=given.model,
        family=given.family,
        tags=tuple(sorted(set(tags))),
        text=given.text,
        is_semantic=None if given.tier is None else given.tier == "semantic",
        created_before=given.created_before,
    )


def _cursor(text: str | None) -> Cursor:
    found = cursor_from_wire(text)
    if found is None:
        raise RequestError(
            "`cursor` is none that this list gave; begin without one.", param="cursor", code="invalid_cursor"
        )
    return found
