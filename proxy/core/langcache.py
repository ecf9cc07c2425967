"""LangCache's request bodies, understood: what may stand in them, and what they ask for. Pure.

The shape is that of Redis LangCache's public REST API and of its SDK. A field nobody knows is refused, not ignored: it may be one
that narrows a search, and an answer that it would have kept out is a wrong one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from proxy.core.models import HitKind
from proxy.core.named_caches import MAX_ATTRIBUTES, Content, Search, canonical, conversation
from proxy.errors import RequestError

MAX_PROMPT_CHARS = 32_768
"""As for a named query of a completion; what is longer than the embedder reads is compared exactly."""
MAX_TTL_MS = 31_556_952_000
"""LangCache's limit: a year of 365.2425 days."""
MAX_RESULTS = 10
"""More are never returned: each has to be judged."""
MAX_CONTEXT_TURNS = 1000
_MAX_VALUE_CHARS = 500  # LangCache's limit
_CACHE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", re.ASCII)
_ENTRY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ATTRIBUTE = re.compile(r"[a-zA-Z0-9_-]{1,32}", re.ASCII)  # LangCache's rule

_SET_FIELDS = frozenset({"prompt", "response", "attributes", "ttlMillis"})
_SEARCH_FIELDS = frozenset({"prompt", "similarityThreshold", "searchStrategies", "attributes", "maxResults"})
_CONVERSATION_FIELDS = _SEARCH_FIELDS | {"context"}
_DELETE_FIELDS = frozenset({"attributes"})


@dataclass(frozen=True, slots=True)
class SetWish:
    """What is to be stored, and for how many milliseconds (None: as long as the server keeps things)."""

    content: Content
    ttl_ms: int | None


def cache_id(raw: str) -> str:
    """The name of a cache.

    Raises:
        RequestError: no name can look like this.
    """
    if not _CACHE_ID.fullmatch(raw):
        _refuse("cacheId", "pattern", "must be 1 to 128 letters, digits or _ . : @ -, and begin with a letter or digit")
    return raw


def is_entry_id(raw: str) -> bool:
    """Whether this can be an entry's id."""
    return _ENTRY_ID.fullmatch(raw) is not None


def read_set(body: Any, *, response_bytes: int) -> SetWish:
    """What `POST …/entries` asks for.

    Args:
        body: parsed JSON.
        response_bytes: the largest response that is stored.

    Raises:
        RequestError: 400 naming the field, or 413.
    """
    fields = _fields(body, _SET_FIELDS)
    response = _text(fields, "response")
    if len(response.encode()) > response_bytes:
        raise RequestError(
            f"`response` is larger than {response_bytes} bytes; send less, or raise DEJA_LIMITS__ANSWER_BYTES.",
            status=413,
            param="response",
        )
    ttl_ms = _number(fields, "ttlMillis", least=1, most=MAX_TTL_MS)
    return SetWish(Content(_prompt(fields), response, _attributes(fields)), ttl_ms)


def read_search(body: Any) -> Search:
    """What `POST …/entries/search` asks for.

    Raises:
        RequestError: 400 naming the field.
    """
    return _search(_fields(body, _SEARCH_FIELDS), ())


def read_conversation(body: Any) -> Search:
    """What `POST …/conversations/search` asks for.

    A prompt with turns before it is looked for as the whole of it, and exactly: what it means, only they tell.

    Raises:
        RequestError: 400 naming the field.
    """
    fields = _fields(body, _CONVERSATION_FIELDS)
    context = [] if fields.get("context") is None else fields["context"]
    is_texts = isinstance(context, list) and all(isinstance(turn, str) for turn in context)
    if not is_texts or len(context) > MAX_CONTEXT_TURNS:
        _refuse("context", "type", f"must be a list of at most {MAX_CONTEXT_TURNS} texts")
    return _search(fields, tuple(context))


def read_delete(body: Any) -> dict[str, str]:
    """Which entries `DELETE …/entries` is about: those that have all of these attributes; {} for all.

    Raises:
        RequestError: 400 naming the field.
    """
    fields = _fields(body, _DELETE_FIELDS)
    if fields.get("attributes") is None:
        _refuse("attributes", "required", "must be there; {} deletes every entry of the cache")
    return _attributes(fields)


def _search(fields: Mapping[str, Any], context: tuple[str, ...]) -> Search:
    prompt = _prompt(fields)
    if context:
        prompt = conversation(context, prompt)
        if len(prompt) > MAX_PROMPT_CHARS:
            _refuse("context", "maxLength", f"must, with the prompt, have at most {MAX_PROMPT_CHARS} characters")
    return Search(
        prompt=prompt,
        strategies=_strategies(fields),
        attributes=_attributes(fields),
        threshold=_threshold(fields),
        max_results=min(_number(fields, "maxResults", least=1, most=1 << 31) or 1, MAX_RESULTS),
        is_repeat_only=bool(context),
    )


def _fields(body: Any, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        _refuse("body", "type", "must be a JSON object")
    for name in body:
        if name not in known:
            _refuse(name[:64], "unknown", f"is not known here; there are {', '.join(sorted(known))}")
    return body


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        _refuse(name, "required" if value is None else "type", "must be a text")
    return value


def _prompt(fields: Mapping[str, Any]) -> str:
    prompt = _text(fields, "prompt")
    if not canonical(prompt):
        _refuse("prompt", "minLength", "must not be empty")
    if len(prompt) > MAX_PROMPT_CHARS:
        _refuse("prompt", "maxLength", f"must have at most {MAX_PROMPT_CHARS} characters")
    return prompt


def _attributes(fields: Mapping[str, Any]) -> dict[str, str]:
    attributes = fields.get("attributes")
    if attributes is None:
        return {}
    if not isinstance(attributes, dict):
        _refuse("attributes", "type", "must be an object of texts")
    if len(attributes) > MAX_ATTRIBUTES:
        _refuse("attributes", "maxProperties", f"must have at most {MAX_ATTRIBUTES} members")
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name):
            _refuse("attributes", "propertyNames", "must have names of 1 to 32 letters, digits, _ or -")
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_VALUE_CHARS:
            _refuse(f"attributes.{name}", "maxLength", f"must be a text of 1 to {_MAX_VALUE_CHARS} characters")
    return attributes


def _strategies(fields: Mapping[str, Any]) -> tuple[HitKind, ...]:
    wanted = fields.get("searchStrategies")
    if wanted is None or wanted == []:
        return (HitKind.SEMANTIC,)
    known = {kind.value: kind for kind in HitKind}
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in known for name in wanted):
        _refuse("searchStrategies", "enum", f"must be a list of {' and '.join(known)}")
    return tuple(dict.fromkeys(known[name] for name in wanted))


def _threshold(fields: Mapping[str, Any]) -> float:
    value = fields.get("similarityThreshold")
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value <= 1):
        _refuse("similarityThreshold", "range", "must be a number from 0 to 1")
    return float(value)


def _number(fields: Mapping[str, Any], name: str, *, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        _refuse(name, "range", f"must be a whole number from {least} to {most}")
    return value


def _refuse(field: str, rule: str, mend: str) -> NoReturn:
    raise RequestError(f"`{field}` {mend}.", param=field, code=rule)
