"""Events as CloudEvents 1.0: JSON -> checked fields of a stream's entry, and back; what a reader asks for.

An entry holds each attribute as text under its own name, and the payload as JSON text in `data`, whatever its type: any client reads it
with one `json.loads`. Attributes that an event lacks are left out. Extension attributes keep their names; numbers and truth values among
them become text, as CloudEvents writes them where there are no types.

An answer shows an event as it was sent, with `event_id` (its place in the stream) and `appended_at`. Those two hold an underscore, which no
attribute may, so that they hide none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core import names
from proxy.errors import RequestError

SPEC_VERSION = "1.0"
DEFAULT_STREAM = "default"
MAX_BATCH = 1000
"""Events of one request: a few milliseconds of Redis' one thread."""
MAX_EXTENSIONS = 32
MAX_ATTRIBUTE_CHARS = 1024
"""Of one attribute: far above a URL; what is larger belongs in `data`."""
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"

Fields = dict[str, str]
"""Fields of an entry, in the order in which they are written."""

_TEXTS = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
_EXTENSION = re.compile(r"[a-z0-9]{1,64}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an event gets that does not say.

    Attributes:
        agent: who appends, as the request's header says; None for nobody named.
        session: the same for the session.
        mint_id: makes an id, unique as CloudEvents asks.
        max_bytes: of one event, all its fields together.
    """

    agent: str | None
    session: str | None
    mint_id: Callable[[], str]
    max_bytes: int


def batch_of(body: Any, content_type: str) -> list[Any]:
    """The events of a request's body: one event, an array of them, or {"events": […]}.

    Raises:
        RequestError: 400, it is none of these, is empty, is too long, or is not what its content type says.
    """
    is_batch = isinstance(body, list)
    if (content_type == CLOUDEVENT and is_batch) or (content_type == CLOUDEVENTS_BATCH and not is_batch):
        what = "an array" if is_batch else "no array"
        raise _bad("body", f"it is {what}, and its content type is {content_type}")
    found = body
    if isinstance(body, dict):
        found = body["events"] if "events" in body and "type" not in body else [body]
    if not isinstance(found, list):
        raise _bad("body", 'send an event, an array of events, or {"events": [...]}')
    if not 1 <= len(found) <= MAX_BATCH:
        raise _bad("body", f"send 1 to {MAX_BATCH} events at a time, not {len(found)}", code="batch_too_large")
    return found


def fields_of(event: Any, where: str, defaults: Defaults) -> Fields:
    """An event as fields of a stream's entry.

    Args:
        event: parsed JSON.
        where: what an error calls it: `events[3]`.
        defaults: for what it does not say.

    Raises:
        RequestError: 400 naming the attribute; 413, it is too large.
    """
    if not isinstance(event, dict):
        raise _bad(where, "an event is a JSON object")
    version = event.get("specversion", SPEC_VERSION)
    if version != SPEC_VERSION:
        raise _bad(f"{where}.specversion", f'Deja takes CloudEvents "{SPEC_VERSION}"')
    fields: Fields = {"specversion": SPEC_VERSION}
    for name in _TEXTS:
        value = event.get(name)
        if value is None:
            value = _default(name, where, event, defaults)
        if value is not None:
            fields[name] = _text(value, name, where)
    for name, default in (("agent", defaults.agent), ("session", defaults.session)):
        value = event.get(name, default)
        if value is not None:
            fields[name] = names.checked(value, f"{where}.{name}")
    fields |= _extensions(event, where, fields)
    fields |= _data(event, where)
    _check_size(fields, where, defaults.max_bytes)
    return fields


def event_of(event_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """A stream's entry as an answer shows it; what other clients wrote there in their own way, too."""
    shown: dict[str, Any] = {"event_id": event_id, "appended_at": int(event_id.partition("-")[0]) / 1000}
    shown |= fields
    if "data" in fields:
        try:
            shown["data"] = orjson.loads(fields["data"])
        except orjson.JSONDecodeError:
            shown["data"] = fields["data"]  # not written by Deja
    return shown


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events a reader wants; empty tuples let everything pass.

    Attributes:
        types: any of these; one that ends in `*` means all that begin so.
        agents: any of these.
        sessions: any of these.
    """

    types: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.types or self.agents or self.sessions)

    def passes(self, fields: Mapping[str, str]) -> bool:
        """Whether an entry is wanted."""
        return (
            (not self.agents or fields.get("agent") in self.agents)
            and (not self.sessions or fields.get("session") in self.sessions)
            and (not self.types or any(_is_of(fields.get("type", ""), wanted) for wanted in self.types))
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a stream is kept.

    Attributes:
        max_events: so many, about.
        max_age_s: seconds an event is kept.
        max_unread_events: so many where a consumer group has not got on; the oldest go all the same past it.
    """

    max_events: int
    max_age_s: int
    max_unread_events: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim did.

    Attributes:
        removed: events that are gone now.
        missed: those of them that a consumer group had not been given, summed over the groups.
        left: events in the stream.
        held_by: the consumer group for which more are kept than was wished, None if none.
    """

    removed: int
    missed: int
    left: int
    held_by: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event given to a consumer.

    Attributes:
        event_id: its place in the stream, by which it is acknowledged.
        fields: as in the stream.
        deliveries: how often it has been given to anyone of the group, this time included.
    """

    event_id: str
    fields: dict[str, str]
    deliveries: int


@dataclass(frozen=True, slots=True)
class GroupRead:
    """What a consumer was given.

    Attributes:
        events: may be empty.
        position: the last event that the group has been given ever.
        missed_total: events that were trimmed before the group dealt with them, since it was made.
    """

    events: Sequence[Delivery]
    position: str
    missed_total: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as its owner sees it.

    Attributes:
        name: of the stream.
        events: how many are in it.
        first_id: the oldest, None if there is none.
        last_id: the newest that was ever appended, None if there was none.
        groups: how many consumer groups it has.
        retention: what is kept.
    """

    name: str
    events: int
    first_id: str | None
    last_id: str | None
    groups: int
    retention: Retention


@dataclass(frozen=True, slots=True)
class Consumer:
    """A member of a group.

    Attributes:
        name: as it calls itself.
        pending: events given to it and not acknowledged.
        idle_s: seconds since it last asked.
    """

    name: str
    pending: int
    idle_s: float


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A consumer group.

    Attributes:
        name: of the group.
        position: the last event it has been given.
        pending: events given and not acknowledged.
        lag: events it has not been given yet; None where Redis cannot tell, as before a group that began in the middle has caught up.
        missed_total: events that were trimmed before it dealt with them, since it was made.
        consumers: its members.
    """

    name: str
    position: str
    pending: int
    lag: int | None
    missed_total: int
    consumers: tuple[Consumer, ...]


def no_stream(stream: str) -> RequestError:
    """There is no such stream."""
    return RequestError(
        f"There is no stream {stream} for this credential: the first event appended to it makes it.",
        status=404,
        code="stream_not_found",
        param="stream",
    )


def no_group(group: str, stream: str) -> RequestError:
    """There is no such group."""
    make = f"PUT /v1/events/groups/{group}?stream={stream}"
    return RequestError(
        f"The stream {stream} has no consumer group {group} for this credential: make it with {make}.",
        status=404,
        code="group_not_found",
        param="group",
    )


def too_many_streams() -> RequestError:
    """A tenant has all the streams it may have."""
    return RequestError(
        "There are as many streams as there may be: delete some, or raise DEJA_EVENTS__MAX_STREAMS. Nothing was changed.",
        status=409,
        code="too_many_streams",
        param="stream",
    )


def too_many_groups(limit: int) -> RequestError:
    """A stream has all the groups it may have."""
    return RequestError(
        f"The stream has {limit} consumer groups, which is all it may have: delete some. Nothing was changed.",
        status=409,
        code="too_many_groups",
        param="group",
    )


def _default(name: str, where: str, event: Mapping[str, Any], defaults: Defaults) -> str | None:
    match name:
        case "id":
            return defaults.mint_id()
        case "source":
            agent = event.get("agent", defaults.agent)
            return f"/agents/{agent}" if agent else "/"
        case "type":
            raise _bad(f"{where}.type", "every event needs a type, such as com.example.order.created")
    return None


def _text(value: object, name: str, where: str) -> str:
    param = f"{where}.{name}"
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ATTRIBUTE_CHARS or _UNPRINTABLE.search(value):
        raise _bad(param, f"it is to be a text of 1 to {MAX_ATTRIBUTE_CHARS} characters without line breaks")
    if name == "time" and not _TIME.match(value):
        raise _bad(param, "it is to be a time as RFC 3339 writes it, such as 2026-03-01T12:00:00Z")
    return value


def _extensions(event: Mapping[str, Any], where: str, known: Fields) -> Fields:
    found: Fields = {}
    for name, value in event.items():
        if name in known or name in ("data", "data_base64") or value is None:
            continue
        if not _EXTENSION.match(name):
            raise _bad(f"{where}.{name[:64]}", "names of attributes are lower-case letters and digits, 64 at most")
        found[name] = _scalar(value, f"{where}.{name}")
    if len(found) > MAX_EXTENSIONS:
        raise _bad(where, f"it has more than {MAX_EXTENSIONS} extension attributes; put them into data")
    return found


def _scalar(value: object, param: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() if -_INT32 <= value < _INT32:
            return str(value)
        case str() if len(value) <= MAX_ATTRIBUTE_CHARS and not _UNPRINTABLE.search(value):
            return value
    raise _bad(
        param,
        f"an extension attribute is a text of up to {MAX_ATTRIBUTE_CHARS} characters, a 32-bit number or a truth value",
    )


def _data(event: Mapping[str, Any], where: str) -> Fields:
    if "data_base64" in event:
        value = event["data_base64"]
        if "data" in event or not isinstance(value, str) or not _BASE64.match(value):
            raise _bad(f"{where}.data_base64", "it is to be base64, and there is to be no data beside it")
        return {"data_base64": value}
    if "data" not in event:
        return {}
    try:
        return {"data": orjson.dumps(event["data"]).decode()}
    except orjson.JSONEncodeError:  # the parser takes four times as many levels as the writer
        raise _bad(
            f"{where}.data", "it is nested too deeply; 250 levels are the limit", code="nesting_too_deep"
        ) from None


def _check_size(fields: Fields, where: str, max_bytes: int) -> None:
    if 4 * (sum(map(len, fields)) + sum(map(len, fields.values()))) <= max_bytes:
        return  # however its characters are written; counting their bytes would cost more than all the rest
    size = sum(len(part.encode()) for pair in fields.items() for part in pair)
    if size > max_bytes:
        raise RequestError(
            f"`{where}` has {size} bytes, and {max_bytes} is the limit: keep the payload elsewhere and refer to it, "
            "or raise DEJA_EVENTS__EVENT_BYTES. Nothing was appended.",
            status=413,
            code="event_too_large",
            param=where,
        )


def _is_of(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted


def _bad(param: str, mend: str, *, code: str = "invalid_event") -> RequestError:
    return RequestError(f"`{param}` cannot be used: {mend}. Nothing was appended.", param=param, code=code)
