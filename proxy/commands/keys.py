"""`deja keys`: keys of a running Deja, made, listed, rotated and revoked through its /admin routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.commands import asking
from proxy.commands.asking import AskingError
from proxy.secret import ADMIN_KEY_FILE, read_local_admin_key
from proxy.settings import Settings

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(\d{1,9})([smhd])\Z")


def admin_key(settings: Settings, given: str | None) -> str:
    """The key to administer with: as given, else the one in the data directory. Raises AskingError."""
    found = given or read_local_admin_key(settings)
    if found is None:
        raise AskingError(
            f"No admin key: run this as the user and on the machine of `deja serve`, whose data directory holds one ({ADMIN_KEY_FILE}), "
            "or give one of DEJA_AUTH__ADMIN_KEYS with --admin-key."
        )
    return found


def seconds(span: str) -> int:
    """What `90d`, `24h`, `15m` or `30s` is in seconds. Raises AskingError."""
    match = _SPAN.match(span)
    if match is None:
        raise AskingError(f"{span!r} is no span of time: write 90d, 24h, 15m or 30s.")
    return int(match[1]) * _UNITS_S[match[2]]


def create(root: str, wanted: Mapping[str, Any], *, key: str) -> str:
    """Make a key; what to tell of it. Raises AskingError."""
    made = asking.post(root, "/admin/keys", {name: value for name, value in wanted.items() if value}, api_key=key)
    return f"{_row(made)}\n\n{_told_once(made)}"


def listed(root: str, *, key: str) -> str:
    """All keys, one a line. Raises AskingError."""
    found = asking.get(root, "/admin/keys", api_key=key)["data"]
    return "\n".join(map(_row, found)) or "There are no keys; `deja keys create NAME` makes one."


def rotate(root: str, key_id: str, *, grace_s: int | None, key: str) -> str:
    """Put a new key in a key's place; what to tell of it. Raises AskingError."""
    body = {} if grace_s is None else {"grace_s": grace_s}
    made = asking.post(root, f"/admin/keys/{key_id}/rotate", body, api_key=key)
    return f"The old key is good until {_moment(made['previous_until'])}; tenant and data stay the same.\n\n{_told_once(made)}"


def revoke(root: str, key_id: str, *, key: str) -> str:
    """Take a key away; what to tell of it. Raises AskingError."""
    asking.send("DELETE", root, f"/admin/keys/{key_id}", None, api_key=key)
    return f"{key_id} is revoked; within a second no process takes it any more."


def _told_once(made: Mapping[str, Any]) -> str:
    return f"{made['key']}\n\nThis is the only time that the key is shown."


def _row(record: Mapping[str, Any]) -> str:
    limits = " ".join(f"{name}={value}" for name, value in record["limits"].items())
    until = "" if record["expires_at"] is None else f"until {_moment(record['expires_at'])}"
    old = "" if record["previous_until"] is None else f"old key until {_moment(record['previous_until'])}"
    team = "" if record["team"] is None else f"team {record['team']}"
    parts = (
        record["id"],
        f"{record['hint']}…",
        record["name"],
        f"tenant {record['tenant']}",
        team,
        ",".join(record["scopes"]),
        limits,
        until,
        old,
    )
    return "  ".join(part for part in parts if part)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
