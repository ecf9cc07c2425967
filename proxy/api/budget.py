"""GET /v1/cache/budget: how often hits by meaning are wrong in one of the caller's namespaces, and what is done about it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from proxy.api.deps import Deps, Tenant
from proxy.core import evidence
from proxy.core.decision import Scope

router = APIRouter()


@router.get("/v1/cache/budget")
async def read_budget(tenant: Tenant, deps: Deps, namespace: str = "") -> dict[str, Any]:
    """The error budget of a namespace: bound, level in force, audits, wrong-hit rate with its interval; 409 if not calibrated."""
    report = await deps.error_budget(Scope(tenant, namespace))
    return {"object": "cache.budget", "namespace": namespace, **evidence.as_json(report)}
