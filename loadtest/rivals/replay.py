"""Run one contender over one order of a stream: look up, serve or store, and keep score.

Exact repeats are no part of it: every text is asked once at most, since any cache answers a repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loadtest.rivals.streams import NOTHING, Stream

NOT_ASKED, MISS, RIGHT, WRONG, UNKNOWN = range(5)
"""What became of a text in one order; unknown: it was served an answer of which nobody knows whether it is right. No hit, then."""


class Per(StrEnum):
    """What a share of wrong answers is a share of."""

    HITS = "hits"
    REQUESTS = "requests"


class Store:
    """The texts stored so far, and how near they are.

    Args:
        similarity: float32 (texts, texts), cosines.
    """

    def __init__(self, similarity: NDArray[np.float32]) -> None:
        self._similarity = similarity
        self._places = np.zeros(len(similarity), np.int64)
        self._count = 0

    def add(self, text: int) -> None:
        """Store a text; the caller sees to it that it is new."""
        self._places[self._count] = text
        self._count += 1

    def nearest(self, asked: int) -> tuple[int, float] | None:
        """Give the nearest stored text and its cosine; of equally near ones that stored first. None if nothing is stored."""
        if not self._count:
            return None
        row = self._similarity[asked, self._places[: self._count]]
        best = int(row.argmax())
        return int(self._places[best]), float(row[best])

    def neighbours(self, asked: int, count: int) -> list[tuple[int, float]]:
        """Give up to `count` nearest stored texts, nearest first."""
        row = self._similarity[asked, self._places[: self._count]]
        near = np.argpartition(-row, count - 1)[:count] if len(row) > count else np.arange(len(row))
        return [(int(self._places[at]), float(row[at])) for at in sorted(near, key=lambda at: -row[at])]

    def nearer_than(self, text: int, similarity: float) -> int:
        """Count the other stored texts that are nearer to a stored text than `similarity`."""
        stored = self._places[: self._count]
        return int(np.count_nonzero((self._similarity[text, stored] > similarity) & (stored != text)))


class Contender(Protocol):
    """A cache's way to decide, over one order of one stream; texts are places in `Stream.texts`."""

    def look_up(self, asked: int, store: Store) -> int | None:
        """Give the stored text whose answer is served, None for a miss."""

    def take_in(self, text: int) -> bool:
        """Prepare for a text that is about to be stored; False leaves it out of what is matched by meaning."""


class TakesAll:
    """A contender's `take_in` where every text is stored and nothing is to be prepared."""

    def take_in(self, text: int) -> bool:  # noqa: ARG002
        """Store it."""
        return True


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of every text in every order.

    Attributes:
        outcome: int8 (orders, texts): `NOT_ASKED`, `MISS`, `RIGHT`, `WRONG` or `UNKNOWN`.
        answer: int64 (texts,), as `Stream.answer`: what the intervals take for one question.
    """

    outcome: NDArray[np.int8]
    answer: NDArray[np.int64]

    def count(self, *kinds: int) -> NDArray[np.int64]:
        """Count outcomes of some kinds: (orders,)."""
        counted: NDArray[np.int64] = np.isin(self.outcome, kinds).sum(axis=1, dtype=np.int64)
        return counted

    @property
    def asked(self) -> NDArray[np.int64]:
        """Questions asked: (orders,)."""
        return self.count(MISS, RIGHT, WRONG, UNKNOWN)

    @property
    def hits(self) -> NDArray[np.int64]:
        """Questions answered from the store, rightly or wrongly: (orders,)."""
        return self.count(RIGHT, WRONG)

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Hits on another question's answer: (orders,)."""
        return self.count(WRONG)

    def base(self, per: Per) -> NDArray[np.int64]:
        """What wrong hits are counted among: (orders,)."""
        return self.hits if per is Per.HITS else self.asked

    def wrong_rate(self, per: Per) -> float:
        """Share of wrong hits, over all orders; 0.0 without hits."""
        return float(self.wrong.sum() / max(1, self.base(per).sum()))

    @property
    def hit_share(self) -> float:
        """Hits / questions asked, over all orders."""
        return float(self.hits.sum() / max(1, self.asked.sum()))


def joined(tallies: Sequence[Tally]) -> Tally:
    """Put the halves of a stream side by side."""
    offsets = np.cumsum([0, *(int(tally.answer.max(initial=0)) + 1 for tally in tallies)])
    answer = np.concatenate([tally.answer + offset for tally, offset in zip(tallies, offsets, strict=False)])
    return Tally(np.concatenate([tally.outcome for tally in tallies], axis=1), answer)


def replay(stream: Stream, order: Sequence[tuple[int, int]], contender: Contender, store: Store) -> NDArray[np.int8]:
    """Ask the questions of one order.

    Args:
        stream: the stream.
        order: its steps, shuffled.
        contender: fresh.
        store: empty.

    Returns:
        int8 (texts,), see `Tally.outcome`.
    """
    outcome = np.full(len(stream.texts), NOT_ASKED, np.int8)
    is_stored = np.zeros(len(stream.texts), bool)

    def keep(text: int) -> None:
        is_stored[text] = True
        if contender.take_in(text):
            store.add(text)

    for first, asked in order:
        if first != NOTHING and not is_stored[first]:
            keep(first)
        if is_stored[asked] or outcome[asked] != NOT_ASKED:
            continue
        served = contender.look_up(asked, store)
        if served is None:
            outcome[asked] = MISS
            keep(asked)
        else:
            outcome[asked] = {False: RIGHT, True: WRONG, None: UNKNOWN}[stream.are_different(served, asked)]
    return outcome


def possible(stream: Stream, order: Sequence[tuple[int, int]]) -> float:
    """Share of the questions whose answer was stored or asked before them: what a cache that knows all could serve."""
    seen: set[int] = set()
    known: set[int] = set()
    served = asked_count = 0
    for first, asked in order:
        if first != NOTHING:
            seen.add(first)
            known.add(int(stream.answer[first]))
        if asked not in seen:
            asked_count += 1
            served += int(stream.answer[asked]) in known
            seen.add(asked)
            known.add(int(stream.answer[asked]))
    return served / max(1, asked_count)
