"""What the owner of a namespace decides for all requests in it: how the cache may be used, for how long, how often it may be wrong. Pure.

A policy is the most that a request can get; what the request asks for itself can only be stricter. Modes are compared by what they
allow: looking for repeats, looking by meaning, serving, storing. Where no mode allows just what both do, that which allows most of it
is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.core.models import Directives, Mode

_ALLOWS: dict[Mode, frozenset[str]] = {
    Mode.SEMANTIC: frozenset({"repeats", "meaning", "serving", "storing"}),
    Mode.EXACT: frozenset({"repeats", "serving", "storing"}),
    Mode.READ_ONLY: frozenset({"repeats", "meaning", "serving"}),
    Mode.SHADOW: frozenset({"repeats", "meaning", "storing"}),
    Mode.WRITE_ONLY: frozenset({"storing"}),
    Mode.OFF: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds in a namespace; None decides nothing.

    Attributes:
        mode: the most that requests may do with the cache.
        ttl_s: seconds that answers stay fresh, at most, and unless a request says less.
        max_wrong_hit_rate: wrong semantic hits / semantic hits, at most, in place of the server's; it may be the looser one.
        families: routes whose answers are cached (`chat`, `embeddings`, …); those of others pass.
        models: models whose answers are cached; those of others pass.
    """

    mode: Mode | None = None
    ttl_s: int | None = None
    max_wrong_hit_rate: float | None = None
    families: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None

    def applied(self, asked: Directives, *, family: str, model: str) -> Directives:
        """What a request gets of what it asked for."""
        mode = asked.mode if self.mode is None else stricter(self.mode, asked.mode)
        is_outside = self.families is not None and family not in self.families
        if is_outside or (self.models is not None and model not in self.models):
            mode = Mode.OFF
        ttl_s = asked.ttl_s if self.ttl_s is None else min(self.ttl_s, asked.ttl_s or self.ttl_s)
        return asked if (mode, ttl_s) == (asked.mode, asked.ttl_s) else replace(asked, mode=mode, ttl_s=ttl_s)

    def as_json(self) -> dict[str, Any]:
        """What is decided, as plain values."""
        values = {
            "mode": self.mode,
            "ttl_s": self.ttl_s,
            "max_wrong_hit_rate": self.max_wrong_hit_rate,
            "families": self.families,
            "models": self.models,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Policy:
        """What `as_json` wrote. Raises TypeError or ValueError for anything else."""
        families, models = kept.get("families"), kept.get("models")
        return cls(
            mode=Mode(kept["mode"]) if "mode" in kept else None,
            ttl_s=kept.get("ttl_s"),
            max_wrong_hit_rate=kept.get("max_wrong_hit_rate"),
            families=None if families is None else tuple(families),
            models=None if models is None else tuple(models),
        )


def stricter(one: Mode, other: Mode) -> Mode:
    """The mode that allows most of what both allow, and nothing else."""
    both = _ALLOWS[one] & _ALLOWS[other]
    return max((mode for mode in Mode if _ALLOWS[mode] <= both), key=lambda mode: len(_ALLOWS[mode]))
