"""`deja tune --journal`: what the budgets would have meant for a tenant's own recent questions, without labels.

The calibrated confidence stands for the label: of hits with confidence 0.98, two in a hundred are taken to be wrong. That is an
expectation and proves nothing; where a caller voted, the vote counts instead. Votes are a biased sample: no level is certified from
them. What helps is to label some pairs: the ones written out are those where a label tells most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.core.confidence import Calibration
from proxy.core.decision_log import DecisionRecord, Seen
from proxy.tuning.advice import percent
from proxy.tuning.figures import BUDGETS

MOST_TO_LABEL = 200
"""Pairs written out for labelling: an evening's work."""
_WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision by its surest candidate.

    Attributes:
        asked: the question.
        stored: the stored question, "" if nothing was near.
        confidence: in [0, 1]; 0 where a gate refused all.
        similarity: cosine to it.
        why: what refused it, "" where the level decided.
        was_hit: it was served.
        vote: "right", "wrong" or None.
    """

    asked: str
    stored: str
    confidence: float
    similarity: float
    why: str
    was_hit: bool
    vote: str | None

    @property
    def chance_wrong(self) -> float:
        """Chance that its answer does not serve, as voted or else as calibrated."""
        if self.was_hit and self.vote is not None:
            return float(self.vote == _WRONG)
        return 1.0 - self.confidence


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One budget: its level, the hits there would have been, and how many of them are expected to be wrong."""

    budget: float
    level: float
    hits: int
    wrong: float


@dataclass(frozen=True, slots=True)
class JournalAdvice:
    """What recorded decisions say.

    Attributes:
        questions: that reached the semantic tier.
        hits: of them, served by meaning.
        budget: asked for.
        rows: of it and the usual budgets.
        votes: right, wrong -> how many hits were voted so.
        refused: why there was no hit -> how many.
        unsure: hits, least sure first.
        nearly: misses that nothing but the level refused, surest first.
        to_label: pairs where a label tells most, nearest to the level first.
    """

    questions: int
    hits: int
    budget: float
    rows: tuple[JournalRow, ...]
    votes: dict[str, int]
    refused: dict[str, int]
    unsure: tuple[Recorded, ...]
    nearly: tuple[Recorded, ...]
    to_label: tuple[Recorded, ...]

    @property
    def row(self) -> JournalRow:
        """Of the budget asked for."""
        return next(row for row in self.rows if row.budget == self.budget)


def recorded(record: DecisionRecord) -> Recorded:
    """Read a decision of the semantic tier by its surest candidate."""
    best = max(record.seen, key=lambda one: (one.is_chosen, one.confidence or 0.0, one.similarity), default=None)
    if best is None:
        return Recorded(record.asked or "", "", 0.0, -1.0, record.reason, False, None)
    served = best.is_chosen and record.is_hit
    return Recorded(
        record.asked or "",
        best.question,
        best.confidence or 0.0,
        best.similarity,
        _why(best, record),
        served,
        record.vote,
    )


def advise(records: Iterable[DecisionRecord], calibration: Calibration, budget: float) -> JournalAdvice:
    """Work out what recorded decisions say.

    Args:
        records: of the semantic tier, in any order.
        calibration: the one in use, for its levels.
        budget: the wrong-hit rate asked for.
    """
    all_ = [recorded(record) for record in records]
    level = calibration.level_for(budget)
    missed = [one for one in all_ if not one.was_hit]
    by_level = [
        one for one in all_ if one.stored and one.confidence > 0 and one.vote is None and one.stored != one.asked
    ]
    return JournalAdvice(
        questions=len(all_),
        hits=len(all_) - len(missed),
        budget=budget,
        rows=tuple(_row(all_, one, calibration.level_for(one)) for one in sorted({*BUDGETS, budget})),
        votes=dict(Counter(one.vote for one in all_ if one.was_hit and one.vote is not None)),
        refused=dict(Counter(one.why for one in missed).most_common()),
        unsure=_sorted([one for one in all_ if one.was_hit], lambda one: one.confidence),
        nearly=_sorted([one for one in missed if one.confidence > 0], lambda one: -one.confidence),
        to_label=_sorted(by_level, lambda one: abs(one.confidence - min(level, 1.0)), MOST_TO_LABEL),
    )


def verdict(advice: JournalAdvice) -> str:
    """Say in a few sentences what to make of it."""
    if not advice.questions:
        return "No question has reached the semantic tier yet, or none of this tenant and namespace is kept any more."
    row = advice.row
    if not row.hits:
        return f"At this budget none of the {advice.questions:,} questions would have been a hit by meaning."
    return (
        f"At this budget {row.hits:,} of {advice.questions:,} questions ({percent(row.hits / advice.questions)}) would have been hits by "
        f"meaning. About {row.wrong:.1f} of them ({percent(row.wrong / row.hits)}) are expected to be wrong, going by the calibrated "
        "confidence, as nobody labelled them: label the pairs written out, and run deja tune on them to know."
    )


def as_json(advice: JournalAdvice) -> dict[str, Any]:
    """Everything as numbers; no texts."""
    return {
        "questions": advice.questions,
        "hits": advice.hits,
        "budget": advice.budget,
        "verdict": verdict(advice),
        "is_labelled": False,
        "budgets": [
            {"budget": row.budget, "level": row.level, "hits": row.hits, "expected_wrong": row.wrong}
            for row in advice.rows
        ],
        "votes": advice.votes,
        "refused": advice.refused,
    }


def label_rows(advice: JournalAdvice) -> list[dict[str, Any]]:
    """Pairs to label, in the form that `deja tune FILE` reads once every `same` is filled in."""
    return [
        {"a": one.stored, "b": one.asked, "same": None, "kind": "served" if one.was_hit else "missed"}
        for one in advice.to_label
    ]


def _why(best: Seen, record: DecisionRecord) -> str:
    if best.is_chosen and record.is_hit:
        return ""
    return best.refused or record.reason


def _row(all_: Sequence[Recorded], budget: float, level: float) -> JournalRow:
    hits = [one for one in all_ if one.stored and one.confidence >= level]
    return JournalRow(budget, level, len(hits), sum(one.chance_wrong for one in hits))


def _sorted(some: Sequence[Recorded], key: Callable[[Recorded], float], most: int = 40) -> tuple[Recorded, ...]:
    return tuple(sorted(some, key=key)[:most])
