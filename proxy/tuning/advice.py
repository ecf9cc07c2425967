"""`deja tune` on labelled pairs: which level meets a budget, how sure that is, what it finds, and the pairs worth reading.

Three levels stand beside each other: the *shipped* one, certified on other people's pairs; the one *certified* on these, which holds for
traffic like them in this mixture of the same and the different (`core.certificates` says exactly what is proved); and the one merely
*observed*, where these very pairs keep the budget: what more pairs might certify, and no promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proxy.core.certificates import DELTA, Scored, levels_for
from proxy.core.confidence import EXACT_ONLY, Calibration
from proxy.tuning.figures import BUDGETS, Bin, Outcome, calibration_error, counted, outcome, reliability, tradeoff
from proxy.tuning.rating import BoolArray, Ratings

ORIGINS = ("certified", "shipped", "observed")
"""Where a level comes from, best first."""

MOST_READ = 40
"""Pairs of each list to read: more than that nobody does."""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget.

    Attributes:
        budget: wrong hits / hits that are allowed.
        shipped_level: of the calibration in use; `EXACT_ONLY` for exact repeats only.
        shipped: what it makes of the pairs.
        level: certified on the pairs; `EXACT_ONLY` where they could not certify any.
        certified: what that makes of them.
        observed_level: the lowest at which the pairs themselves keep the budget; `EXACT_ONLY` if none does.
        observed: what that makes of them.
    """

    budget: float
    shipped_level: float
    shipped: Outcome
    level: float
    certified: Outcome
    observed_level: float
    observed: Outcome


@dataclass(frozen=True, slots=True)
class KindRow:
    """One kind of pairs at the chosen level."""

    kind: str
    pairs: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Reading:
    """A pair worth reading.

    Attributes:
        stored, asked: its texts.
        kind: of traffic.
        confidence: in [0, 1].
        similarity: cosine.
        why: what refused it by itself, "" where the level decided.
        is_hit: whether it is served at the chosen level.
    """

    stored: str
    asked: str
    kind: str
    confidence: float
    similarity: float
    why: str
    is_hit: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """All that is told about labelled pairs.

    Attributes:
        pairs: how many were judged; pairs of equal texts are left out, they need no judge.
        left_out: how many those are.
        same: pairs labelled the same.
        budget: the wrong-hit rate asked for.
        row: of that budget.
        rows: of it and of the usual ones, budgets rising.
        kinds: at the chosen level.
        bins: of the pairs that the level decides.
        error: expected calibration error; None without such pairs.
        wrong: pairs labelled different, surest first.
        missed: pairs labelled the same that are not served, least sure first.
        refused: what refused pairs labelled the same by itself -> how many; the level is "below-confidence".
    """

    pairs: int
    left_out: int
    same: int
    budget: float
    row: BudgetRow
    rows: tuple[BudgetRow, ...]
    kinds: tuple[KindRow, ...]
    bins: tuple[Bin, ...]
    error: float | None
    wrong: tuple[Reading, ...]
    missed: tuple[Reading, ...]
    refused: dict[str, int]

    @property
    def is_certified(self) -> bool:
        """Whether the pairs certify a level for the budget."""
        return self.row.level < EXACT_ONLY

    @property
    def level(self) -> float:
        """The level that tables and lists are made at: the certified one, else the one in use, else the observed one."""
        return _first_of(self.row)[0]

    @property
    def outcome(self) -> Outcome:
        """What that level makes of the pairs."""
        return _first_of(self.row)[1]

    @property
    def origin(self) -> str:
        """Where that level comes from, one of `ORIGINS`."""
        return _first_of(self.row)[2]


def advise(ratings: Ratings, calibration: Calibration, budget: float) -> Advice:
    """Work out what labelled pairs say.

    Args:
        ratings: of the pairs, under `calibration`; none of them may have been used in fitting it.
        calibration: the one in use.
        budget: the wrong-hit rate asked for, in (0, 1).
    """
    judged = ratings.only(~ratings.is_exact)
    wanted = sorted({*BUDGETS, budget})
    levels = levels_for(scored(judged), wanted)
    rows = tuple(_row(judged, one, calibration.level_for(one), levels[one]) for one in wanted)
    row = next(row for row in rows if row.budget == budget)
    level = _first_of(row)[0]
    hits, open_ = judged.hits(level), judged.only(judged.is_open)
    bins = reliability(open_.confidence, open_.is_same)
    return Advice(
        pairs=len(judged.pairs),
        left_out=len(ratings.pairs) - len(judged.pairs),
        same=int(judged.is_same.sum()),
        budget=budget,
        row=row,
        rows=rows,
        kinds=tuple(_kind(judged, kind, level) for kind in judged.kinds),
        bins=bins,
        error=calibration_error(bins),
        wrong=_readings(judged, ~judged.is_same & (judged.confidence > 0), hits, lambda i: -judged.confidence[i]),
        missed=_readings(judged, judged.is_same & ~hits, hits, lambda i: (judged.confidence[i], -judged.similarity[i])),
        refused=_refusals(judged, hits),
    )


