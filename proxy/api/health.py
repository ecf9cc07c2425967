"""Whether the process lives (/health), whether it can serve (/ready), and what it has counted (/metrics)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from proxy.api.deps import Deps

router = APIRouter()


@router.head("/health", include_in_schema=False)  # what watches a service from outside often asks so
@router.get("/health")
async def health() -> dict[str, str]:
    """The process lives and its event loop turns."""
    return {"status": "ok"}


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
async def ready(deps: Deps, response: Response) -> dict[str, Any]:
    """Each part by name. 200 while calls are served, even without Redis; 503 until first able to."""
    is_serving, parts = await deps.readiness()
    if not is_serving:
        response.status_code = 503
    is_whole = all(part["status"] == "ok" for part in parts.values())
    return {"status": ("ok" if is_whole else "degraded") if is_serving else "starting", "parts": parts}


@router.get("/metrics")
async def metrics(deps: Deps) -> Response:
    """All metrics, of all workers, in Prometheus' text format."""
    return Response(await deps.scrape(), media_type=CONTENT_TYPE_LATEST)
