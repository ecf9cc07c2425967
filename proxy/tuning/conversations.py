"""Conversations of a data folder as pairs that must not hit: first questions of others, and follow-ups of others behind their walls.

A follow-up meets another conversation's only where both stand for the same context, and they come to do so only through a hit on the
first question. So a follow-up counts as a hit where its own pair and the pair of first questions are both served: an upper bound,
since merging two conversations takes more than serving one from the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embeddings.training import recipe
from proxy.tuning.scoring import LabelledPair


@dataclass(frozen=True, slots=True)
class Conversations:
    """Pairs made of conversations.

    Attributes:
        firsts: first questions of two conversations, near neighbours.
        follow_ups: follow-ups of two conversations at the same turn, near neighbours.
        openings: of each pair of follow-ups, the first questions of the two.
    """

    firsts: tuple[LabelledPair, ...]
    follow_ups: tuple[LabelledPair, ...]
    openings: tuple[LabelledPair, ...]


def read(rows: Sequence[Mapping[str, Any]], name: str, embed: recipe.Embed) -> Conversations:
    """Make the pairs of a file of conversations: rows with `turns` (each `raw`), or with `first` and `follow_up`."""
    turns = [_turns(row) for row in rows]
    firsts = sorted({one[0] for one in turns if one})
    later: dict[str, list[tuple[int, str]]] = {}  # follow-up -> (turn, first question of its conversation)
    for one in turns:
        for at, text in enumerate(one[1:], 1):
            later.setdefault(text, []).append((at, one[0]))
    near = recipe.neighbour_pairs(firsts, firsts, embed) if firsts else ()
    follow_ups, openings = [], []
    texts = sorted(later)
    for pair, _ in recipe.neighbour_pairs(texts, texts, embed) if texts else ():
        meeting = _meeting(later[pair.stored], later[pair.asked])
        if meeting is not None:
            follow_ups.append(LabelledPair(pair.stored, pair.asked, False, f"{name}/follow-up", is_follow_up=True))
            openings.append(LabelledPair(*meeting, False, f"{name}/opening"))
    return Conversations(
        tuple(LabelledPair(pair.stored, pair.asked, False, f"{name}/first") for pair, _ in near),
        tuple(follow_ups),
        tuple(openings),
    )


def _turns(row: Mapping[str, Any]) -> list[str]:
    if "turns" in row:
        return [turn["raw"].strip() for turn in row["turns"]]
    return [row["first"].strip(), row["follow_up"].strip()]


def _meeting(one: Sequence[tuple[int, str]], other: Sequence[tuple[int, str]]) -> tuple[str, str] | None:
    """First questions of two different conversations that hold the follow-ups at the same turn; None if there are none."""
    return next(((a, b) for at, a in one for turn, b in other if at == turn and a != b), None)
