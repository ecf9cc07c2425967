"""`deja cache list|show|delete|invalidate`: a tenant's entries in a running Deja, for a person to read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from proxy.commands import asking

LINE_CHARS = 90
"""Questions are cut to this many characters: with what stands before them they fit a wide terminal."""


def listed(root: str, wanted: Mapping[str, Any], *, limit: int, api_key: str | None) -> str:
    """Entries, one a line. Raises AskingError."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = asking.get(
            root, f"cache/entries?{query(wanted, limit=limit - len(found), cursor=cursor)}", api_key=api_key
        )
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    rest = "" if cursor is None else f"\nThere may be more: --limit shows more than {limit}."
    return ("\n".join(map(_row, found)) or "There are no such entries.") + rest


def shown(root: str, entry_id: str, *, api_key: str | None) -> str:
    """One entry as JSON. Raises AskingError."""
    found = asking.get(root, f"cache/entries/{quote(entry_id, safe='')}", api_key=api_key)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


def deleted(root: str, entry_id: str, *, api_key: str | None) -> str:
    """Remove one entry. Raises AskingError."""
    asking.send("DELETE", root, f"cache/entries/{quote(entry_id, safe='')}", None, api_key=api_key)
    return f"{entry_id} is removed."


def invalidated(root: str, conditions: Mapping[str, Any], *, is_sure: bool, api_key: str | None) -> str:
    """Count entries, and remove them where that is sure. Raises AskingError."""
    asked = {name: value for name, value in conditions.items() if value is not None}
    counted = asking.post(root, "cache/entries/invalidate", {**asked, "dry_run": True}, api_key=api_key)
    if not is_sure:
        return f"{counted['matched']} entries would be removed. Add --yes to remove them."
    removed, is_done = 0, False
    while not is_done:
        going = {**asked, "dry_run": False, "token": counted["token"]}
        told = asking.post(root, "cache/entries/invalidate", going, api_key=api_key)
        removed, is_done = removed + told["removed"], told["done"]
    return f"{removed} entries are removed."


def query(wanted: Mapping[str, Any], **more: object) -> str:
    """Conditions as a query string; what is None is left out, a list repeats its name."""
    given = {name: value for name, value in {**wanted, **more}.items() if value is not None}
    return urlencode(given, doseq=True)


def _row(entry: Mapping[str, Any]) -> str:
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["expires_at"]))
    about = " ".join(filter(None, (entry["namespace"], *(f"#{tag}" for tag in entry["tags"]))))
    question = " ".join((entry["question"] or "(exact repeats only)").split())
    cut = question if len(question) <= LINE_CHARS else f"{question[: LINE_CHARS - 1]}…"
    return "  ".join(filter(None, (entry["id"], f"until {until}", entry["family"], entry["model"], about, cut)))
