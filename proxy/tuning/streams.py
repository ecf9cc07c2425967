"""Questions in random order against a growing store, as a proxy sees them: what is asked first is stored, what hits is not stored again.

A hit on an entry of another group is wrong. A hit is possible once its group has been asked before. Cosine runs on the same orders.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from proxy.core.confidence import Calibration
from proxy.tuning.figures import Share
from proxy.tuning.rating import EXACT, rate
from proxy.tuning.scoring import LabelledPair, Scorer

ORDERS, ORDERS_OF_MANY, MANY = 5, 2, 1_000
"""Random orders of one set of questions, to tell luck from skill: a long stream needs fewer, and takes some 8 ms a question."""
CANDIDATES = 5
"""Neighbours judged per look-up, as many as the proxy's default."""

_COSINES = (*(percent / 100 for percent in range(70, 100)), 0.995, 0.999)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Questions:
    """A stream's texts.

    Attributes:
        name: of the stream.
        texts: distinct.
        groups: of each text: those with one group share an answer.
        vectors: float32 (n, dim), rows L2-normalised; a row of zeros is never matched by meaning.
    """

    name: str
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """What came of a stream, all orders together.

    Attributes:
        right: hits on the right group of those possible.
        wrong: hits on another group, of all hits.
    """

    right: Share
    wrong: Share

    def __add__(self, other: StreamOutcome) -> StreamOutcome:
        return StreamOutcome(self.right + other.right, self.wrong + other.wrong)


@dataclass(frozen=True, slots=True)
class StreamResult:
    """One stream at each budget.

    Attributes:
        name: of the stream.
        texts: questions.
        groups: distinct answers.
        orders: how many were run.
        ours: budget -> what Deja makes of it.
        cosine: budget -> what cosine makes of it at the level, chosen with hindsight, that finds most without more wrong
            hits among its hits than Deja has; None if no level does.
    """

    name: str
    texts: int
    groups: int
    orders: int
    ours: Mapping[float, StreamOutcome]
    cosine: Mapping[float, StreamOutcome | None]


class PairJudge:
    """How sure Deja is that one text's answer serves another, each pair judged once.

    Args:
        questions: of the stream.
        scorer: the models.
        calibration: in use.
    """

    def __init__(self, questions: Questions, scorer: Scorer, calibration: Calibration) -> None:
        self._questions = questions
        self._scorer = scorer
        self._calibration = calibration
        self._known: dict[tuple[int, int], float] = {}

    def confidences(self, stored: Sequence[int], asked: int) -> list[float]:
        """Give the confidence of each stored text's answer for an asked one; 2.0 for equal texts, which need none."""
        new = [one for one in stored if (one, asked) not in self._known]
        texts = self._questions.texts
        rated = rate(
            self._scorer.score([LabelledPair(texts[one], texts[asked], True) for one in new]), self._calibration
        )
        for one, confidence, why in zip(new, rated.confidence, rated.why, strict=True):
            self._known[one, asked] = 2.0 if why == EXACT else float(confidence)
        return [self._known[one, asked] for one in stored]


def run_stream(
    questions: Questions,
    judge: PairJudge,
    levels: Mapping[float, float],
    *,
    orders: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> StreamResult:
    """Run a stream at the level of each budget, and cosine beside it.

    Args:
        questions: the texts.
        judge: of pairs.
        levels: budget -> confidence a hit needs.
        orders: random orders to run; None for as many as its length needs.
        progress: told (done, total) runs.
    """
    count = orders or (ORDERS if len(questions.texts) <= MANY else ORDERS_OF_MANY)
    shuffled = list(_orders(len(questions.texts), count))
    table = questions.vectors @ questions.vectors.T  # 64 MB for 4,000 texts, and each run is ten times as fast
    ours = dict.fromkeys(levels, StreamOutcome(Share(0, 0), Share(0, 0)))
    for done, (order, budget) in enumerate(product(shuffled, levels), 1):
        ours[budget] += _replay(questions, table, order, _by_confidence(judge, levels[budget]))
        progress(done, len(levels) * count)
    plain = [_sum(_replay(questions, table, order, _by_cosine(level)) for order in shuffled) for level in _COSINES]
    cosine = {budget: _best_within(plain, outcome) for budget, outcome in ours.items()}
    return StreamResult(questions.name, len(questions.texts), len(set(questions.groups)), count, ours, cosine)


Choose = Callable[[NDArray[np.int64], Vectors, int], int | None]
"""(stored texts, their cosines to the asked one, the asked one) -> the one served, None for a miss."""


def _replay(questions: Questions, table: Vectors, order: Sequence[int], choose: Choose) -> StreamOutcome:
    stored = np.empty(len(order), np.int64)
    size = right = wrong = possible = 0
    seen: set[str] = set()
    for asked in order:
        group = questions.groups[asked]
        possible += group in seen
        seen.add(group)
        served = choose(stored[:size], table[asked, stored[:size]], asked) if size else None
        if served is None:
            stored[size] = asked
            size += 1
        elif questions.groups[served] == group:
            right += 1
        else:
            wrong += 1
    return StreamOutcome(Share(right, possible), Share(wrong, right + wrong))


def _by_confidence(judge: PairJudge, level: float) -> Choose:
    def choose(stored: NDArray[np.int64], cosines: Vectors, asked: int) -> int | None:
        nearest = np.argpartition(-cosines, min(CANDIDATES, len(cosines)) - 1)[:CANDIDATES]
        near = [int(one) for one in stored[nearest]]
        confidences = judge.confidences(near, asked)
        surest = max(range(len(near)), key=confidences.__getitem__)
        return near[surest] if confidences[surest] >= level else None

    return choose


def _by_cosine(level: float) -> Choose:
    def choose(stored: NDArray[np.int64], cosines: Vectors, _asked: int) -> int | None:
        nearest = int(np.argmax(cosines))
        return int(stored[nearest]) if cosines[nearest] >= level else None

    return choose


def _best_within(plain: Iterable[StreamOutcome], ours: StreamOutcome) -> StreamOutcome | None:
    allowed = ours.wrong.value or 0.0
    within = [one for one in plain if (one.wrong.value or 0.0) <= allowed]
    return max(within, key=lambda one: one.right.count, default=None)


def _orders(count: int, orders: int) -> Iterable[list[int]]:
    for seed in range(orders):
        order = list(range(count))
        random.Random(seed).shuffle(order)  # noqa: S311  (repeatable, not secret)
        yield order


def _sum(outcomes: Iterable[StreamOutcome]) -> StreamOutcome:
    total = StreamOutcome(Share(0, 0), Share(0, 0))
    for outcome in outcomes:
        total = total + outcome
    return total
