"""Completes FastAPI's OpenAPI document.

Handlers read and check their bodies by themselves (`api.bodies`), so FastAPI does not know of them: the models that a handler's
code names are its body. What no model tells stands in `routes`; the raw ASGI routes are added whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from proxy.api.schemas import routes as known
from proxy.api.schemas.parts import ANY, BYTES, TEXT, Schema, either, named
from proxy.api.schemas.shapes import COMPONENTS, error_of

Document = dict[str, Any]
_REF = "#/components/schemas/{model}"
_FASTAPIS_ERRORS = ("HTTPValidationError", "ValidationError")  # ours are told otherwise
_BARE = (202, 204)
"""Statuses without a body."""


def completed(document: Document, routes: Iterable[BaseRoute]) -> Document:
    """The document, changed in place: every route with its body, its answers, its errors and its key."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPIS_ERRORS:
        schemas.pop(name, None)
    bodies = _bodies(document, [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema])
    assert not bodies.keys() & COMPONENTS.keys(), f"two schemas of one name: {bodies.keys() & COMPONENTS.keys()}"
    schemas |= COMPONENTS | bodies
    for path, (takes, answers) in known.CACHED.items():
        document["paths"][path] = {"post": _through_the_cache(path, takes, answers)}
    document["paths"] |= _raw()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method.upper(), path)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def models_of(endpoint: Callable[..., Any]) -> tuple[type[BaseModel], ...]:
    """The bodies a handler checks: the models its code names."""
    code = getattr(inspect.unwrap(endpoint), "__code__", None)
    named_there = () if code is None else (endpoint.__globals__.get(name) for name in code.co_names)
    return tuple(each for each in named_there if isinstance(each, type) and issubclass(each, BaseModel))


def _bodies(document: Document, routes: Iterable[APIRoute]) -> dict[str, Schema]:
    """Give each operation its body; the schemas these need."""
    found = [
        (route, method, models)
        for route, method in _operations(routes)
        if method != "GET" and (models := models_of(route.endpoint))
    ]
    every = {(model, "validation"): None for _, _, models in found for model in models}
    refs, definitions = models_json_schema(list(every), ref_template=_REF)  # type: ignore[arg-type]
    for route, method, models in found:
        operation = document["paths"][route.path_format][method.lower()]
        if "requestBody" not in operation:  # FastAPI's own, where it reads the body
            told = [refs[model, "validation"] for model in models]
            _takes(operation, either(*told) if told[1:] else told[0])
            operation["requestBody"]["required"] = (method, route.path_format) not in known.OPTIONAL_BODIES
    for route, method in _operations(routes):
        operation, key = document["paths"][route.path_format][method.lower()], (method, route.path_format)
        if key in known.BODIES:
            _takes(operation, known.BODIES[key])
        if key in known.TAKES_LINES:
            _takes(operation, BYTES, kind="application/octet-stream")
    found_definitions: dict[str, Schema] = definitions.get("$defs", {})
    return found_definitions


def _operations(routes: Iterable[APIRoute]) -> Iterator[tuple[APIRoute, str]]:
    return ((route, method) for route in routes for method in sorted(route.methods or ()))


def _takes(operation: Document, schema: Schema, *, kind: str = "application/json") -> None:
    operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}


def _complete(operation: Document, method: str, path: str) -> None:
    """Answers, errors and the key of one operation."""
    key = method, path
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    kinds = known.OTHER_KINDS.get(key)
    for status, response in responses.items():
        if status in ("200", "201") and kinds is not None:
            response["content"] = {kind: _content(kind, key) for kind in kinds}
        elif key in known.ANSWERS:
            response["content"] = {"application/json": {"schema": known.ANSWERS[key]}}
    if key in known.STATUSES:
        success = responses.pop(next(iter(responses)))
        for status in known.STATUSES[key]:
            is_bare = status in _BARE
            responses[str(status)] = {"description": "Done"} if is_bare else success
    responses["default"] = {
        "description": "What went wrong, and how to mend it",
        "content": {"application/json": {"schema": error_of(path)}},
    }
    if path.startswith("/admin") or path == "/mcp":
        operation["security"] = [{"key": []}]
    elif path.startswith("/v1/") and path != "/v1/health":
        operation["security"] = [{"key": []}, {}]  # none where the settings ask for none


def _content(kind: str, key: tuple[str, str]) -> Document:
    return {"schema": known.ANSWERS.get(key, ANY)} if kind == "application/json" else {}


def _through_the_cache(path: str, takes: str, answers: str) -> Document:
    content: dict[str, Any] = {"application/json": {"schema": named(answers)}}
    if path != "/v1/embeddings":
        content[known.EVENT_STREAM] = {}
    operation: Document = {
        "summary": "Answer from the cache, or ask the provider",
        "operationId": f"cached_{answers.lower()}",
        "responses": {
            "200": {"description": "The answer; `Cache-Status` says where it comes from", "content": content}
        },
    }
    _takes(operation, named(takes))
    return operation


def _raw() -> Document:
    """The other routes that FastAPI does not know of."""

    def one(summary: str, name: str, answer: Schema, *path: str) -> Document:
        parameters = [{"name": each, "in": "path", "required": True, "schema": TEXT} for each in path]
        content = {"application/json": {"schema": answer}}
        return {
            "summary": summary,
            "operationId": name,
            **({"parameters": parameters} if parameters else {}),
            "responses": {"200": {"description": "The answer", "content": content}},
        }

    call = one("The Model Context Protocol", "mcp", ANY)
    _takes(call, ANY)
    replayed = "/v1/responses/{response_id}"
    return {
        "/mcp": {"post": call},
        replayed: {
            "get": one("A response that was replayed", "read_response", named("Response"), "response_id"),
            "delete": one("Forget it", "delete_response", ANY, "response_id"),
        },
    }
