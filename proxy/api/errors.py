"""Our exceptions as HTTP: the only table of status codes and OpenAI-shaped error bodies."""

from __future__ import annotations

import orjson

from proxy.errors import (
    DejaError,
    RequestError,
    StoreError,
    StoreFullError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)

CLIENT_LEFT = 499
"""nginx's status for a caller who left before the answer; journal and metrics only."""


def status_of(error: DejaError) -> int:
    """The HTTP status that tells a caller what kind of failure this is."""
    match error:
        case RequestError():
            return error.status
        case UpstreamTimeoutError():
            return 504
        case UpstreamError():
            return 502
        case StoreError():
            return 503
        case _:
            return 500


def body_of(error: DejaError) -> bytes:
    """The error in OpenAI's shape: message, type, param, code."""
    match error:
        case RequestError():
            return error_body(error.message, kind=error.kind, code=error.code, param=error.param)
        case UpstreamTimeoutError():
            return error_body(str(error), kind="upstream_error", code="upstream_timeout")
        case UpstreamBrokenError():
            return error_body(str(error), kind="upstream_error", code="upstream_broken")
        case UpstreamError():
            return error_body(str(error), kind="upstream_error", code="upstream_unreachable")
        case StoreFullError():
            return error_body(str(error), kind="store_error", code="store_full")
        case StoreError():
            return error_body(str(error), kind="store_error", code="redis_unavailable")
        case _:
            return INTERNAL


def error_body(message: str, *, kind: str, code: str, param: str | None = None) -> bytes:
    """One error object."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


INTERNAL = error_body(
    "Deja failed on this request and has logged where; send it again, or with `X-Deja-Mode: off` to go around the cache.",
    kind="internal_error",
    code="internal_error",
)
