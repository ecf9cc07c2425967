"""The contenders, the settings each is tried at, and how a setting is chosen for a budget.

A setting is a number: a threshold, a level, vCache's δ. `NONE` serves nothing, where no setting keeps a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.rivals import deja, fixed, vcache
from loadtest.rivals.replay import Contender, Per, Store, Tally, replay
from loadtest.rivals.streams import Stream
from proxy.core.confidence import logistic

BUDGETS = (0.005, 0.01, 0.02, 0.05)
"""Shares of wrong hits that a user may accept."""

NONE = 2.0

_COSINES = tuple(
    float(round(value, 4))
    for value in (
        *np.arange(0.60, 0.80, 0.02),
        *np.arange(0.80, 0.90, 0.01),
        *np.arange(0.90, 0.996, 0.005),
        0.9975,
        0.999,
    )
)
_LEVELS = tuple(logistic(odds) for odds in (-2.0, -1.0, *np.arange(0.0, 9.0, 0.5).tolist()))  # 0.12 … 0.9998
_CHANCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


@dataclass(frozen=True, slots=True)
class Course:
    """Half of a stream, ready to be run over.

    Attributes:
        stream: the half.
        orders: shuffles of its steps.
        vectors: float32 (texts, dim), rows L2-normalised.
        similarity: float32 (texts, texts), their cosines.
        judge: Deja's, of these texts.
        seed: of contenders that throw dice.
    """

    stream: Stream
    orders: Sequence[Sequence[tuple[int, int]]]
    vectors: NDArray[np.float32]
    similarity: NDArray[np.float32]
    judge: deja.Judge
    seed: int


@dataclass(frozen=True, slots=True)
class Family:
    """A way to decide, with one number left open.

    Attributes:
        name: for people.
        settings: worth trying.
        make: (course, setting, number of the order) -> a fresh contender.
    """

    name: str
    settings: tuple[float, ...]
    make: Callable[[Course, float, int], Contender]


def families() -> dict[str, Family]:
    """Make all families that need nothing but a course, by a short name."""
    return {
        "cosine": Family("cosine", _COSINES, lambda _course, setting, _order: fixed.Cosine(setting)),
        "gptcache": Family(
            "GPTCache, distance", (), lambda _course, setting, _order: fixed.GPTCache(setting, reciprocal=False)
        ),
        "reciprocal": Family(
            "GPTCache, k-reciprocal",
            tuple((1.0 + cosine) / 2.0 for cosine in _COSINES),
            lambda _course, setting, _order: fixed.GPTCache(setting, reciprocal=True),
        ),
        "vcache": Family(
            "vCache",
            BUDGETS,
            lambda course, setting, order: vcache.Rule(course.stream.answer, setting, course.seed + order),
        ),
        "estimate": Family(
            "vCache's estimate",
            _CHANCES,
            lambda course, setting, _order: vcache.Estimate(course.stream.answer, setting),
        ),
        "deja": Family("Deja", _LEVELS, lambda course, setting, _order: deja.Deja(course.judge, setting)),
    }


class Runs:
    """Runs families over the two courses of a stream, each setting once.

    Args:
        courses: the halves.
    """

    def __init__(self, courses: tuple[Course, Course]) -> None:
        self._courses = courses
        self._done: dict[tuple[str, float, int], Tally] = {}

    def half(self, family: Family, setting: float, half: int) -> Tally:
        """Give what a family does at a setting on one half."""
        key = (family.name, setting, half)
        if key not in self._done:
            course = self._courses[half]
            outcomes = []
            for number, order in enumerate(course.orders):
                contender = family.make(course, setting, number)
                outcomes.append(replay(course.stream, order, contender, Store(course.similarity)))
            self._done[key] = Tally(np.stack(outcomes), course.stream.answer)
        return self._done[key]

    def both(self, family: Family, settings: Sequence[float]) -> list[Tally]:
        """Give what a family does on each half, at a setting for each."""
        return [self.half(family, setting, half) for half, setting in enumerate(settings)]


def best(tallies: Iterable[tuple[float, Sequence[Tally]]], budget: float, per: Per) -> float:
    """Choose the setting with the most hits of those that keep a budget; `NONE` if none does.

    Args:
        tallies: setting -> what it did, on one half or both.
        budget: share of wrong hits.
        per: of what.
    """
    chosen, most = NONE, 0
    for setting, some in tallies:
        hits, wrong = sum(int(tally.hits.sum()) for tally in some), sum(int(tally.wrong.sum()) for tally in some)
        if hits > most and wrong <= budget * sum(int(tally.base(per).sum()) for tally in some):
            chosen, most = setting, hits
    return chosen


def in_hindsight(runs: Runs, family: Family, budget: float, per: Per) -> tuple[float, float]:
    """Choose one setting for both halves, having seen both: no honest choice does better."""
    setting = best(((setting, runs.both(family, (setting, setting))) for setting in family.settings), budget, per)
    return (setting, setting)


def from_the_other_half(runs: Runs, family: Family, budget: float, per: Per) -> tuple[float, float]:
    """Choose each half's setting on the other half: what labelled traffic of one's own gives."""
    first, second = (
        best(((setting, [runs.half(family, setting, half)]) for setting in family.settings), budget, per)
        for half in (0, 1)
    )
    return (second, first)


Choice = Callable[[Runs, Family, float, Per], tuple[float, float]]
"""(runs, family, budget, what it is a share of) -> a setting for each half."""


def always(setting: float | Mapping[float, float]) -> Choice:
    """Use a setting that was fixed beforehand, the same for every budget or by budget."""

    def chosen(_runs: Runs, _family: Family, budget: float, _per: Per) -> tuple[float, float]:
        value = setting if isinstance(setting, float) else setting[budget]
        return (value, value)

    return chosen
