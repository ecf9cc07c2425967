"""/v1/cache/…: why a decision fell so, what a caller says of a hit, and what another error budget would have done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from proxy.api.deps import Deps, Tenant
from proxy.core.decision_log import Seen
from proxy.core.explanation import Explanation
from proxy.core.feedback import Vote
from proxy.core.what_if import Tally

router = APIRouter()

REPLAYED = 5000
"""Decisions that what-if reads unless told otherwise: 7 MB from Redis, a second at most."""


class Word(BaseModel):
    """What a caller says of a hit."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=128)
    verdict: Vote


@router.post("/v1/cache/feedback")
async def take_feedback(word: Word, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Say whether a hit was right; 404 for an unknown request, 409 for one the provider answered."""
    taken = await deps.feedback.take(tenant, word.request_id, word.verdict)
    if taken.is_new:
        deps.history.voted(tenant, taken.vote)
    return {
        "object": "cache.feedback",
        "request_id": word.request_id,
        "verdict": taken.vote,
        "entry_id": taken.entry_id,
        "new": taken.is_new,
        "evicted": taken.is_evicted,
        "pair_never_equal": taken.is_pair_remembered,
    }


@router.get("/v1/cache/explain/{request_id}")
async def explain(request_id: str, tenant: Tenant, deps: Deps) -> dict[str, Any]:
    """Why the cache decided as it did; 404 for an unknown request."""
    return _explanation(await deps.decisions.explain(tenant, request_id))


@router.get("/v1/cache/what-if")
async def what_if(
    tenant: Tenant,
    deps: Deps,
    max_wrong_hit_rate: Annotated[float, Query(gt=0, le=0.5)],
    namespace: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = REPLAYED,
    show: Annotated[int, Query(ge=0, le=1000)] = 20,
) -> dict[str, Any]:
    """What another error budget would have done with the caller's recorded decisions."""
    found = await deps.decisions.what_if(tenant, max_wrong_hit_rate, namespace=namespace, limit=limit, show=show)
    return {
        "object": "cache.what_if",
        "max_wrong_hit_rate": max_wrong_hit_rate,
        "namespace": namespace,
        "level": found.level,
        "exact_only": found.level > 1.0,
        "decisions": found.decisions,
        "since": found.since,
        "now": _tally(found.now),
        "then": _tally(found.then),
        "undecided": found.undecided,
        **{name: [asdict(pair) for pair in getattr(found, name)] for name in ("gained", "lost", "near")},
    }


def _tally(tally: Tally) -> dict[str, Any]:
    return {
        "hits": tally.hits,
        "expected_wrong": round(tally.expected_wrong, 3),
        "expected_wrong_rate": tally.wrong_rate,
        "wrong_between": [tally.low, tally.high],
        "hits_without_confidence": tally.unscored,
    }


def _explanation(found: Explanation) -> dict[str, Any]:
    record = found.record
    return {
        "object": "cache.explanation",
        "request_id": record.request_id,
        "at": record.at,
        "summary": found.summary,
        "sentences": list(found.sentences),
        "outcome": record.outcome,
        "reason": record.reason or None,
        "would_hit": record.would_hit or None,
        "namespace": record.namespace,
        "sharing": record.sharing or "key",
        "model": record.model,
        "asked": record.asked,
        "level": record.level,
        "neighbours": [_neighbour(one, why) for one, why in zip(record.seen, found.whys, strict=True)],
        "changed_fields": list(found.nearest_room.fields) if found.nearest_room is not None else None,
        "served_entry": record.served or None,
        "stored_entry": record.stored or None,
        "not_stored": record.not_stored or None,
        "feedback": record.vote,
    }


def _neighbour(seen: Seen, why: str) -> dict[str, Any]:
    return {
        "entry_id": seen.entry_id,
        "question": seen.question,
        "similarity": seen.similarity,
        "confidence": seen.confidence,
        "logit": seen.logit,
        "refused_by": seen.refused,
        "objections": list(seen.objections),
        "chosen": seen.is_chosen,
        "why": why,
    }
