"""/v1/long-term-memory: memories stored, found, changed, forgotten."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field

from proxy.api.deps import Deps, Tenant
from proxy.api.memory import rendering
from proxy.api.memory.route import MemoryRoute, Shape, body_of, json, refused
from proxy.api.memory.shapes import CreateMemoriesIn, EditMemoryIn, SearchIn
from proxy.core.memory.forgetting import ForgetPolicy
from proxy.core.memory.records import Conditions, FoundMemories, Match, MemoryType
from proxy.errors import RequestError

router = APIRouter(prefix="/v1/long-term-memory", route_class=MemoryRoute, tags=["memory"])

MAX_DELETED = 1000
"""Ids in one call; they stand in the URL, which uvicorn takes 64 KiB of."""
PYTHON_CLIENT = "agent-memory-client/"
"""How the Python client names itself."""
NOTHING = FoundMemories(found=(), total=0, next_offset=None)

Word = Annotated[str | None, Query(min_length=1)]


class PolicyIn(Shape):
    """What is to be forgotten. A rule that Deja does not know is refused: left out, it would forget something else than was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_age_days: float | None = Field(None, ge=0)
    max_inactive_days: float | None = Field(None, ge=0)
    hard_age_multiplier: float = Field(12.0, ge=1)
    budget: int | None = Field(None, ge=0)
    memory_type_allowlist: list[MemoryType] | None = None


class ForgetIn(Shape):
    """A policy, and memories that stay whatever it says."""

    policy: PolicyIn
    pinned_ids: list[str] | None = None

    def forget_policy(self) -> ForgetPolicy:
        """The policy."""
        told, types = self.policy, self.policy.memory_type_allowlist
        return ForgetPolicy(
            max_age_days=told.max_age_days,
            max_inactive_days=told.max_inactive_days,
            hard_age_multiplier=told.hard_age_multiplier,
            budget=told.budget,
            types=None if types is None else frozenset(types),
            kept=frozenset(self.pinned_ids or ()),
        )


@router.post("")
async def create_long_term_memory(request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Store memories; answered once they are kept."""
    told = await body_of(request, CreateMemoriesIn, deps)
    now = time.time()
    memories = [each.memory(now=now, default_type=MemoryType.SEMANTIC) for each in told.memories]
    await deps.memories.store(tenant, memories, is_deduplicated=told.deduplicate)
    return json({"status": "ok"})


@router.post("/search")
async def search_long_term_memory(request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Find memories by meaning, by words, or by both, among those that fulfil all filters."""
    told = await body_of(request, SearchIn, deps)
    wanted = told.search()
    found = NOTHING if told.finds_nothing else await deps.memories.search(tenant, wanted)
    return json(rendering.results(found, wanted.mode))


@router.post("/forget")
async def forget_long_term_memories(
    request: Request,
    tenant: Tenant,
    deps: Deps,
    namespace: Word = None,
    user_id: Word = None,
    session_id: Word = None,
    limit: Annotated[int, Query(ge=1)] = 1000,
    dry_run: bool | None = None,
) -> Response:
    """Forget what a policy lets go, among the first `limit` memories. Without a word it is a dry run, as the server documents.

    The Python client leaves `dry_run` out where its caller said False: there, without a word, it is none.
    """
    policy = (await body_of(request, ForgetIn, deps)).forget_policy()
    if dry_run is None:
        dry_run = not request.headers.get("user-agent", "").startswith(PYTHON_CLIENT)
    conditions = _conditions(namespace=namespace, user_id=user_id, session_id=session_id)
    done = await deps.memories.forget(tenant, policy, conditions, limit=limit, is_dry_run=dry_run)
    deleted = len(done.ids) if done.is_dry_run else done.deleted
    return json(
        {"scanned": done.scanned, "deleted": deleted, "deleted_ids": list(done.ids), "dry_run": done.is_dry_run}
    )


@router.post("/compact")
async def compact_long_term_memories(
    tenant: Tenant, deps: Deps, namespace: Word = None, user_id: Word = None
) -> Response:
    """Merge memories that say the same."""
    done = await deps.memories.compact(tenant, _conditions(namespace=namespace, user_id=user_id))
    return json({"status": f"ok, {done.scanned - done.merged} memories remaining after compaction"})


@router.delete("")
async def delete_long_term_memories(
    tenant: Tenant, deps: Deps, memory_ids: Annotated[list[str] | None, Query(max_length=MAX_DELETED)] = None
) -> Response:
    """Remove memories; those that are not there are no error."""
    count = await deps.memories.delete(tenant, memory_ids or [])
    return json({"status": f"ok, deleted {count} memories"})


@router.get("/{memory_id:path}")
async def get_long_term_memory(memory_id: str, tenant: Tenant, deps: Deps) -> Response:
    """One memory."""
    wanted = memory_id.removesuffix("/")
    found = await deps.memories.get(tenant, wanted)
    if found is None:
        raise _not_found(wanted)
    return json(rendering.kept(found))


@router.patch("/{memory_id:path}")
async def update_long_term_memory(memory_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Change some fields of a memory; as it is now."""
    wanted = memory_id.removesuffix("/")
    changes = (await body_of(request, EditMemoryIn, deps)).changes()
    if not changes:
        raise refused("No fields provided for update", "body")
    changed = await deps.memories.edit(tenant, wanted, changes)
    if changed is None:
        raise _not_found(wanted)
    return json(rendering.kept(changed))


def _conditions(*, namespace: str | None, user_id: str | None, session_id: str | None = None) -> Conditions:
    return Conditions(namespace=_is(namespace), user=_is(user_id), session=_is(session_id))


def _is(value: str | None) -> Match:
    return Match() if value is None else Match(one_of=(value,))


def _not_found(memory_id: str) -> RequestError:
    return RequestError(f"Memory with ID {memory_id} not found", status=404, code="memory_not_found", param="memory_id")
