"""The ledger's lines: what is counted for a tenant, a day, a model and a namespace, and how it is told. Pure.

All counts are whole numbers, so adding them up gives the same sum in any order: tokens, calls, and costs in pico-USD (`core.prices`).
A hit or a collapsed request saves what the call would have cost that it spared. One whose usage or price is not known is counted as
`unpriced`, and nothing is added to the costs for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from proxy.core.prices import Cost, usd
from proxy.core.usage import Usage

ALL = "all"
"""Stands where a tenant does, for the sums over all of them; tenants are 32 hex digits, or `anonymous`."""
SHARED = "shared"
"""The same for costs that belong to no tenant alone: texts of several are embedded in one call."""
OTHER = "(other)"
"""The model and namespace of what no longer fits: callers can make names up."""
NAME_CHARS = 128
"""Of a model's name or a namespace; what is longer is cut."""


class Saving(StrEnum):
    """What spared a call to a provider."""

    EXACT = "exact"
    SEMANTIC = "semantic"
    COLLAPSED = "collapsed"


class Purpose(StrEnum):
    """What Deja itself pays providers for."""

    EMBEDDING = "embedding"
    AUDIT = "audit"
    MEMORY = "memory"


Counts = dict[str, int]
"""Line -> by how much."""

_SPENT, _FAILED, _UNPRICED, _ESTIMATED = "spent", "failed_calls", "unpriced", "estimated"


@dataclass(frozen=True, slots=True)
class Cell:
    """Where counts belong.

    Attributes:
        tenant: whose they are; `ALL` and `SHARED` too.
        day: ISO date in UTC.
        model: what was called.
        namespace: the caller's, "" if none.
    """

    tenant: str
    day: str
    model: str
    namespace: str


def call_counts(usage: Usage | None, cost: Cost | None, *, is_estimated: bool = False) -> Counts:
    """The lines of a call that a provider answered."""
    counts = {"calls": 1}
    if usage is not None:
        counts |= {
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "written_tokens": usage.written_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        }
    if cost is None:
        counts["calls_unpriced"] = 1
    else:
        counts[_SPENT] = cost.total
        counts["prompt_cache_saved"] = cost.cache_saved
        counts["calls_estimated"] = int(is_estimated)
    return _without_zeros(counts)


def failed_counts() -> Counts:
    """The lines of a call that brought an error: counted, and taken to cost nothing, as providers charge nothing for one."""
    return {_FAILED: 1}


def broken_counts() -> Counts:
    """The lines of a call that ended before its answer did: it may have been charged, and nobody said how much."""
    return {"calls": 1, "calls_unpriced": 1}


def saving_counts(kind: Saving, usage: Usage | None, cost: Cost | None, *, is_estimated: bool = False) -> Counts:
    """The lines of a request that was answered without a call of its own."""
    counts = {str(kind): 1}
    if usage is not None:
        counts |= {"saved_input_tokens": usage.input_tokens, "saved_output_tokens": usage.output_tokens}
    if cost is None:
        counts["savings_unpriced"] = 1
    else:
        counts[f"saved_{kind}"] = cost.total
        counts["savings_estimated"] = int(is_estimated)
    return _without_zeros(counts)


def own_counts(purpose: Purpose, usage: Usage | None, cost: Cost | None) -> Counts:
    """The lines of a call that Deja made for itself; none of its tokens are among the caller's."""
    counts = {
        f"{purpose}_calls": 1,
        f"{purpose}_tokens": 0 if usage is None else usage.input_tokens + usage.output_tokens,
    }
    if cost is None:
        counts["own_unpriced"] = 1
    else:
        counts[f"{purpose}_spent"] = cost.total
    return _without_zeros(counts)


def spent_of(counts: Mapping[str, int]) -> int:
    """What counts are to a budget, in pico-USD: calls, and Deja's own on their account."""
    return sum(counts.get(line, 0) for line in (_SPENT, *(f"{purpose}_spent" for purpose in Purpose)))


def field_of(cell: Cell, line: str) -> bytes:
    """The field of a day's hash in Redis: a JSON array of model, namespace and line."""
    return orjson.dumps([cell.model, cell.namespace, line])


def other_field(line: str) -> bytes:
    """The field of what no longer fits."""
    return orjson.dumps([OTHER, OTHER, line])


def cells_of(tenant: str, day: str, fields: Mapping[bytes, bytes]) -> dict[Cell, Counts]:
    """A day's hash as it was read; fields of another version are left out."""
    found: defaultdict[Cell, Counts] = defaultdict(dict)
    for name, count in fields.items():
        try:
            model, namespace, line = orjson.loads(name)
            found[Cell(tenant, day, str(model), str(namespace))][str(line)] = int(count)
        except ValueError:  # JSONDecodeError is one
            continue
    return dict(found)


def grouped(cells: Mapping[Cell, Counts], by: Iterable[str]) -> list[tuple[dict[str, str], Counts]]:
    """Add cells up that agree in some attributes; sorted by these.

    Args:
        cells: what was read.
        by: names of attributes of `Cell`; none gives one group, empty or not.
    """
    names = tuple(by)
    sums: defaultdict[tuple[str, ...], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for cell, counts in cells.items():
        group = sums[tuple(getattr(cell, name) for name in names)]
        for line, count in counts.items():
            group[line] += count
    if not names and not sums:
        return [({}, {})]
    return [(dict(zip(names, values, strict=True)), dict(counts)) for values, counts in sorted(sums.items())]


def as_json(counts: Mapping[str, int]) -> dict[str, Any]:
    """Counts as the API tells them; money as decimal strings of USD."""
    of = defaultdict(int, counts)
    saved = {str(kind): of[f"saved_{kind}"] for kind in Saving}
    own = {str(purpose): of[f"{purpose}_spent"] for purpose in Purpose}
    served = {str(kind): of[kind] for kind in Saving}
    return {
        "requests": {"calls": of["calls"], "failed_calls": of[_FAILED], **served},
        "tokens": {
            "input": of["input_tokens"],
            "input_cached": of["cached_tokens"],
            "input_written": of["written_tokens"],
            "output": of["output_tokens"],
            "output_reasoning": of["reasoning_tokens"],
            "input_saved": of["saved_input_tokens"],
            "output_saved": of["saved_output_tokens"],
        },
        "spent_usd": usd(of[_SPENT]),
        "saved_usd": {**{name: usd(amount) for name, amount in saved.items()}, "total": usd(sum(saved.values()))},
        "own_usd": {**{name: usd(amount) for name, amount in own.items()}, "total": usd(sum(own.values()))},
        "net_saved_usd": usd(sum(saved.values()) - sum(own.values())),
        "prompt_cache_saved_usd": usd(of["prompt_cache_saved"]),
        "own_calls": {str(purpose): of[f"{purpose}_calls"] for purpose in Purpose},
        "own_tokens": {str(purpose): of[f"{purpose}_tokens"] for purpose in Purpose},
        "unpriced": {"calls": of["calls_unpriced"], "savings": of["savings_unpriced"], "own": of["own_unpriced"]},
        "estimated": {"calls": of["calls_estimated"], "savings": of["savings_estimated"]},
    }


def _without_zeros(counts: Counts) -> Counts:
    return {line: count for line, count in counts.items() if count}
