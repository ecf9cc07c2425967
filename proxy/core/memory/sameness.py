"""Do two memories say the same? The gates that guard the cache, then the verifier.

Merging loses what the two differ in, so everything here errs towards keeping both: any objection of a gate keeps them apart.
"""

from __future__ import annotations

from proxy.core.gates import GateReason, objections, read
from proxy.core.memory import keys
from proxy.core.memory.records import Memory, MemoryType

CANDIDATES = 6
"""Nearest memories of the same user that are looked at."""
MAX_DISTANCE = 0.4
"""Cosine distance beyond which two memories are not compared."""
SURE_LOGIT = 3.0
"""What the less sure of the verifier's two orders has to reach."""
DAY_S = 86_400.0
_HARMLESS: frozenset[GateReason] = frozenset()


def may_compare(one: Memory, other: Memory) -> bool:
    """Whether two memories can say the same of the same at all: whose they are, what they are, and when."""
    if (one.user, one.namespace, one.memory_type) != (other.user, other.namespace, other.memory_type):
        return False
    if one.memory_type is MemoryType.MESSAGE or one.invalid_at is not None or other.invalid_at is not None:
        return False
    if one.event_at is None or other.event_at is None:
        return one.event_at is other.event_at
    return abs(one.event_at - other.event_at) < DAY_S


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts differ in nothing that matters."""
    return keys.plain(one) == keys.plain(other)


def is_open(one: str, other: str) -> bool:
    """Whether no gate keeps two texts apart, so that the verifier's word counts."""
    return objections(read(one), read(other)) <= _HARMLESS
