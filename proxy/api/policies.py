"""/v1/cache/policies: what a tenant decides for its namespaces, in force at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from proxy.api.bodies import Body, body_of
from proxy.api.deps import Deps, Tenant
from proxy.core import names
from proxy.core.directives import MAX_TTL_S
from proxy.core.models import Mode
from proxy.core.policies import Policy
from proxy.errors import RequestError

router = APIRouter(prefix="/v1/cache/policies")

BODY_BYTES = 16_384
NAMELESS = "-"
"""Stands in the path for the namespace of requests that name none; no namespace is called so."""
_Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=100)]


class NewPolicy(Body):
    """What is decided; what is left out is not."""

    mode: Mode | None = None
    ttl_s: Annotated[int | None, Field(ge=1, le=MAX_TTL_S)] = None
    max_wrong_hit_rate: Annotated[float | None, Field(gt=0, le=0.5)] = None
    families: _Names | None = None
    models: _Names | None = None


@router.get("")
async def list_policies(tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """The tenant's policies by namespace."""
    found = await deps.policies.of_tenant(tenant)
    return {"object": "list", "data": [_shown(namespace, policy) for namespace, policy in found.items()]}


@router.get("/{namespace:path}")
async def read_policy(namespace: str, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """One namespace's policy; 404 where nothing is decided."""
    name = _namespace(namespace)
    policy = (await deps.policies.of_tenant(tenant)).get(name)
    if policy is None:
        raise RequestError("There is no policy for this namespace.", status=404, code="policy_not_found")
    return _shown(name, policy)


@router.put("/{namespace:path}")
async def put_policy(namespace: str, request: Request, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Decide for a namespace, in place of what was decided before."""
    name, wanted = _namespace(namespace), await body_of(request, NewPolicy, limit_bytes=BODY_BYTES)
    policy = Policy(**wanted.model_dump())
    if policy == Policy():
        raise RequestError(
            "Decide something: `mode`, `ttl_s`, `max_wrong_hit_rate`, `families` or `models`.", param="body"
        )
    await deps.policies.put(tenant, name, policy)
    return _shown(name, policy)


@router.delete("/{namespace:path}", status_code=204)
async def delete_policy(namespace: str, tenant: Tenant, deps: Deps) -> Response:
    """Decide nothing any more."""
    await deps.policies.remove(tenant, _namespace(namespace))
    return Response(status_code=204)


def _shown(namespace: str, policy: Policy) -> dict[str, Any]:
    return {"object": "cache.policy", "namespace": namespace, **policy.as_json()}


def _namespace(text: str) -> str:
    return "" if text == NAMELESS else names.checked(text, "namespace")
