"""`deja usage`: what a running Deja's ledger says, as a table for a person to read."""

from __future__ import annotations

from typing import Any

from proxy.commands import asking

_COLUMNS = ("calls", "hits", "shared", "tokens", "spent $", "saved $", "own $", "net saved $")
NOTES = {
    "calls": "calls have no known cost: give their models prices in deja.yaml (prices)",
    "savings": "requests were answered without a call, and what that saved is not known",
    "own": "calls of Deja's own have no known cost",
}


def usage(root: str, *, first: str | None, last: str | None, group_by: str, is_admin: bool, api_key: str | None) -> str:
    """The table. Raises AskingError."""
    path = "/admin/usage" if is_admin else "usage"
    parameters: dict[str, object] = {"from": first, "to": last, "group_by": group_by}
    return table(asking.get(root, path, api_key=api_key, **parameters))


def table(told: dict[str, Any]) -> str:
    """One line per group, then the sum, then what the sums leave out."""
    groups: list[str] = told["group_by"]
    lines = [(*groups, *_COLUMNS)]
    lines += [(*(_name(row[group]) for group in groups), *_cells(row)) for row in told["data"]]
    lines.append((*("all" if not index else "" for index, _ in enumerate(groups)), *_cells(told["total"])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [f"{told['from']} to {told['to']}, at list prices", ""]
    for line in lines:
        cells = [
            cell.ljust(width) if index < len(groups) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    shown += [
        f"\n{told['total']['unpriced'][what]} {note}."
        for what, note in NOTES.items()
        if told["total"]["unpriced"][what]
    ]
    if estimated := sum(told["total"]["estimated"].values()):
        shown.append(f"\n{estimated} answers came without usage: their tokens are an estimate.")
    return "\n".join(shown)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    requests, tokens = row["requests"], row["tokens"]
    return (
        str(requests["calls"] + requests["failed_calls"]),
        str(requests["exact"] + requests["semantic"]),
        str(requests["collapsed"]),
        str(tokens["input"] + tokens["output"]),
        *(_dollars(amount) for amount in (row["spent_usd"], row["saved_usd"]["total"], row["own_usd"]["total"])),
        _dollars(row["net_saved_usd"]),
    )


def _dollars(amount: str) -> str:
    """To six places, which shows what one short call costs."""
    whole, _, places = amount.partition(".")
    return f"{whole}.{places[:6]:0<6}"


def _name(name: str) -> str:
    return name or "-"
