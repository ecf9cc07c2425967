"""What is forgotten: by age, by how long nothing found it, by type, and beyond a count. Pinned memories never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.core.memory.ranking import DAY_S, recency
from proxy.core.memory.records import Memory, MemoryType, Recency

_BUDGET = Recency()


@dataclass(frozen=True, slots=True)
class ForgetPolicy:
    """What a run forgets; the Agent Memory Server's rules.

    Attributes:
        max_age_days: older ones go; None for no such rule.
        max_inactive_days: those not found for longer go. With both rules, one must break both, or be `hard_age_multiplier` times too old.
        hard_age_multiplier: see above.
        budget: so many of the rest stay, the most recent; None for all.
        types: only these may go; None for any.
        kept: ids that stay.
    """

    max_age_days: float | None = None
    max_inactive_days: float | None = None
    hard_age_multiplier: float = 12.0
    budget: int | None = None
    types: frozenset[MemoryType] | None = None
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a run found.

    Attributes:
        scanned: memories looked at.
        ids: of those that are forgotten, the worst first.
        deleted: how many of these were there and went; 0 in a dry run.
        is_dry_run: nothing was removed.
    """

    scanned: int
    ids: tuple[str, ...]
    deleted: int
    is_dry_run: bool


def to_forget(memories: Sequence[Memory], policy: ForgetPolicy, *, now: float) -> list[str]:
    """Ids of the memories that a policy lets go, the least recent first."""
    open_ = [memory for memory in memories if _may_go(memory, policy)]
    order = sorted(open_, key=lambda memory: (recency(memory, _BUDGET, now=now), memory.created_at, memory.memory_id))
    expired = {memory.memory_id for memory in order if _is_expired(memory, policy, now)}
    rest = [memory.memory_id for memory in order if memory.memory_id not in expired]
    surplus = set() if policy.budget is None else set(rest[: max(0, len(rest) - policy.budget)])
    return [memory.memory_id for memory in order if memory.memory_id in expired or memory.memory_id in surplus]


def _may_go(memory: Memory, policy: ForgetPolicy) -> bool:
    is_named = policy.types is None or memory.memory_type in policy.types
    return is_named and not memory.is_pinned and memory.memory_id not in policy.kept


def _is_expired(memory: Memory, policy: ForgetPolicy, now: float) -> bool:
    age_days, inactive_days = (now - memory.created_at) / DAY_S, (now - memory.accessed_at) / DAY_S
    is_old = policy.max_age_days is not None and age_days > policy.max_age_days
    is_idle = policy.max_inactive_days is not None and inactive_days > policy.max_inactive_days
    if policy.max_age_days is None or policy.max_inactive_days is None:
        return is_old or is_idle
    return (is_old and is_idle) or age_days > policy.max_age_days * policy.hard_age_multiplier
