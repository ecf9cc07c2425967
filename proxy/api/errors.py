"""Our exceptions as HTTP: the only table of status codes and OpenAI-shaped error bodies."""

from __future__ import annotations

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from proxy.api.asgi import ClientLeft
from proxy.core.dialects.base import Fault
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.openai_shapes import error_object
from proxy.errors import (
    DejaError,
    RequestError,
    StoreError,
    StoreFullError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)

_ANTHROPIC = f"/v1{MESSAGES.path}"
CLIENT_LEFT = 499
"""nginx's status for a caller who left before the answer; journal and metrics only."""


def fault_of(error: DejaError) -> Fault:
    """The error before it has a shape: status, message, type, code, param."""
    match error:
        case RequestError():
            return Fault(error.status, error.message, error.kind, error.code, error.param)
        case UpstreamTimeoutError():
            return Fault(504, str(error), "upstream_error", "upstream_timeout")
        case UpstreamBrokenError():
            return Fault(502, str(error), "upstream_error", "upstream_broken")
        case UpstreamError():
            return Fault(502, str(error), "upstream_error", "upstream_unreachable")
        case StoreFullError():
            return Fault(503, str(error), "store_error", "store_full")
        case StoreError():
            return Fault(503, str(error), "store_error", "redis_unavailable")
        case _:
            return INTERNAL_FAULT


def status_of(error: DejaError) -> int:
    """The HTTP status that tells a caller what kind of failure this is."""
    return fault_of(error).status


def body_at(path: str, error: DejaError) -> bytes:
    """The error as clients of a model API read it: in Anthropic's shape below `/v1/messages`, else in OpenAI's."""
    return MESSAGES.error_body(fault_of(error)) if path.startswith(_ANTHROPIC) else body_of(error)


def body_of(error: DejaError) -> bytes:
    """The error in OpenAI's shape: message, type, param, code."""
    return orjson.dumps(error_object(fault_of(error)))


INTERNAL_FAULT = Fault(
    500,
    "Deja failed on this request and has logged where; send it again, or with `X-Deja-Mode: off` to go around the cache.",
    "internal_error",
    "internal_error",
)
INTERNAL = orjson.dumps(error_object(INTERNAL_FAULT))


def install(app: FastAPI) -> None:
    """Let the plain routes answer with these errors."""
    app.add_exception_handler(ClientLeft, _client_left)
    app.add_exception_handler(DejaError, _deja_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]


async def _client_left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # nobody reads it


async def _deja_error(_: Request, error: DejaError) -> Response:
    return Response(body_of(error), status_code=status_of(error), media_type="application/json")


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Starlette's own 404 and 405, in the shape of all other errors."""
    mend = f"{request.method} {request.url.path} is not a route of Deja; docs/reference/routes.md lists them."
    code = "not_found" if error.status_code == 404 else "method_not_allowed"
    answer = await _deja_error(request, RequestError(mend, status=error.status_code, code=code))
    answer.headers.update(error.headers or {})
    return answer


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return await _deja_error(request, RequestError(f"`{field}` cannot be used: {first['msg']}.", param=field))
