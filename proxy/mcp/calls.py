"""What a tool is: a name, words and a schema for a model, and how arguments become a request to a route of Deja."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from proxy.errors import RequestError

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a route.

    Attributes:
        method: in capitals.
        path: percent-encoded, from /v1 on.
        query: parameters; those that are None are left out.
        body: a JSON value, None for none.
        headers: on top of the caller's credential.
        if_missing: what to send instead where the answer is 404; None for nothing.
    """

    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    if_missing: Call | None = None

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query as pairs, lists as many."""
        pairs: list[tuple[str, str]] = []
        for name, value in self.query.items():
            values = value if isinstance(value, list) else [value]
            pairs += [(name, _word(each)) for each in values if each is not None]
        return pairs


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route said.

    Attributes:
        status: of HTTP.
        value: the body, parsed; None where it is empty or no JSON.
    """

    status: int
    value: Any


class Caller(Protocol):
    """Sends a request to a route."""

    async def __call__(self, call: Call, /) -> Answer:
        """What the route says; DejaError if it says nothing."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        name: as models call it.
        description: for the model: what it does, when to use it, what comes back.
        properties: JSON schemas of its arguments.
        required: names of those it cannot do without.
        request: the request that arguments stand for; RequestError where they stand for none. None: a tool without a route.
        is_reading: it changes nothing.
        is_destroying: it may remove or overwrite what is there.
        is_whole: its answer is never shortened.
    """

    name: str
    description: str
    properties: Mapping[str, Any]
    required: tuple[str, ...]
    request: Callable[[Arguments], Call] | None
    is_reading: bool = False
    is_destroying: bool = False
    is_whole: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments; unknown ones are an error, so that a misspelt wish is not silently dropped."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }


def path(*parts: str) -> str:
    """A path below /v1.

    Raises:
        RequestError: 400, a part would be another path than it says.
    """
    for part in parts:
        if not part or any(step in ("", ".", "..") for step in part.split("/")):
            raise RequestError(
                f"{part[:128]!r} cannot be used as a name: no part between slashes may be empty, `.` or `..`.",
                code="invalid_name",
            )
    return "/v1/" + "/".join(quote(part, safe="/:@") for part in parts)


def one_part(name: str, param: str) -> str:
    """A name that cannot hold a slash; RequestError 400 where it does."""
    if "/" in name:
        raise RequestError(f"`{param}` cannot hold a slash.", param=param, code="invalid_name")
    return name


def given(arguments: Arguments, *names: str) -> dict[str, Any]:
    """The arguments of these names that were given; null counts as not given."""
    return {name: arguments[name] for name in names if arguments.get(name) is not None}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
