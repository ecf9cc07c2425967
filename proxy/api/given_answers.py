"""POST /v1/cache/entries: answers that a caller brings along are stored as if the provider had just given them. For warming a cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import Field

from proxy.api.asgi import Scope
from proxy.api.bodies import Body, body_of
from proxy.api.cached_route import CachedRoute
from proxy.api.deps import Deps, Tenant
from proxy.api.model_requests import DISTINCT_PREFIXES
from proxy.core.dialects.chat import CHAT
from proxy.errors import RequestError

router = APIRouter()

MAX_ENTRIES = 100
"""Of one request: each is embedded, some 2 ms; a file is sent in parts."""


class Given(Body):
    """A request and its answer.

    `request` is the body of a request, `messages` (with the `model` beside it) that of a plain one. `answer` is the provider's answer
    as JSON, or the text of it. `headers` are those that it was sent with, of the ones that keep answers apart.
    """

    request: dict[str, Any] | None = None
    messages: list[Any] | None = None
    model: str | None = None
    answer: str | dict[str, Any]
    path: str = CHAT.path
    headers: dict[str, str] = Field(default_factory=dict)


class NewEntries(Body):
    """What is to be stored, and the model of what names none."""

    entries: tuple[Given, ...]
    model: str | None = None


@router.post("/v1/cache/entries")
async def store_given(request: Request, _: Tenant, deps: Deps) -> dict[str, Any]:
    """Store answers; one result for each, in order: the entry's id, or why it was not stored.

    The headers that speak to the cache or choose an organisation count for all of them, as if each request had been sent with these.
    """
    asked = await body_of(request, NewEntries, limit_bytes=deps.caches.policy.body_bytes)
    if len(asked.entries) > MAX_ENTRIES:
        raise RequestError(
            f"Send at most {MAX_ENTRIES} entries at once, and the others after them.",
            status=413,
            code="batch_too_large",
        )
    scope = {**request.scope, "query_string": b""}
    data = [await _stored(given, asked.model, scope, deps.cached_routes) for given in asked.entries]
    return {"object": "list", "data": data, "stored": sum("id" in one for one in data)}


async def _stored(given: Given, model: str | None, scope: Scope, routes: Mapping[str, CachedRoute]) -> dict[str, Any]:
    try:
        route, sent = _route(given.path, routes), _request(given, model)
        raw, answer = orjson.dumps(sent), orjson.dumps(_answer(given, sent))
        kept = await route.keep_given(_with(given.headers, scope), raw, answer)
    except RequestError as error:
        return {"error": {"message": error.message, "code": error.code, "param": error.param}}
    return {"not_stored": kept.not_stored} if kept.entry_id is None else {"id": kept.entry_id}


def _with(headers: Mapping[str, str], scope: Scope) -> Scope:
    """The scope with an entry's own headers in place of those that count for all."""
    if not headers:
        return scope
    own = {
        name.lower().encode("latin-1", "replace"): value.encode("latin-1", "replace") for name, value in headers.items()
    }
    for name in own:
        if not name.startswith(DISTINCT_PREFIXES):
            raise RequestError(
                "`headers` of an entry are those that keep answers apart: they begin with openai- or anthropic-.",
                param=f"headers.{name.decode('latin-1')}",
            )
    return {**scope, "headers": [*(pair for pair in scope["headers"] if pair[0] not in own), *own.items()]}


def _route(path: str, routes: Mapping[str, CachedRoute]) -> CachedRoute:
    found = routes.get(path)
    if found is None:
        raise RequestError(f"Answers are cached at {', '.join(sorted(routes))}, below /v1.", param="path")
    return found


def _request(given: Given, model: str | None) -> dict[str, Any]:
    if (given.request is None) == (given.messages is None):
        raise RequestError("Give either `request`, the body of a request, or `messages`.", param="request")
    sent: dict[str, Any] = {"messages": given.messages} if given.request is None else dict(given.request)
    named = given.model or model
    if named is not None:
        sent.setdefault("model", named)
    return sent


def _answer(given: Given, sent: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given.answer, dict):
        return given.answer
    if given.path != CHAT.path:
        raise RequestError("Only an answer of chat may be given as text; give the provider's JSON.", param="answer")
    message = {"role": "assistant", "content": given.answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"object": "chat.completion", "model": sent.get("model"), "choices": [choice]}
