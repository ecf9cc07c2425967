"""What stored entries are worth keeping for: what they saved of late, for each byte they take. Pure.

A hit earns what the call it spared had cost. Earnings fade: after `HALF_LIFE_S` half of them is left. All fade at one rate, so the order of
two entries changes only when one of them is hit, and what an entry has earned is kept as a number with its moment in it,

    earned = log2( sum over its hits of  cost of the call * 2^(moment of the hit / half-life) )

which is right at any later moment and need not be touched until the next hit ("forward decay", Cormode et al., ICDE 2009). An entry that
was never hit has its hopes: `HOPE` of a hit at the moment it was stored. Worth is both together, over its bytes; the least goes first.

What an entry would still live is left out on purpose: removing it frees its bytes for that time and no longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.core.usage import Usage, from_wire

HALF_LIFE_S = 86_400.0
"""Seconds after which a hit counts half: with six hours what is dear and asked daily is forgotten, a week is no better (decision 0026)."""
HOPE = 0.3
"""Hits that a new entry may hope for: with none it goes before it can be asked again, with many what proved itself goes (decision 0026)."""
NOMINAL_INPUT_PICO_USD, NOMINAL_OUTPUT_PICO_USD = 150_000, 600_000
"""Of a token where a model has no known price, as it has to be compared with something: a small model's, 0.15 and 0.60 USD a million."""
BYTES_PER_TOKEN = 4
"""Of a stored answer whose usage is not known, about."""
COST_FIELDS = ("usage", "model", "created_at", "tokens", "answered_by")
"""Fields of an entry's hash that `stored` reads; the last two are those of vectors."""


class Why(StrEnum):
    """Why entries were removed before their time."""

    CAP = "cap"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a round of removing came to.

    Attributes:
        count: entries that went.
        why: what there was too much of.
        is_behind: there is still too much, or will be before long: the next round should come soon.
    """

    count: int = 0
    why: Why = Why.CAP
    is_behind: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an entry that may have to go.

    Attributes:
        model: as the request named it, "" where it named none.
        usage: what its call used, None where that is not known.
        created_at: unix seconds.
    """

    model: str
    usage: Usage | None
    created_at: float


def name_of(entry: str) -> str:
    """What an entry's earnings are kept under, by its id or its Redis key: the same in whichever index it is."""
    return entry.rpartition(":")[2].removeprefix("emb_")


def stored(fields: Mapping[str, bytes | None]) -> Stored | None:
    """Read the `COST_FIELDS` of an entry; None for one that is gone."""
    created_at = fields.get("created_at")
    if created_at is None:
        return None
    tokens = fields.get("tokens")
    if tokens is None:
        usage = from_wire(fields.get("usage") or b"")
    else:
        usage = Usage(int(tokens), model=(fields.get("answered_by") or b"").decode())
    return Stored((fields.get("model") or b"").decode(), usage, float(created_at))


def nominal_cost(usage: Usage | None, size_bytes: int) -> int:
    """What a call without a known price counts for, in pico-USD.

    Args:
        usage: of the call; None where that is not known either.
        size_bytes: of what is stored of it.
    """
    if usage is None:
        return size_bytes // BYTES_PER_TOKEN * NOMINAL_OUTPUT_PICO_USD
    return usage.input_tokens * NOMINAL_INPUT_PICO_USD + usage.output_tokens * NOMINAL_OUTPUT_PICO_USD


def earned(pico_usd: float, *, at_s: float) -> float:
    """What was saved at a moment, as it is kept.

    Args:
        pico_usd: of all hits of that moment; what costs nothing counts as the least there is, so that its hits still count.
        at_s: unix seconds.
    """
    return math.log2(max(pico_usd, 1.0)) + at_s / HALF_LIFE_S


def together(one: float, other: float) -> float:
    """Earnings added up; `lua/earn.lua` does the same."""
    high, low = max(one, other), min(one, other)
    return high + math.log2(1 + 2 ** (low - high))


def worth(pico_usd: int, *, created_at: float, hits: float | None, size_bytes: int) -> float:
    """How much an entry is worth keeping, comparable with others at any moment; higher is more.

    Args:
        pico_usd: what a call that it answers costs.
        created_at: unix seconds.
        hits: what it has earned, None where it was never hit.
        size_bytes: it takes in all.
    """
    hope = earned(pico_usd, at_s=created_at) + math.log2(HOPE)
    return (hope if hits is None else together(hope, hits)) - math.log2(max(size_bytes, 1))
