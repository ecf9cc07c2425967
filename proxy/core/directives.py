"""What one request asks of the cache: headers, the body's `deja` object and LiteLLM's `cache` dialect -> Directives.

Headers win over the body where both speak. Unrecognised Cache-Control directives are ignored (RFC 9111 section 5.2); an unknown
`X-Deja-*` header, an unknown field of ours or a bad value is an error, because a misspelt wish that is silently dropped
(no-store!) is worse than a 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from proxy.core import names
from proxy.core.models import Directives, MemoryUse, Mode
from proxy.errors import RequestError

MAX_TTL_S = 365 * 86_400
"""A year: longer is a unit mistake (milliseconds), and RFC 9111 1.2.2 lets a cache cap what it believes."""
MAX_TAGS = 32
_MAX_TEXT_CHARS = 32_768

HEADERS: dict[str, str] = {
    "x-deja-mode": "mode",
    "x-deja-namespace": "namespace",
    "x-deja-ttl": "ttl_s",
    "x-deja-tags": "tags",
    "x-deja-session": "session",
    "x-deja-agent": "agent",
    "x-deja-confidence": "confidence",
    "x-deja-memory": "memory",
}
"""Request header -> field of `Directives`."""

BODY_FIELDS = frozenset(
    {"mode", "namespace", "ttl_s", "tags", "session", "agent", "confidence", "memory", "query", "context"}
)
_DIALECT_FIELDS = frozenset({"ttl", "s-maxage", "s-max-age", "no-cache", "no-store", "namespace", "use-cache"})


def parse_directives(
    headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any], *, default_mode: Mode
) -> Directives:
    """Read all that a request says to the cache.

    Args:
        headers: lower-case names and raw values.
        body: the parsed request.
        default_mode: of requests that name none.

    Raises:
        RequestError: an unknown name or a bad value; names header or field.
    """
    values: dict[str, Any] = {"mode": default_mode}
    values.update(_from_dialect(body.get("cache")))
    values.update(_from_body(body.get("deja")))
    values.update(_from_headers(headers))
    return Directives(**values)


def _from_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for raw_name, raw_value in headers:
        if raw_name == b"cache-control":
            values.update(_cache_control(raw_value.decode("latin-1")))
        elif raw_name.startswith(b"x-deja-"):
            name = raw_name.decode("latin-1")
            label = "-".join(part.capitalize() for part in name.split("-")).replace("-Ttl", "-TTL")
            if name not in HEADERS:
                raise _bad(label, f"no such header; known are {', '.join(sorted(HEADERS))}")
            field = HEADERS[name]
            values[field] = _PARSERS[field](label, _header_text(label, raw_value))
    return values


def _header_text(label: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise _bad(label, "send it as UTF-8") from None


def _from_body(own: Any) -> dict[str, Any]:
    if own is None:
        return {}
    if not isinstance(own, Mapping):
        raise _bad("deja", "make it an object")
    values: dict[str, Any] = {}
    for name, value in own.items():
        label = f"deja.{name}"
        if name not in BODY_FIELDS:
            raise _bad(label, f"no such field; known are {', '.join(sorted(BODY_FIELDS))}")
        if value is not None:
            values[name] = _PARSERS[name](label, value)
    return values


def _from_dialect(dialect: Any) -> dict[str, Any]:
    """LiteLLM's `cache` object: ttl, s-maxage, no-cache, no-store, namespace, use-cache."""
    if dialect is None:
        return {}
    if not isinstance(dialect, Mapping):
        raise _bad("cache", 'make it an object such as {"no-cache": true}')
    values: dict[str, Any] = {}
    for name, value in dialect.items():
        label = f"cache.{name}"
        if name not in _DIALECT_FIELDS:
            raise _bad(label, f"no such field; known are {', '.join(sorted(_DIALECT_FIELDS))}")
        if value is None:
            continue
        if name == "ttl":
            values["ttl_s"] = _ttl(label, value)
        elif name in ("s-maxage", "s-max-age"):
            values["max_age_s"] = _seconds(label, value, least=0)
        elif name == "namespace":
            values["namespace"] = _namespace(label, value)
        elif name in ("no-cache", "no-store"):
            values[name.replace("-", "_")] = _boolean(label, value)
        elif not _boolean(label, value):  # use-cache: false
            values["mode"] = Mode.OFF
    return values


def _cache_control(text: str) -> dict[str, Any]:
    """RFC 9111 section 5.2.1; what we do not know is ignored."""
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, argument = part.strip().partition("=")
        match name.strip().lower():
            case "no-cache":
                values["no_cache"] = True
            case "no-store":
                values["no_store"] = True
            case "only-if-cached":
                values["only_if_cached"] = True
            case "stale-if-error":
                values["stale_if_error_s"] = _seconds(
                    "Cache-Control: stale-if-error", argument.strip().strip('"'), least=0
                )
            case "max-age":
                values["max_age_s"] = _seconds("Cache-Control: max-age", argument.strip().strip('"'), least=0)
    return values


def _mode(label: str, value: Any) -> Mode:
    try:
        return Mode(value)
    except ValueError:
        raise _bad(label, f"choose one of {', '.join(Mode)}") from None


def _memory(label: str, value: Any) -> MemoryUse:
    try:
        return MemoryUse(value)
    except ValueError:
        raise _bad(label, f"choose one of {', '.join(MemoryUse)}") from None


def _seconds(label: str, value: Any, *, least: int) -> int:
    number = value
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        number = int(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise _bad(label, f"make it a whole number of seconds, at least {least}")
    return min(number, MAX_TTL_S)


def _ttl(label: str, value: Any) -> int:
    return _seconds(label, value, least=1)


def _name(label: str, value: Any) -> str:
    if not names.is_name(value):
        raise _bad(label, names.MEND)
    return str(value)


def _namespace(label: str, value: Any) -> str:
    return "" if value == "" else _name(label, value)


def _tags(label: str, value: Any) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise _bad(label, "make it a list of names")
    tags = tuple(dict.fromkeys(_name(label, part) for part in parts if part != ""))
    if len(tags) > MAX_TAGS:
        raise _bad(label, f"name at most {MAX_TAGS} tags")
    return tags


def _confidence(label: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0.0 <= number <= 1.0:
        raise _bad(label, "make it a number from 0 to 1")
    return float(number)


def _text(label: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT_CHARS:
        raise _bad(label, f"make it a non-empty text of at most {_MAX_TEXT_CHARS} characters")
    return value.strip()


def _boolean(label: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _bad(label, "make it true or false")


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "mode": _mode,
    "namespace": _namespace,
    "ttl_s": _ttl,
    "tags": _tags,
    "session": _name,
    "agent": _name,
    "confidence": _confidence,
    "memory": _memory,
    "query": _text,
    "context": _text,
}


def _bad(param: str, mend: str) -> RequestError:
    return RequestError(f"`{param}` cannot be used: {mend}.", param=param, code="invalid_cache_directive")
