"""/v1/cache/decisions and /v1/cache/history: what was decided lately, what is decided now, and how much of it over time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Response

from proxy.api.deps import Deps, Tenant
from proxy.api.streaming import stream
from proxy.core import history, sse
from proxy.core.decision_log import DecisionRecord
from proxy.core.history import STEPS
from proxy.errors import RequestError
from proxy.services.live_decisions import Batch

router = APIRouter()

LOOKED_AT = 2000
"""Decisions of each stream that are looked at for those that fit: 3 MB from Redis, half a second at most."""


@router.get("/v1/cache/decisions")
async def list_decisions(
    tenant: Tenant,
    deps: Deps,
    namespace: str | None = None,
    outcome: Annotated[str | None, Query(description="exact, semantic, collapsed, miss, bypass, …")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """The caller's last decisions, newest first, of the last thousands; each can be explained."""
    found = await deps.live_decisions.recent(
        tenant, namespace=namespace, outcome=outcome, limit=limit, looked_at=LOOKED_AT
    )
    return {"object": "list", "data": [_decision(one) for one in found]}


@router.get("/v1/cache/decisions/tail")
async def follow_decisions(tenant: Tenant, deps: Deps) -> Response:
    """The caller's decisions as they fall, as server-sent events; of a burst, the last ones and how many more there were."""
    return stream(_framed(deps.live_decisions.follow(tenant)))


@router.get("/v1/cache/history")
async def read_history(
    tenant: Tenant,
    deps: Deps,
    step: Literal["minute", "quarter"] = "minute",
    limit: Annotated[int | None, Query(ge=1, description="Slots, up to all that are kept.")] = None,
) -> dict[str, Any]:
    """The caller's requests, durations, money and audits over time, by the minute (three hours) or the quarter of an hour (a week)."""
    slots = await deps.history.read(tenant, STEPS[step], slots_of(step, limit) or STEPS[step].slots)
    return {
        "object": "cache.history",
        "step": step,
        "step_s": STEPS[step].seconds,
        "data": await asyncio.to_thread(
            history.series, slots
        ),  # an interval each slot, 0.6 ms: requests do not wait for them
        "total": history.total(counts for _, counts in slots),
    }


def slots_of(step: str, limit: int | None) -> int | None:
    """How many slots were asked for; RequestError where so many are not kept."""
    kept = STEPS[step].slots
    if limit is not None and limit > kept:
        raise RequestError(f"`limit` is up to {kept} for a {step}: no more are kept.", param="limit")
    return limit


async def _framed(batches: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    yield sse.COMMENT  # the head leaves with it: the caller knows that it is connected
    async with aclosing(batches):  # type: ignore[type-var]
        async for batch in batches:
            frames = [sse.named_event("decision", orjson.dumps(_decision(one))) for one in batch.records]
            if batch.left_out:
                frames.append(sse.named_event("left_out", orjson.dumps({"count": batch.left_out})))
            yield b"".join(frames) or sse.COMMENT


def _decision(record: DecisionRecord) -> dict[str, Any]:
    best = next((one for one in record.seen if one.is_chosen), record.seen[0] if record.seen else None)
    return {
        "request_id": record.request_id,
        "at": record.at,
        "outcome": record.outcome,
        "reason": record.reason or None,
        "would_hit": record.would_hit or None,
        "namespace": record.namespace,
        "model": record.model,
        "asked": record.asked,
        "nearest": best.question if best else None,
        "similarity": best.similarity if best else None,
        "confidence": best.confidence if best else None,
        "level": record.level,
        "feedback": record.vote,
    }
