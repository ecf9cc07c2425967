"""`deja replay`: a session's steps once more, from the cache and never from a provider; and forks of it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import orjson

from proxy.commands import asking, terminal
from proxy.core.dialects import BY_PATH

_PAGE_STEPS = 100
_PAGE_EVENTS = 1000
_SAID_CHARS = 60
_FAILING = ("differs", "gone")


def run(root: str, session: str, *, api_key: str | None, as_json: bool) -> bool:
    """Replay a session and tell it on standard output; whether every answer was there and the same. Raises AskingError."""
    found = _replayed(root, session, api_key=api_key)
    if as_json:
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(found, _timeline(root, session, api_key=api_key))
    return not any(step["verdict"] in _FAILING for step in found["steps"]) and not found["skipped"]


def fork(root: str, session: str, *, at: int, name: str | None, api_key: str | None) -> str:
    """Fork a session, and say how to go on from there. Raises AskingError."""
    body: dict[str, Any] = {"at": at} if name is None else {"at": at, "as": name}
    made = asking.post(root, f"{_path(session)}/fork", body, api_key=api_key)
    return (
        f"{made['id']} begins with the first {made['forked_at']} steps of {made['parent']}. "
        f"Go on from there with the header X-Deja-Session: {made['id']}"
    )


def _path(session: str) -> str:
    return f"sessions/{quote(session, safe='/')}"


def _replayed(root: str, session: str, *, api_key: str | None) -> dict[str, Any]:
    """All pages of the replay as one."""
    found: dict[str, Any] = {}
    steps: list[dict[str, Any]] = []
    while not found or found["has_more"]:
        after = steps[-1]["step"] if steps else 0
        found = asking.get(root, f"{_path(session)}/replay", api_key=api_key, after=after, limit=_PAGE_STEPS)
        steps += found["steps"]
    return {**found, "steps": steps}


def recorded(root: str, session: str, *, api_key: str | None) -> list[dict[str, Any]]:
    """All steps of a recording, whole. Raises AskingError."""
    steps: list[dict[str, Any]] = []
    while True:
        after = steps[-1]["step"] if steps else 0
        page = asking.get(root, f"{_path(session)}/recording", api_key=api_key, after=after, limit=_PAGE_STEPS)
        steps += page["steps"]
        if not page["has_more"]:
            return steps


def _timeline(root: str, session: str, *, api_key: str | None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = asking.get(root, f"{_path(session)}/timeline", api_key=api_key, after=after, limit=_PAGE_EVENTS)
        events += page["events"]
        after = page["last_id"]
        if not page["has_more"]:
            return events


def _show(found: dict[str, Any], events: list[dict[str, Any]]) -> None:
    steps = {step["request_id"]: step for step in found["steps"]}
    rows = [
        _row(event, steps.pop(event.get("request_id", ""), None) if _is_request(event) else None) for event in events
    ]
    rows += [_row({"at": step["at"], **step}, step) for step in steps.values()]  # the timeline is capped
    terminal.show_table(f"Session {found['session']}", ("at", "step", "what", "agent", "replay"), rows)
    for step in found["steps"]:
        for difference in step["differences"]:
            terminal.show(f"step {step['step']}: {difference}")
    terminal.show(_summary(found))


def _is_request(event: dict[str, Any]) -> bool:
    return event.get("type") == "deja.completion"


def _row(event: dict[str, Any], step: dict[str, Any] | None) -> tuple[str, ...]:
    at = time.strftime("%H:%M:%S", time.localtime(event["at"])) + f".{round(event['at'] % 1 * 1000) % 1000:03d}"
    agent = event.get("agent") or ""
    if step is None:
        return at, "", _what(event), agent, ""
    said = _said(step)
    reason = f" ({step['reason']})" if step["reason"] else ""
    verdict = step["verdict"] if step["verdict"] != "same" else f"same, from the {step['source']}"
    return at, str(step["step"]), f"{step['model']}: {step['outcome']}{reason}{said}", agent, verdict


def _what(event: dict[str, Any]) -> str:
    match event["type"]:
        case "deja.tool.call":
            return f"calls {event.get('tool', 'a tool')} ({event['bytes']} bytes)"
        case "deja.tool.result":
            return f"result of {event.get('tool', 'a tool')} ({event['bytes']} bytes)"
        case "deja.completion":
            return f"{event.get('model', '')}: {event.get('outcome', '')} (not recorded)"
    left_out = ("id", "schema", "event_id", "type", "at", "session", "agent")
    told = ", ".join(f"{name} {value}" for name, value in event.items() if name not in left_out)
    return f"{event['type'].removeprefix('deja.')}: {told}"


def _said(step: dict[str, Any]) -> str:
    """The first words of a step's answer, or the tools it calls."""
    message = (None if step["answer"] is None else BY_PATH[step["path"]].message_of(step["answer"])) or {}
    calls = [call.get("function", {}).get("name", "") for call in message.get("tool_calls") or ()]
    line = " ".join(str(message.get("content") or "").split()) or ", ".join(f"{name}()" for name in calls)
    if not line:
        return ""
    return f" → {line if len(line) <= _SAID_CHARS else f'{line[: _SAID_CHARS - 1]}…'}"


def _summary(found: dict[str, Any]) -> str:
    steps = found["steps"]
    verdicts = [step["verdict"] for step in steps]
    sources = [step["source"] for step in steps if step["verdict"] == "same"]
    told = [f"{len(steps)} steps: {sources.count('cache')} from the cache"]
    told += (
        [f"{sources.count('record')} from the record, since the cache no longer holds them"]
        if "record" in sources
        else []
    )
    told += [f"{verdicts.count('no-answer')} that failed then, too"] if "no-answer" in verdicts else []
    told += [f"{verdicts.count('differs')} differ"] if "differs" in verdicts else []
    told += [f"{verdicts.count('gone')} gone"] if "gone" in verdicts else []
    told += [f"{found['skipped']} more were not recorded (DEJA_RECORDINGS__MAX_BYTES)"] if found["skipped"] else []
    forked = f" A fork of {found['parent']} at step {found['forked_at']}." if found["parent"] else ""
    return f"{', '.join(told)}.{forked}"
