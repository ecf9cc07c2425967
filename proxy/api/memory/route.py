"""What all its routes share: a slash at the end or not, errors as `{"detail": …}`, bodies whose unknown fields are ignored.

The server ignores fields it does not know, and its client relies on it: it puts back what it was given, with fields that only
an answer has.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.routing import Match
from starlette.types import Scope

from proxy.api import asgi
from proxy.api.bodies import json_body
from proxy.api.deps import Services
from proxy.api.errors import CLIENT_LEFT, status_of
from proxy.api.identity import CREDENTIALS
from proxy.errors import DejaError, RequestError, StoreError, StoreFullError
from proxy.ports import Headers

M = TypeVar("M", bound=BaseModel)

UNPROCESSABLE = 422
"""FastAPI's status for a body or a query that is not what it should be, and so the server's."""


class Shape(BaseModel):
    """A body, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _InvalidError(RequestError):
    """A body that is not what it should be; the details as FastAPI tells them."""

    def __init__(self, details: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("The request is not what it should be.", status=UNPROCESSABLE)
        self.details = [{"type": each["type"], "loc": list(each["loc"]), "msg": each["msg"]} for each in details]


class MemoryRoute(APIRoute):
    """A route of the Agent Memory Server."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route is meant; a slash at the end makes no difference."""
        found = super().matches(scope)
        if found[0] is Match.FULL or not scope["path"].endswith("/"):
            return found
        return super().matches({**scope, "path": scope["path"].removesuffix("/")})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our errors told in the server's shape."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return problem(_InvalidError(error.errors()))
            except DejaError as error:
                return problem(error)
            except asgi.ClientLeft:
                return Response(status_code=CLIENT_LEFT)  # nobody reads it

        return answer


def problem(error: DejaError) -> Response:
    """An error as the server's clients read it; `code` is Deja's own word for it."""
    status = status_of(error)
    told: dict[str, Any] = {"detail": str(error)}
    if status == 500:
        told["detail"] = "Deja failed on this request and has logged where."
    if isinstance(error, _InvalidError):
        told["detail"] = error.details
    elif isinstance(error, RequestError):
        told["code"] = error.code
    elif isinstance(error, StoreError):
        told["code"] = "store_full" if isinstance(error, StoreFullError) else "redis_unavailable"
    return json(told, status=status)


def json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer."""
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")


async def body_of(request: Request, model: type[M], deps: Services, *, default: Any = None) -> M:
    """The parsed body.

    Args:
        request: whose.
        model: what it should be.
        deps: know how large it may be.
        default: what an empty body stands for; None refuses one.

    Raises:
        RequestError: 400, no JSON; 413, too large; 422, not what it should be.
    """
    limit_bytes = deps.working_memories.body_bytes
    is_empty = default is not None and request.headers.get("content-length") == "0"
    value = default if is_empty else await json_body(request, limit_bytes=limit_bytes)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise _InvalidError(
            [{"type": each["type"], "loc": ["body", *each["loc"]], "msg": each["msg"]} for each in found]
        ) from None


def credentials(request: Request, deps: Services) -> Headers:
    """The caller's credential, for a provider that goes by it; none where it is a key of Deja."""
    headers = tuple(pair for pair in request.scope["headers"] if pair[0] in CREDENTIALS)
    return deps.identity.for_upstream(headers)


def refused(message: str, field: str, *, status: int = 400, code: str = "invalid_request") -> RequestError:
    """A request that cannot be served as sent."""
    return RequestError(message, status=status, param=field, code=code)
