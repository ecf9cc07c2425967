"""What a caller's word about a hit changes.

A *wrong* evicts the entry that was served, takes every conversation out that went through it, and remembers the two wordings as never
equal in their room, whichever is asked and whichever is stored. It also tightens: a question that has once been given a wrong answer
needs more confidence from then on. A *right* is recorded and counted, and loosens nothing: who takes the trouble to vote is no fair
sample, so votes may make Deja stricter, never bolder, and never enter the measured wrong-hit rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from proxy.core.keys import text_digest
from proxy.core.models import Candidate

KEPT_S = 180 * 86_400
"""How long, in seconds, a pair stays never-equal and an entry condemned, counted from the last vote on the text or in the room. Longer
than answers are kept, so that nothing reached through a condemned entry outlives the mark."""


class Vote(StrEnum):
    """What a caller says of a stored answer that was served."""

    RIGHT = "right"
    WRONG = "wrong"


def split(
    candidates: Sequence[Candidate], unequal: frozenset[str]
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Part the candidates that may be judged from those that feedback rules out, the order kept.

    Args:
        candidates: stored questions near the asked one.
        unequal: digests of the texts that are never the same question as the asked one; nearly always empty.
    """
    if not unequal:
        return tuple(candidates), ()
    ruled_out = [text_digest(candidate.question) in unequal for candidate in candidates]
    pairs = list(zip(candidates, ruled_out, strict=True))
    return tuple(c for c, is_out in pairs if not is_out), tuple(c for c, is_out in pairs if is_out)


def floor(level: float, own: float | None, unequal: frozenset[str]) -> float | None:
    """The floor under which nothing may be served: the caller's own, and for a question that was once answered wrongly the tightened one.

    Args:
        level: the confidence a hit needs, above 1 for exact hits only.
        own: the caller's floor, None for none.
        unequal: as above; not empty means that a vote called an answer to this question wrong.

    Returns:
        None where the level alone counts. The tightened floor halves what the level leaves to chance: 0.97 becomes 0.985.
    """
    if not unequal or level > 1.0:
        return own
    return max((1.0 + level) / 2.0, own or 0.0)
