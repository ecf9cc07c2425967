"""What is noted of an admin's action: who, what, to what, from where, and what it came to; never a key, never a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Admin:
    """Who administers.

    Attributes:
        key_id: of the key that was presented.
        address: where it came from, "" where that is not known.
    """

    key_id: str
    address: str


def line(by: Admin, action: str, target: str, details: Mapping[str, Any] | None = None) -> dict[str, str]:
    """One line of the log; when it was is in the id that Redis gives it."""
    told = orjson.dumps(details or {}, option=orjson.OPT_SORT_KEYS).decode()
    return {"by": by.key_id, "from": by.address, "action": action, "target": target, "details": told}


def shown(entry_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """A line as admins read it."""
    return {
        "object": "audit.line",
        "id": entry_id,
        "at": int(entry_id.partition("-")[0]) / 1000,
        **{name: fields.get(name, "") for name in ("by", "from", "action", "target")},
        "details": orjson.loads(fields.get("details") or "{}"),
    }
