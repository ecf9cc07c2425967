"""/admin: keys, who shares the entries of a namespace, the audit log, migrations. The door lets in admin keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from proxy.api.bodies import Body, body_of
from proxy.api.deps import Deps, services
from proxy.core import names, stream_ids
from proxy.core.access.audit_log import Admin
from proxy.core.access.callers import Allowance
from proxy.core.access.scopes import DATA, checked_scopes
from proxy.core.access.sharing import Sharing
from proxy.errors import RequestError
from proxy.services.api_keys import ApiKeys, Wanted

router = APIRouter(prefix="/admin")

BODY_BYTES = 16_384
MAX_GRACE_S = 30 * 86_400
DEFAULT_GRACE_S = 86_400
"""A day: every process that holds the old key gets to be restarted, and nobody forgets that it is still open."""
NAMELESS = "-"
"""Stands in the path for the namespace of requests that name none; no namespace is called so."""
MAX_LIFE_S = 10 * 365 * 86_400
_MAX = 10**15
_Count = Annotated[int | None, Field(ge=1, le=_MAX)]
_Usd = Annotated[Decimal | None, Field(gt=0, le=10**9, max_digits=18, decimal_places=9)]


class Limits(Body):
    """What a key may use; what is left out is unlimited."""

    requests_per_minute: _Count = None
    tokens_per_minute: _Count = None
    tokens_per_day: _Count = None
    tokens_per_month: _Count = None
    usd_per_day: _Usd = None
    usd_per_month: _Usd = None


class NewKey(Body):
    """A key that is to be made."""

    name: str
    tenant: str | None = None
    team: str | None = None
    scopes: tuple[str, ...] | None = None
    limits: Limits = Limits()
    expires_in_s: Annotated[int | None, Field(ge=1, le=MAX_LIFE_S)] = None


class Changes(Body):
    """What may change of a key; what is left out stays, null takes away."""

    name: str | None = None
    team: str | None = None
    scopes: tuple[str, ...] | None = None
    limits: Limits | None = None
    expires_in_s: Annotated[int | None, Field(ge=1, le=MAX_LIFE_S)] = None


class Rotation(Body):
    """How a key is exchanged."""

    grace_s: Annotated[int, Field(ge=0, le=MAX_GRACE_S)] = DEFAULT_GRACE_S


class Decided(Body):
    """What is decided for a namespace."""

    sharing: Sharing


@router.post("/keys")
async def create_key(request: Request, deps: Deps) -> Response:
    """Make a key; the answer is the only place where it is ever told. 201."""
    wanted = await body_of(request, NewKey, limit_bytes=BODY_BYTES)
    key, record = await _keys(deps).create(
        admin(request),
        Wanted(
            name=names.checked(wanted.name, "name"),
            tenant=_name(wanted.tenant, "tenant"),
            team=_name(wanted.team, "team"),
            scopes=DATA if wanted.scopes is None else checked_scopes(wanted.scopes),
            allowance=Allowance(**wanted.limits.model_dump()),
            expires_at=_expiry(wanted.expires_in_s, deps),
        ),
    )
    return _json({**record.shown(), "key": key}, status=201)


@router.get("/keys")
async def list_keys(deps: Deps) -> Response:
    """Every key, the newest first, without what would let one use it."""
    return _json({"object": "list", "data": [record.shown() for record in await _keys(deps).all()]})


@router.get("/keys/{key_id}")
async def read_key(key_id: str, deps: Deps) -> Response:
    """One key."""
    return _json((await _keys(deps).read(key_id)).shown())


@router.patch("/keys/{key_id}")
async def change_key(key_id: str, request: Request, deps: Deps) -> Response:
    """Give a key another name, team, scopes, limits or end; in force everywhere within a second. Its tenant stays."""
    wanted = await body_of(request, Changes, limit_bytes=BODY_BYTES)
    changed = await _keys(deps).change(admin(request), key_id, _changes(wanted, deps))
    return _json(changed.shown())


@router.post("/keys/{key_id}/rotate")
async def rotate_key(key_id: str, request: Request, deps: Deps) -> Response:
    """Put a new key in its place; the old one stays good for `grace_s`. The tenant is the same, and so are its data."""
    wanted = await body_of(request, Rotation, limit_bytes=BODY_BYTES)
    key, record = await _keys(deps).rotate(admin(request), key_id, grace_s=wanted.grace_s)
    return _json({**record.shown(), "key": key})


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(key_id: str, request: Request, deps: Deps) -> Response:
    """Take a key away; no process takes it a second later."""
    await _keys(deps).revoke(admin(request), key_id)
    return Response(status_code=204)


@router.get("/namespaces")
async def list_namespaces(deps: Deps) -> Response:
    """The namespaces for which something is decided."""
    decided = await _keys(deps).sharing()
    return _json({"object": "list", "data": [_namespace(name, level) for name, level in decided.items()]})


@router.put("/namespaces/{namespace:path}")
async def share_namespace(namespace: str, request: Request, deps: Deps) -> Response:
    """Decide whose stored answers a namespace holds: each key's its own, a team's, or everyone's."""
    wanted = await body_of(request, Decided, limit_bytes=BODY_BYTES)
    name = "" if namespace == NAMELESS else names.checked(namespace, "namespace")
    await _keys(deps).share(admin(request), name, wanted.sharing)
    return _json(_namespace(name, wanted.sharing))


@router.get("/migration")
async def read_migration(deps: Deps) -> Response:
    """How far entries are embedded anew since the embedder was changed."""
    return _json(await deps.migration())


@router.get("/audit")
async def read_audit(
    deps: Deps, limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: str | None = None
) -> Response:
    """What admins did, the newest first: lines before an id."""
    since = None if before is None else stream_ids.checked(before, "before")
    lines = await _keys(deps).audit(before=since, limit=limit)
    return _json({"object": "list", "data": lines, "next": lines[-1]["id"] if len(lines) == limit else None})


def admin(request: Request) -> Admin:
    """Who administers, for the audit log; RequestError where no door has let this request in."""
    caller = services(request).identity.caller(request.scope)
    client = request.scope.get("client")
    return Admin(caller.key_id or "", client[0] if client else "")


def _keys(deps: Deps) -> ApiKeys:
    return deps.api_keys


def _changes(wanted: Changes, deps: Deps) -> dict[str, Any]:
    """Fields of a key's record with their new values."""
    given: Mapping[str, Any] = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if not given:
        raise RequestError("There is nothing to change: give `name`, `team`, `scopes`, `limits` or `expires_in_s`.")
    changes: dict[str, Any] = {}
    for name, value in given.items():
        match name:
            case "name":
                changes["name"] = names.checked(value, "name")
            case "team":
                changes["team"] = _name(value, "team")
            case "scopes":
                changes["scopes"] = DATA if value is None else checked_scopes(value)
            case "limits":
                changes["allowance"] = Allowance() if value is None else Allowance(**value.model_dump())
            case "expires_in_s":
                changes["expires_at"] = _expiry(value, deps)
    return changes


def _name(value: str | None, field: str) -> str | None:
    return None if value is None else names.checked(value, field)


def _expiry(in_s: int | None, deps: Deps) -> float | None:
    return None if in_s is None else deps.api_keys.now() + in_s


def _namespace(name: str, level: Sharing) -> dict[str, Any]:
    return {"object": "namespace", "namespace": name, "sharing": level}


def _json(value: Any, *, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}  # a key must lie in no cache on the way
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")
