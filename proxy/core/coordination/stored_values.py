"""JSON values as fields of a Redis hash, and back, each with its type.

A field is plain text wherever that cannot be mistaken for JSON, and JSON otherwise, so that `redis-cli HGETALL` reads well: the text
`working` is stored as `working`, the number 5 as `5`, the text "5" as `"5"`. To read one: as JSON if it is JSON, else as it stands.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from proxy.errors import RequestError

_LIKE_JSON = re.compile(r"\s*(?:\[.*\]|\{.*\}|\".*\")\s*\Z", re.DOTALL)
_NOT_A_NUMBER = re.compile(r"NaN|Infinity")
_DEEP = 10
"""Levels kept free below orjson's own limit of 254, so that what was stored can also be shown inside an answer."""


def to_stored(value: Any) -> str:
    """A JSON value as it stands in the hash.

    Raises:
        RequestError: 400, it is nested too deeply.
    """
    if isinstance(value, str) and not _reads_as_json(value):
        return value
    wrapped = value
    for _ in range(_DEEP):
        wrapped = [wrapped]
    try:
        return orjson.dumps(wrapped)[_DEEP:-_DEEP].decode()
    except orjson.JSONEncodeError:
        raise RequestError(
            "A field is nested too deeply: keep to 200 levels.", param="body", code="nesting_too_deep"
        ) from None


def _reads_as_json(text: str) -> bool:
    """Whether some JSON parser may take it; where they differ (NaN, lone surrogates), yes: quoting is always right."""
    if _LIKE_JSON.match(text):
        return True
    try:
        orjson.loads(_NOT_A_NUMBER.sub("0", text))
    except orjson.JSONDecodeError:
        return False
    return True


def from_stored(text: str) -> Any:
    """The value behind a field of the hash: JSON if it is JSON, else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
