"""POST /v1/memory/prompt: a question with the session and the memories it needs; GET /v1/health."""

from __future__ import annotations

import time
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from proxy.api.deps import Deps, Services, Tenant
from proxy.api.memory import rendering
from proxy.api.memory.long_term import NOTHING
from proxy.api.memory.route import MemoryRoute, body_of, json, refused
from proxy.api.memory.shapes import PromptIn, SearchIn, SessionIn, session_name
from proxy.core.memory.records import FoundMemories, Match, Recency, Search
from proxy.core.memory_server.prompt import prompt_of
from proxy.core.memory_server.window import window_of
from proxy.services.working_memory import Shown

router = APIRouter(route_class=MemoryRoute, tags=["memory"])

PLAIN_LIMIT = 20
"""Memories found where the caller says no more than that there should be some; the server's number."""


@router.post("/v1/memory/prompt")
async def memory_prompt(request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Messages ready for a model: the session's summary and messages, the memories found, the question."""
    told = await body_of(request, PromptIn, deps)
    if told.session is None and not told.long_term_search:
        raise refused("Either session or long_term_search must be provided", "session")
    shown = None if told.session is None else await _session(told.session, tenant, deps)
    found, search = None, _search(told)
    if search is not None:
        is_vain = isinstance(told.long_term_search, SearchIn) and told.long_term_search.finds_nothing
        found = NOTHING if is_vain else await deps.memories.search(tenant, search)
    messages = prompt_of(
        told.query,
        context=shown.memory.context if shown else None,
        messages=shown.memory.messages if shown else (),
        found=None if found is None else found.found,
    )
    headers = {} if shown is None else rendering.headers_of(shown)
    return json({"messages": messages, "long_term_memories": _told(found, search)}, headers=headers)


@router.get("/v1/health")
async def health() -> Response:
    """The process lives; the time in unix milliseconds. Asks for no key, since it tells nothing."""
    return json({"now": int(time.time() * 1000)})


async def _session(told: SessionIn, tenant: str, deps: Services) -> Shown | None:
    return await deps.working_memories.show(
        tenant,
        session_name(told.session_id, told.user_id, told.namespace),
        window_tokens=window_of(told.model_name, told.context_window_max),
    )


def _search(told: PromptIn) -> Search | None:
    """What is looked for: by the question, among the memories of the session's user where no other is named."""
    user = told.session.user_id if told.session is not None else None
    of_user = Match(one_of=(user,)) if user else Match()
    match told.long_term_search:
        case SearchIn() as wanted:
            search = wanted.model_copy(update={"text": told.query}).search()
            named = search.conditions.user != Match()
            return search if named else _among(search, user=of_user)
        case True:
            # What the session itself says stands in the prompt already.
            session = Match() if told.session is None else Match(none_of=(told.session.session_id,))
            search = Search(text=told.query, limit=PLAIN_LIMIT, recency=Recency())
            return _among(search, user=of_user, session=session)
        case _:
            return None


def _among(search: Search, *, user: Match, session: Match | None = None) -> Search:
    conditions = replace(search.conditions, user=user, session=session or search.conditions.session)
    return replace(search, conditions=conditions)


def _told(found: FoundMemories | None, search: Search | None) -> object:
    if found is None or search is None or not found.found:
        return None
    return [rendering.result(each, search.mode) for each in found.found]
