"""Canonical context chaining: what a conversation's prefix stands for.

Raw history almost never repeats word for word, and matching the last turn alone replays "and what does it cost?" across unrelated
chats. So when Deja answers a turn it writes, in the room, `hash of the prefix including that answer -> entry id`; the next turn
resolves its prefix through it. Two users who asked the same thing in other words were served the same entry, and so share the next
turn's partition. A history that Deja did not answer (trimmed, summarised, made up) resolves to its own hash: it loses hits, and can
poison nobody.

Theory of soundness:
- an id is either `raw` (the prefix's own hash) or `entry` (a minted, immutable entry id); the two are hashed under different domains;
- an entry id is written for a prefix only if the answer in that prefix *is* the entry's answer, reached exactly or by a merge that
  is stricter than serving (`core.decision`);
- confidence multiplies along the chain, and below `CHAIN_FLOOR` the chain goes raw;
- a record names the entries it came through; once one of them is condemned (`core.feedback`) the store no longer finds the record;
- a turn about the user's own words ("rephrase my question") uses the raw prefix: those words differ between the merged chats.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.keys import digest
from proxy.core.models import ContextRecord

CHAIN_FLOOR = 0.85
"""Confidence in (0, 1] below which a chain goes raw. A merge is worth
0.97 and more (`decision.merge_confidence`), so five reworded turns in a row stay above it."""

MAX_LINEAGE = 16
"""Entries a record names at most, 37 bytes each; a longer chain goes raw, and begins anew. Two conversations that are still the same
after sixteen turns are one conversation, and its own prefix finds it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a turn's prefix stands for.

    Attributes:
        context_id: digest that goes into the partition.
        confidence: product along the chain, 1.0 for a raw or empty prefix.
        is_merged: reached through an entry, so other wordings may share it.
        lineage: the entries it was reached through, nearest first.
    """

    context_id: str
    confidence: float
    is_merged: bool
    lineage: tuple[str, ...] = ()


def resolve(prefix_hash: str | None, record: ContextRecord | None, *, about_own_words: bool) -> Context:
    """Say what a prefix stands for.

    Args:
        prefix_hash: hash of the canonical prefix, None for a first turn.
        record: what was written for that hash, None if nothing was.
        about_own_words: the turn asks about the user's earlier wording.
    """
    if prefix_hash is None:
        return Context(digest("root"), 1.0, is_merged=False)
    if record is None or about_own_words or record.confidence < CHAIN_FLOOR or len(record.lineage) >= MAX_LINEAGE:
        return Context(digest("raw", prefix_hash), 1.0, is_merged=False)
    lineage = (record.entry_id, *record.lineage)
    return Context(digest("entry", record.entry_id), record.confidence, is_merged=True, lineage=lineage)


def extend(context: Context, entry_id: str, *, merge_confidence: float) -> ContextRecord:
    """What the prefix that includes this answer stands for.

    Args:
        context: of the turn that was answered.
        entry_id: of the answer.
        merge_confidence: 1.0 if the entry answers this very text, less if another wording of it.
    """
    return ContextRecord(entry_id, context.confidence * merge_confidence, context.lineage)


def to_wire(record: ContextRecord) -> bytes:
    """Write a record as the Redis string `<entry id> <confidence>[ <entry id>,<entry id>,…]`, the lineage at its end."""
    lineage = f" {','.join(record.lineage)}" if record.lineage else ""
    return f"{record.entry_id} {record.confidence:.6f}{lineage}".encode()


def from_wire(value: bytes | None) -> ContextRecord | None:
    """Read a record; anything unreadable counts as absent, which is always safe."""
    if not value:
        return None
    try:
        entry_id, written, *rest = value.decode().split(" ")
        confidence = float(written)
    except ValueError:
        return None
    lineage = tuple(rest[0].split(",")) if rest else ()
    if not entry_id or not 0.0 < confidence <= 1.0 or len(rest) > 1 or "" in lineage:
        return None
    return ContextRecord(entry_id, confidence, lineage)
