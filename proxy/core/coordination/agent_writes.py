"""What a write to an agent's state asks for, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from proxy.core.coordination.agents import State
from proxy.core.coordination.versions import Conditions


@dataclass(frozen=True, slots=True)
class Write:
    """What is to become of a state.

    Attributes:
        is_whole: fields that are not set go; else they stay.
        set: fields as the hash holds them.
        unset: fields to remove.
        seen: fields that were merged with what the caller sent, as they stood then; None for one that was not there.
        conditions: what has to hold.
    """

    is_whole: bool
    set: dict[str, str]
    unset: tuple[str, ...] = ()
    seen: dict[str, str | None] = field(default_factory=dict)
    conditions: Conditions = Conditions()  # noqa: RUF009  frozen, and empty


class Outcome(StrEnum):
    """What a write came to; where it is not OK, nothing was written."""

    OK = "ok"
    MISSING = "missing"
    CONFLICT = "conflict"
    MOVED = "moved"
    TOO_MANY_AGENTS = "agents"
    TOO_MANY_FIELDS = "fields"
    TOO_LARGE = "bytes"


@dataclass(frozen=True, slots=True)
class Written:
    """A write's outcome.

    Attributes:
        outcome: what it came to.
        detail: `created`, `updated` or `same`; the version of a deletion; or the number there would be.
        state: as it is now, after a deletion as it was; None if there is none.
        stored: the hash behind it.
    """

    outcome: Outcome
    detail: str
    state: State | None
    stored: dict[str, str]
