"""An agent's state: what a caller may write, what becomes of it, how it is shown.

Not here: what a write asks for and comes to (`agent_writes.py`), how values stand in a hash (`stored_values.py`), what versions a caller
expects (`versions.py`), Redis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core import names
from proxy.core.coordination.stored_values import from_stored, to_stored
from proxy.errors import RequestError

KNOWN = ("status", "current_task", "assigned_by", "checkpoint")
"""Fields every agent is shown with, null where they are not set; all others are the caller's own."""
KEPT_BY_DEJA = frozenset({"id", "object", "version", "last_updated", "alive", "alive_until"})
ACTIONS = frozenset({"watch", "history", "heartbeat"})
"""Last parts of routes below an agent; no agent's name may end in one of them, or the two could not be told apart."""
LINE_BYTES = 4096
"""Of `current_task` and `assigned_by`, which stand in every row of a list: a sentence or two."""
MAX_TTL_S = 86_400.0
"""Of a heartbeat: an agent not heard of for a day is watched by nobody."""
_CURSOR = re.compile(r"(\d{1,15}) (.+)\Z")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there may be.

    Attributes:
        agents: of one tenant.
        fields: of one agent.
        value_bytes: of one field as stored.
        state_bytes: of all fields of one agent, names too.
        history: transitions kept per agent, about.
        feed: transitions kept of all agents of a tenant, about.
        history_bytes: memory either of the two may take, about.
        deleted_ttl_s: seconds the history of a deleted agent is kept.
    """

    agents: int
    fields: int
    value_bytes: int
    state_bytes: int
    history: int
    feed: int
    history_bytes: int
    deleted_ttl_s: int


@dataclass(frozen=True, slots=True)
class State:
    """An agent as it is.

    Attributes:
        agent_id: its name.
        version: rises by one with each transition.
        last_updated: unix seconds of the last transition.
        alive: None if it never sent a heartbeat.
        alive_until: unix seconds at which its heartbeat runs out, or did.
        has_lapsed: it ran out, and the transition that tells so is still to come.
        fields: the caller's, as JSON values; none is None.
    """

    agent_id: str
    version: int
    last_updated: float
    alive: bool | None
    alive_until: float | None
    has_lapsed: bool
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Seat:
    """A place in the list of agents, which goes from high to low.

    Attributes:
        changed_ms: when the agent last changed, unix milliseconds.
        agent_id: its name.
    """

    changed_ms: int
    agent_id: str

    @property
    def cursor(self) -> str:
        """For a caller who wants what follows."""
        return f"{self.changed_ms} {self.agent_id}"

    @classmethod
    def of_cursor(cls, cursor: str) -> Seat:
        """The place a caller names.

        Raises:
            RequestError: 400.
        """
        found = _CURSOR.match(cursor)
        if found is None or not names.is_name(found[2]):
            raise _wrong("cursor", "give `next_cursor` as Deja sent it")
        return cls(int(found[1]), found[2])


def checked_id(value: str) -> str:
    """An agent's name, if it is one that routes can carry.

    Raises:
        RequestError: 400.
    """
    parts = names.checked(value, "agent_id").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise RequestError(
            "`agent_id` cannot be used: no part between slashes may be empty, `.` or `..`, which clients rewrite on the way.",
            param="agent_id",
            code="invalid_name",
        )
    if parts[-1] in ACTIONS:
        raise RequestError(
            f"`agent_id` cannot be used: `{parts[-1]}` at its end means a route here; give the agent another name.",
            param="agent_id",
            code="invalid_name",
        )
    return value


def checked_body(body: Any) -> dict[str, Any]:
    """The fields a caller wants to write; None is for removing one.

    Raises:
        RequestError: 400 naming the first field at fault.
    """
    if not isinstance(body, dict):
        raise RequestError('The body must be an object of fields, such as {"status": "working"}.', param="body")
    for name, value in body.items():
        _check_field(name, value)
    return body


def _check_field(name: str, value: Any) -> None:
    if name in KEPT_BY_DEJA:
        raise _wrong(name, "Deja keeps it itself; leave it out (the version goes into If-Match)", code="reserved_field")
    if not names.is_name(name):
        raise RequestError(f"A field has a name that cannot be used: {names.MEND}.", param="body", code="invalid_name")
    if value is None:
        return
    if name == "status" and not names.is_name(value):
        raise _wrong(name, names.MEND)
    if name in ("current_task", "assigned_by") and not isinstance(value, str):
        raise _wrong(name, "it must be text")


def _wrong(field: str, why: str, code: str = "invalid_value") -> RequestError:
    return RequestError(f"`{field}` cannot be used: {why}.", param=field, code=code)


def stored_fields(fields: Mapping[str, Any], bounds: Bounds) -> dict[str, str]:
    """The fields as the hash holds them, those to be removed left out.

    Raises:
        RequestError: 400, one is nested too deeply; 413, one is too large.
    """
    stored = {}
    for name, value in fields.items():
        if value is None:
            continue
        stored[name] = to_stored(value)
        limit = LINE_BYTES if name in ("current_task", "assigned_by") else bounds.value_bytes
        size = len(stored[name].encode())
        if size > limit:
            raise RequestError(
                f"`{name}` takes {size} bytes, more than {limit}: keep large things elsewhere and their address here.",
                status=413,
                code="state_too_large",
                param=name,
            )
    return stored


def state_of(agent_id: str, stored: Mapping[str, str], *, alive_until_ms: float | None, now_ms: float) -> State:
    """The state behind a hash.

    Args:
        agent_id: whose.
        stored: the hash.
        alive_until_ms: when its heartbeat runs out, None if that has been written down, or there was none.
        now_ms: Redis' time.
    """
    was_alive = {"true": True, "false": False}.get(stored.get("alive", ""))
    has_lapsed = alive_until_ms is not None and alive_until_ms <= now_ms
    until = stored.get("alive_until") if alive_until_ms is None else alive_until_ms / 1000
    return State(
        agent_id=agent_id,
        version=int(stored["version"]),
        last_updated=float(stored["last_updated"]),
        alive=False if has_lapsed else was_alive,
        alive_until=None if until is None else float(until),
        has_lapsed=has_lapsed,
        fields={name: from_stored(value) for name, value in stored.items() if name not in KEPT_BY_DEJA},
    )


def shown(state: State) -> dict[str, Any]:
    """An agent's whole state for a caller."""
    known = {name: state.fields.get(name) for name in KNOWN}
    free = {name: state.fields[name] for name in sorted(state.fields) if name not in known}
    return _kept(state, "agent") | known | free


def summary(state: State) -> dict[str, Any]:
    """An agent's row in a list: without the checkpoint and the caller's own fields, which may be large."""
    return _kept(state, "agent.summary") | {name: state.fields.get(name) for name in KNOWN if name != "checkpoint"}


def _kept(state: State, kind: str) -> dict[str, Any]:
    return {
        "id": state.agent_id,
        "object": kind,
        "version": state.version,
        "last_updated": state.last_updated,
        "alive": state.alive,
        "alive_until": state.alive_until,
    }


def transition(entry_id: str, entry: Mapping[str, str]) -> dict[str, Any]:
    """An entry of the history for a caller; `changed` holds whole new values, null for a field that went."""
    changed = {name[4:]: from_stored(value) for name, value in entry.items() if name.startswith("set:")}
    changed |= {name[6:]: None for name in entry if name.startswith("unset:")}
    return {
        "id": entry_id,
        "object": "agent.transition",
        "type": entry["type"],
        "agent": entry["agent"],
        "version": int(entry["version"]),
        "at": float(entry["at"]),
        "changed": changed,
    }