def scored(ratings: Ratings) -> list[Scored]:
    """Give ratings in the form that levels are certified from."""
    return [
        Scored(float(confidence), bool(is_same), domain=one.pair.kind)
        for one, confidence, is_same in zip(ratings.pairs, ratings.confidence, ratings.is_same, strict=True)
    ]


def verdict(advice: Advice) -> str:
    """Say in a sentence or two what level to take and what is guaranteed, or why nothing is."""
    row, budget = advice.row, percent(advice.budget)
    if not advice.is_certified:
        return f"{_too_few(advice)} {_in_use(advice)}"
    found, wrong = row.certified.found, row.certified.wrong
    return (
        f"Serve from confidence {row.level:.4f} up: on these pairs that finds {percent(found.value)} of the rewordings, and "
        f"{wrong.count} of {wrong.of} hits {'is' if wrong.count == 1 else 'are'} wrong. On traffic like these pairs at most {budget} "
        f"of the hits by meaning will be wrong: pairs drawn like these mislead about that at most once in {round(1 / DELTA)} times."
    )


def needed_hits(budget: float) -> int:
    """Give the fewest hits, none of them wrong, that certify a budget: what any level needs before it can be trusted."""
    return math.ceil(math.log(DELTA) / math.log1p(-budget))


def percent(value: float | None) -> str:
    """A share as people read it, "–" for None."""
    if value is None:
        return "–"
    digits = 2 if value < 0.1 else 1
    return f"{100 * value:.{digits}f}".rstrip("0").rstrip(".") + " %"


def _too_few(advice: Advice) -> str:
    needed = needed_hits(advice.budget)
    if advice.same < needed:
        return (
            f"Too few pairs to certify {percent(advice.budget)}: that takes at least {needed} hits without a wrong one, and only "
            f"{advice.same} of these pairs are labelled the same."
        )
    told = f"These pairs certify no level for {percent(advice.budget)}: that takes {needed} hits without a wrong one, or more with few."
    best = advice.row.observed.wrong
    if not best.of:
        return f"{told} Here the surest pair of all is labelled different: read the pairs, are the labels right?"
    return f"{told} The best they show is {best.count} wrong of {best.of}: more pairs may certify it, or better labels; read the pairs."


def _in_use(advice: Advice) -> str:
    row = advice.row
    if row.shipped_level >= EXACT_ONLY:
        return "The calibration in use certifies no level for it either: only exact repeats are served."
    interval = row.shipped.wrong.interval
    return (
        f"Deja keeps its level, {row.shipped_level:.4f}, certified on other pairs: here it finds {percent(row.shipped.found.value)}, "
        f"and {row.shipped.wrong.count} of {row.shipped.wrong.of} hits {'is' if row.shipped.wrong.count == 1 else 'are'} wrong "
        f"(95 % interval {percent(interval.low)} to {percent(interval.high)})."
    )


def _row(judged: Ratings, budget: float, shipped: float, level: float) -> BudgetRow:
    observed = _observed(judged, budget)
    return BudgetRow(
        budget, shipped, outcome(judged, shipped), level, outcome(judged, level), observed, outcome(judged, observed)
    )


def _observed(judged: Ratings, budget: float) -> float:
    """Find the lowest level at which wrong hits / hits is within the budget on these very pairs."""
    scores = np.where(judged.confidence > 0, judged.confidence, -np.inf)
    wrong, _ = tradeoff(scores, judged.is_same)
    within = np.flatnonzero(wrong <= budget)
    return float(np.unique(scores[np.isfinite(scores)])[::-1][within[-1]]) if len(within) else EXACT_ONLY


def _first_of(row: BudgetRow) -> tuple[float, Outcome, str]:
    if row.level < EXACT_ONLY:
        return row.level, row.certified, ORIGINS[0]
    if row.shipped_level < EXACT_ONLY:
        return row.shipped_level, row.shipped, ORIGINS[1]
    return row.observed_level, row.observed, ORIGINS[2]


def _kind(judged: Ratings, kind: str, level: float) -> KindRow:
    some = judged.of_kind(kind)
    return KindRow(kind, len(some.pairs), counted(some.hits(level), some.is_same))


def _refusals(judged: Ratings, hits: BoolArray) -> dict[str, int]:
    counts: dict[str, int] = {}
    for i in np.flatnonzero(judged.is_same & ~hits):
        reason = judged.why[i] or "below-confidence"
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _readings(
    judged: Ratings, wanted: BoolArray, hits: BoolArray, order: Callable[[int], object]
) -> tuple[Reading, ...]:
    chosen: Sequence[int] = sorted(map(int, np.flatnonzero(wanted)), key=order)[:MOST_READ]  # type: ignore[arg-type]
    return tuple(
        Reading(
            judged.pairs[i].pair.stored,
            judged.pairs[i].pair.asked,
            judged.pairs[i].pair.kind,
            float(judged.confidence[i]),
            float(judged.similarity[i]),
            judged.why[i],
            bool(hits[i]),
        )
        for i in chosen
    )
