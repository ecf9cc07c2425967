"""What every cached route reads of a request in the same way: its JSON, what of it travels, what sets its answers apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from proxy.api.asgi import Scope
from proxy.core.canonical import OWN_FIELDS
from proxy.core.keys import encode
from proxy.errors import RequestError

DISTINCT_PREFIXES = (b"openai-", b"anthropic-")
"""Request headers that choose an organisation, a project or a beta: answers differ with them."""


def parse_json(raw: bytes) -> dict[str, Any]:
    """A request body; a RequestError says what is wrong with it."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            f"The request body is not valid JSON in UTF-8 ({error.msg}, line {error.lineno} column {error.colno}); correct it there.",
            code="invalid_json",
        ) from None
    if not isinstance(body, dict):
        raise RequestError("The request body must be a JSON object with at least a `model`.", code="invalid_json")
    return body


def without_own_fields(raw: bytes, body: Mapping[str, Any]) -> bytes:
    """What travels upstream: the caller's own bytes, unless they hold fields that speak to Deja."""
    if OWN_FIELDS.isdisjoint(body):
        return raw
    return encode({name: value for name, value in body.items() if name not in OWN_FIELDS})


def distinctions(scope: Scope) -> tuple[str, ...]:
    """Headers and query parameters that make answers different, in a fixed order."""
    headers = sorted(
        f"{name.decode('latin-1')}: {value.decode('latin-1')}"
        for name, value in scope["headers"]
        if name.startswith(DISTINCT_PREFIXES)
    )
    query = sorted(f"{name}={value}" for name, value in parse_qsl(scope["query_string"].decode("latin-1")))
    return (*headers, "?", *query)
