"""What becomes of two memories that say the same, of one that is stored again, of a fact that another replaces. No model decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxy.core.memory import keys
from proxy.core.memory.records import Memory

MAX_SOURCES = 200
"""Message ids kept of a memory that was merged again and again: the newest."""


def merged(kept: Memory, other: Memory, *, now: float) -> Memory:
    """The memory that stays when two say the same: the id and the wording of one, the labels and the later times of both."""
    return replace(
        kept,
        topics=_union(kept.topics, other.topics),
        entities=_union(kept.entities, other.entities),
        created_at=min(kept.created_at, other.created_at),
        updated_at=max(now, kept.updated_at),
        accessed_at=max(kept.accessed_at, other.accessed_at),
        event_at=other.event_at if other.event_at is not None else kept.event_at,
        extracted_from=tuple(dict.fromkeys((*kept.extracted_from, *other.extracted_from)))[-MAX_SOURCES:],
        is_pinned=kept.is_pinned or other.is_pinned,
        times_found=kept.times_found + other.times_found,
    )


def overwritten(stored: Memory, given: Memory, *, now: float) -> Memory:
    """What stands under an id that is stored again: what is given, as old and as often found as what was there.

    The same text again says nothing new of when it holds, so that a writer may repeat itself.
    """
    is_same = keys.text_digest(stored) == keys.text_digest(given)
    return replace(
        given,
        created_at=min(stored.created_at, given.created_at),
        updated_at=max(now, stored.updated_at),
        accessed_at=max(stored.accessed_at, given.accessed_at),
        invalid_at=stored.invalid_at if is_same and given.invalid_at is None else given.invalid_at,
        replaced_by=stored.replaced_by if is_same and given.replaced_by is None else given.replaced_by,
        replaces=given.replaces or stored.replaces,
        times_found=max(stored.times_found, given.times_found),
    )


def invalid_from(older: Memory, newer: Memory) -> float:
    """When a fact stops to hold because another takes its place: when that begins to, but not before it held itself."""
    return max(older.valid_from, newer.valid_from)


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Labels of both, each once, upper and lower case being one."""
    found: dict[str, str] = {}
    for label in (*first, *second):
        found.setdefault(label.casefold(), label)
    return tuple(found.values())
