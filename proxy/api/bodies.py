"""Request bodies of the plain routes: read within a limit, parsed, checked; each failure names the field."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.api import asgi
from proxy.errors import RequestError

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """A body whose unknown fields are an error: a misspelt wish that is silently dropped is worse than a 400."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StrictBody(Body):
    """A body without conversions: "5" is not 5, and `false` is not 0, which could mean that all of something goes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


async def json_body(request: Request, *, limit_bytes: int) -> Any:
    """The parsed body, whatever type it claims to be.

    Raises:
        RequestError: 413, it is too large; 400, it is no JSON.
        ClientLeft: it never arrived in full.
    """
    raw = await asgi.read_body(request.scope, request.receive, limit_bytes=limit_bytes)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise RequestError("The body is no JSON in UTF-8.", param="body", code="invalid_json") from None


def checked(model: type[M], value: Any) -> M:
    """A parsed body as a model.

    Raises:
        RequestError: 400 naming the first field at fault.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(f"`{field}` cannot be used: {message}.", param=field) from None


async def body_of(request: Request, model: type[M], *, limit_bytes: int) -> M:
    """Read and check a body; see `json_body` and `checked`."""
    return checked(model, await json_body(request, limit_bytes=limit_bytes))
