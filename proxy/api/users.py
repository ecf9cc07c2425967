"""DELETE /v1/users/{user}: erases a user everywhere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from proxy.api.deps import Deps, Tenant
from proxy.core.sessions import checked_user

router = APIRouter()


@router.delete("/v1/users/{user:path}")
async def erase_user(user: str, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Erase a user everywhere; tells how much of each kind went, and may be repeated."""
    erased = await deps.erasure.erase_user(tenant, checked_user(user, "user"))
    return {"object": "erasure", "user": user, "erased": erased}
