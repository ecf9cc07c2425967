"""GET /v1/usage: what a tenant's requests cost and what the cache saved; GET /admin/usage: the same over all tenants."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from proxy.api.deps import Deps, Tenant
from proxy.core import ledger
from proxy.core.ledger import ALL, Cell, Counts
from proxy.errors import RequestError

router = APIRouter()

DEFAULT_DAYS = 30
MAX_DAYS = 400
"""Days in one answer: a year and a month. Each is a hash in Redis to be read."""
_OWN_GROUPS = ("day", "model", "namespace")
_ADMIN_GROUPS = ("day", "model", "tenant")

_From = Annotated[str | None, Query(alias="from", description="First day, ISO date in UTC; else 30 days up to `to`.")]
_To = Annotated[str | None, Query(description="Last day, included; else today.")]


@router.get("/v1/usage")
async def read_usage(
    tenant: Tenant,
    deps: Deps,
    from_: _From = None,
    to: _To = None,
    group_by: Annotated[str, Query(description="day, model, namespace, or several with commas.")] = "day",
) -> dict[str, Any]:
    """What the caller's requests cost and saved, at list prices."""
    first, last = _days(from_, to)
    by = _groups(group_by, _OWN_GROUPS)
    return _answer(await deps.ledger.read(tenant, first, last), first, last, by)


@router.get("/admin/usage")
async def read_all_usage(
    deps: Deps,
    from_: _From = None,
    to: _To = None,
    group_by: Annotated[str, Query(description="day, model, tenant, or several with commas.")] = "day",
    tenant: Annotated[
        str | None, Query(description="Of this one alone, which may be grouped by namespace, too.")
    ] = None,
) -> dict[str, Any]:
    """What the requests of all tenants cost and saved, and what Deja paid that belongs to no tenant alone."""
    first, last = _days(from_, to)
    if tenant is not None:
        by = _groups(group_by, (*_ADMIN_GROUPS, "namespace"))
        cells = await deps.ledger.read(tenant, first, last)
    else:
        by = _groups(group_by, _ADMIN_GROUPS)
        cells = await (deps.ledger.read_tenants(first, last) if "tenant" in by else deps.ledger.read(ALL, first, last))
    return _answer(cells, first, last, by)


def _answer(cells: Mapping[Cell, Counts], first: date, last: date, by: tuple[str, ...]) -> dict[str, Any]:
    ((_, total),) = ledger.grouped(cells, ())
    return {
        "object": "usage",
        "from": first.isoformat(),
        "to": last.isoformat(),
        "group_by": list(by),
        "data": [{**group, **ledger.as_json(counts)} for group, counts in ledger.grouped(cells, by)],
        "total": ledger.as_json(total),
    }


def _groups(given: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if unknown := [name for name in names if name not in known]:
        raise RequestError(f"`group_by` knows {', '.join(known)}, not {unknown[0][:40]!r}.", param="group_by")
    return names


def _days(first: str | None, last: str | None) -> tuple[date, date]:
    until = _day(last, "to") if last is not None else datetime.fromtimestamp(time.time(), UTC).date()
    since = _day(first, "from") if first is not None else until - timedelta(days=DEFAULT_DAYS - 1)
    if not since <= until < since + timedelta(days=MAX_DAYS):
        raise RequestError(f"`from` has to be up to {MAX_DAYS} days before `to`, and not after it.", param="from")
    return since, until


def _day(given: str, param: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise RequestError(f"`{param}` has to be a day such as 2026-11-23.", param=param) from None
