"""Events of the journal and of a session's timeline: what each kind holds, and that none holds a prompt.

An event is flat text, as it goes into a Redis stream. All begin with the same fields:

    schema      rises when a field changes its meaning; added fields do not raise it
    event_id    the same however often the event is written: what an archive upserts by
    type        what happened
    at          unix seconds
    tenant, session, agent

A request leaves its tool results (they came with it), then itself, then the tool calls of its answer. Of tools there are names, ids, sizes:
arguments and results are the caller's data, and a hash of them could be guessed back from a short list of likely values. Names and ids
are written by models and callers, so they are cut, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

SCHEMA = "1"
COMPLETION = "deja.completion"
TOOL_CALL = "deja.tool.call"
TOOL_RESULT = "deja.tool.result"
FORK = "deja.session.fork"

MAX_TOOL_EVENTS = 64
"""Of one request and kind; OpenAI allows 128 tools, and agents that call more than a handful at once are rare."""
MAX_FIELDS = 24
MAX_VALUE_CHARS = 256
"""Of any text that a caller or a model wrote; names are 64 characters with OpenAI, ids 30 or so."""

Event = Mapping[str, str]


def head(
    kind: str, *, event_id: str, at: float, tenant: str, session: str | None, agent: str | None = None
) -> dict[str, str]:
    """The fields that every event begins with."""
    return {
        "schema": SCHEMA,
        "event_id": event_id,
        "type": kind,
        "at": f"{at:.3f}",
        "tenant": tenant,
        "session": session or "",
        "agent": agent or "",
    }


def note(
    kind: str, fields: Mapping[str, str], *, event_id: str, at: float, tenant: str, session: str, agent: str | None
) -> dict[str, str]:
    """An event of the coordination services: what happened to a task, an agent, a stream of events.

    Args:
        kind: such as `deja.task.completed`.
        fields: ids, states, counts; never payloads. Values are cut at `MAX_VALUE_CHARS`, fields past `MAX_FIELDS` left out.
        event_id: stable.
        at: unix seconds.
        tenant: whose.
        session: whose timeline it belongs to.
        agent: who did it, None if that is not known.
    """
    event = head(kind, event_id=event_id, at=at, tenant=tenant, session=session, agent=agent)
    for name, value in list(fields.items())[:MAX_FIELDS]:
        event.setdefault(name, _cut(value))
    return event


def tool_results(messages: Sequence[Mapping[str, Any]], *, base: Mapping[str, str], at: float) -> list[dict[str, str]]:
    """Events of the results that a request brought: those after the last assistant turn.

    Args:
        messages: of the request.
        base: the request's own event.
        at: when the request arrived.
    """
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].get("role") == "assistant"), None)
    if last is None:
        return []
    named = {call_id: name for call_id, name, _ in _calls(messages[last])}
    found = [message for message in messages[last + 1 :] if message.get("role") in ("tool", "function")]
    return [
        {
            **_of_request(base, TOOL_RESULT, f"r{number}", at),
            "tool": _cut(message.get("name") or named.get(_cut(message.get("tool_call_id")), "")),
            "tool_call_id": _cut(message.get("tool_call_id")),
            "bytes": str(_size(message.get("content"))),
        }
        for number, message in enumerate(found[:MAX_TOOL_EVENTS])
    ]


def tool_calls(answered: Mapping[str, Any] | None, *, base: Mapping[str, str]) -> list[dict[str, str]]:
    """Events of the tools that an answer calls.

    Args:
        answered: the answer's message, None when there was none.
        base: the request's own event.
    """
    found = list(_calls(answered or {}))[:MAX_TOOL_EVENTS]
    return [
        {
            **_of_request(base, TOOL_CALL, f"c{number}", float(base["at"])),
            "tool": name,
            "tool_call_id": call_id,
            "bytes": str(size),
        }
        for number, (call_id, name, size) in enumerate(found)
    ]


def _of_request(base: Mapping[str, str], kind: str, suffix: str, at: float) -> dict[str, str]:
    event = head(
        kind,
        event_id=f"{base['event_id']}.{suffix}",
        at=at,
        tenant=base["tenant"],
        session=base["session"],
        agent=base["agent"],
    )
    return {**event, "request_id": base["request_id"]}


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """(id, name, bytes of the arguments) of each tool that a message calls; whatever has another shape is left out."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") or call.get("custom") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            arguments = function.get("arguments", function.get("input"))
            yield _cut(call.get("id")), _cut(function.get("name")), _size(arguments)
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        yield "", _cut(legacy.get("name")), _size(legacy.get("arguments"))


def _cut(value: object) -> str:
    return value[:MAX_VALUE_CHARS] if isinstance(value, str) else "" if value is None else str(value)[:MAX_VALUE_CHARS]


def _size(value: object) -> int:
    """Bytes of a text in UTF-8, of anything else as JSON."""
    if value is None:
        return 0
    return len(value.encode(errors="replace")) if isinstance(value, str) else len(orjson.dumps(value, default=str))


def shown(stream_id: str, event: Event) -> dict[str, Any]:
    """An event as the timeline tells it: its place, `at` as a number, the tenant and all that is empty left out."""
    told: dict[str, Any] = {"id": stream_id}
    told |= {name: value for name, value in event.items() if value != "" and name != "tenant"}
    if "at" in told:
        told["at"] = float(told["at"])
    return told
