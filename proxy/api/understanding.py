"""What a request's bytes mean: parsed, in canonical form, with what it asks of the cache. The same bytes are read once.

Agents send the same request again and again, and reading one costs more than finding its answer. What is remembered depends on nothing
but the body, the query and the headers that are part of its meaning; whose request it is, is asked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from proxy.api.asgi import Scope
from proxy.api.model_requests import DISTINCT_PREFIXES, distinctions, parse_json, without_own_fields
from proxy.core.directives import parse_directives
from proxy.core.keys import Place
from proxy.core.models import Directives, Mode
from proxy.ports import Headers

_MEANT_PREFIXES = (b"cache-control", b"x-deja-", *DISTINCT_PREFIXES)
"""Of request headers that say something about the answer; all others only travel."""
REMEMBERED_BYTES = 8 << 20
"""Of what is remembered, about: 3,000 short requests."""
READ_BYTES, READ_TIMES = 2_000, 4
"""What was read from a body takes so much, and so many times the body's own size: 2.0 KB of 126 bytes, 4.5 of 607, places besides."""
LARGEST_BYTES = 16 << 10
"""A larger body is hardly sent twice, and would push many out."""


R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Reads(Protocol[R_co]):
    """What a model API knows of the bodies of its requests: a dialect does, and embeddings do."""

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> R_co:
        """Bring a parsed body into canonical form; raises RequestError."""

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of what the model is given, about."""

    def user_of(self, body: Mapping[str, Any]) -> str | None:
        """Who the request says its user is."""


@dataclass(frozen=True, slots=True)
class Understood(Generic[R]):
    """A request, whoever sent it.

    Attributes:
        request: canonical form.
        directives: what is asked of the cache.
        sent: the parsed body as sent; not to be changed.
        body: bytes that travel upstream; Deja's own fields already gone.
        distinctions: values of headers and query that make answers different.
        prompt_chars: length of all messages, for a usage estimate.
        user: whose request it is, None if it names nobody.
        places: where they belong, by tenant, upstream and memories; filled in by who works it out.
    """

    request: R
    directives: Directives
    sent: Mapping[str, Any]
    body: bytes
    distinctions: tuple[str, ...]
    prompt_chars: int
    user: str | None
    places: dict[tuple[str, str, str | None], Place] = field(default_factory=dict)


class Understanding(Generic[R]):
    """Reads requests of one model API.

    Args:
        api: the dialect, or what stands for one.
        default_mode: of requests that name none.
        key_user: whether the `user` field keeps answers apart.

    Attributes:
        key_user: the same.
    """

    def __init__(self, api: Reads[R], *, default_mode: Mode, key_user: bool) -> None:
        self.key_user = key_user
        self._api = api
        self._default_mode = default_mode
        self._remembered: OrderedDict[tuple[bytes, str, bytes, Headers], Understood[R]] = OrderedDict()
        self._size_bytes = 0

    def of(self, scope: Scope, raw: bytes, tenant: str = "") -> Understood[R]:
        """Read a request.

        What one tenant's request made known is not at hand for another's: how long an answer takes must not tell what others ask.

        Raises:
            RequestError: it cannot be served as sent.
        """
        query: bytes = scope["query_string"]
        meant = tuple([pair for pair in scope["headers"] if pair[0].startswith(_MEANT_PREFIXES)])
        key = (raw, tenant, query, meant)
        found = self._remembered.get(key)
        if found is not None:
            self._remembered.move_to_end(key)
            return found
        found = self._read(scope, raw, meant)
        if len(raw) <= LARGEST_BYTES:
            self._remembered[key] = found
            self._size_bytes += _size_bytes(raw)
            while self._size_bytes > REMEMBERED_BYTES:
                (oldest, *_), _ = self._remembered.popitem(last=False)
                self._size_bytes -= _size_bytes(oldest)
        return found

    def _read(self, scope: Scope, raw: bytes, meant: Headers) -> Understood[R]:
        body = parse_json(raw)
        directives = parse_directives(meant, body, default_mode=self._default_mode)
        return Understood(
            request=self._api.canonical(body, key_user=self.key_user),
            directives=directives,
            sent=body,
            body=without_own_fields(raw, body),
            distinctions=distinctions(scope),
            prompt_chars=self._api.prompt_chars(body),
            user=self._api.user_of(body),
        )


def _size_bytes(raw: bytes) -> int:
    return READ_BYTES + READ_TIMES * len(raw)
