"""GET /admin/overview: all tenants at a glance. The door lets in admin keys alone; prompts and answers are in none of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from proxy.api.decisions import slots_of
from proxy.api.deps import Deps
from proxy.core import overview
from proxy.core.history import STEPS

router = APIRouter()


@router.get("/admin/overview")
async def read_overview(
    deps: Deps,
    step: Literal["minute", "quarter"] = "quarter",
    limit: Annotated[int | None, Query(ge=1, description="Slots; by default a day's, or an hour's minutes.")] = None,
) -> dict[str, Any]:
    """Requests, wrong hits and money of all tenants together and of each that asked lately; agents, queues and tasks in sum."""
    usual = {"minute": 60, "quarter": 96}[step]
    seen = await deps.overviews.read(STEPS[step], slots_of(step, limit) or usual)
    told = await asyncio.to_thread(
        overview.as_json, seen
    )  # an interval each slot, 0.6 ms: requests do not wait for them
    return {"object": "admin.overview", "step": step, "step_s": STEPS[step].seconds, **told}
