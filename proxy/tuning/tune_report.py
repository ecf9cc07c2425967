"""What `deja tune` found on labelled pairs, as a web page, as pictures and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxy.core.confidence import EXACT_ONLY
from proxy.tuning import page, plots
from proxy.tuning.advice import ORIGINS, Advice, BudgetRow, Reading, percent, verdict
from proxy.tuning.figures import Outcome, Share, best_within, tradeoff
from proxy.tuning.own import Fitted
from proxy.tuning.page import Picture, Section
from proxy.tuning.rating import Ratings

_ORIGIN_WORDS = {
    "certified": "certified on these pairs",
    "shipped": "as shipped",
    "observed": "observed, not certified",
}
_SHOWN_OPEN = 8  # of a list, unfolded from the start


@dataclass(frozen=True, slots=True)
class Made:
    """Where the figures come from.

    Attributes:
        source: the file's name.
        at: when, for people.
        models: fingerprints of embedder and verifier.
        version: of Deja.
    """

    source: str
    at: str
    models: tuple[str, str]
    version: str


def pictures(advice: Advice, ratings: Ratings) -> dict[str, Picture]:
    """Draw what the page shows; by file name without suffix. Empty where there is no matplotlib."""
    if not plots.is_available():
        return {}
    judged = ratings.only(~ratings.is_exact)
    curves = []
    for name, score in (
        ("Deja", np.where(judged.confidence > 0, judged.confidence, -np.inf)),
        ("cosine alone", judged.similarity),
    ):
        wrong, found = best_within(*tradeoff(score, judged.is_same))
        curves.append(plots.Curve(name, wrong, found))
    marks = {label: at for label, at in _marks(advice.row).items() if at is not None}
    themes = (plots.LIGHT, plots.DARK)
    drawn = {"hit-rate": Picture(*(plots.tradeoff(curves, marks, theme) for theme in themes))}
    if advice.bins:
        drawn["reliability"] = Picture(*(plots.reliability(advice.bins, theme) for theme in themes))
    return drawn


def html(advice: Advice, drawn: dict[str, Picture], made: Made, fitted: Fitted | None = None) -> str:
    """Write the page."""
    outcome = advice.outcome
    top = page.paragraph(verdict(advice), "lead")
    top += page.cards(
        (
            ("Rewordings found", percent(outcome.found.value), _interval(outcome.found)),
            ("Wrong hits", f"{outcome.wrong.count} of {outcome.wrong.of}", _interval(outcome.wrong)),
            ("Level", _level(advice.level), _ORIGIN_WORDS[advice.origin]),
            ("Pairs", f"{advice.pairs:,}", f"{advice.same:,} labelled the same"),
        )
    )
    if fitted is not None:
        top += page.paragraph(
            f"{fitted.why} The levels of the written calibration rest on {fitted.certifying:,} pairs that took no part."
        )
    sections = [
        Section("budgets", "Hit rate and wrong-hit rate", _budgets(advice, drawn)),
        Section("kinds", "By kind", _kinds(advice)),
        Section("confidence", "Is the confidence honest?", _reliability(advice, drawn)),
        Section("reading", "Pairs worth reading", _readings(advice)),
    ]
    footer = (
        f"Made by deja tune {made.version} on {made.at} with the embedder {made.models[0]} and the verifier {made.models[1]}. "
        "This page quotes your pairs; it loads nothing and sends nothing."
    )
    return page.page(
        "How Deja judges your pairs",
        f"{made.source}, at a wrong-hit budget of {percent(advice.budget)}",
        top,
        sections,
        footer,
    )


def as_json(advice: Advice, made: Made) -> dict[str, Any]:
    """Everything as numbers and names; no text of a pair."""
    return {
        "source": made.source,
        "embedder": made.models[0],
        "verifier": made.models[1],
        "pairs": advice.pairs,
        "same": advice.same,
        "left_out": advice.left_out,
        "budget": advice.budget,
        "is_certified": advice.is_certified,
        "level": advice.level,
        "verdict": verdict(advice),
        "budgets": [
            {
                "budget": row.budget,
                "level": row.level,
                "certified": _outcome_json(row.certified),
                "shipped_level": row.shipped_level,
                "shipped": _outcome_json(row.shipped),
                "observed_level": row.observed_level,
                "observed": _outcome_json(row.observed),
            }
            for row in advice.rows
        ],
        "kinds": {row.kind: {"pairs": row.pairs, **_outcome_json(row.outcome)} for row in advice.kinds},
        "calibration_error": advice.error,
        "bins": [{"pairs": one.pairs, "confidence": one.confidence, "same": one.same} for one in advice.bins],
        "refused": advice.refused,
    }


BUDGET_COLUMNS = ("budget", "level is", "level", "found", "wrong hits", "95 %")
"""What `budget_rows` gives."""


def budget_rows(advice: Advice) -> tuple[list[tuple[str, ...]], int]:
    """Each budget's levels, certified, shipped and observed, with what each finds and gets wrong; and the number of the chosen one."""
    rows: list[tuple[str, ...]] = []
    chosen = 0
    for row in advice.rows:
        levels = ((row.level, row.certified), (row.shipped_level, row.shipped), (row.observed_level, row.observed))
        for (level, made), origin in zip(levels, ORIGINS, strict=True):
            if row is advice.row and origin == advice.origin:
                chosen = len(rows)
            rows.append((percent(row.budget), origin, *_level_cells(level, made)))
    return rows, chosen


def _level_cells(level: float, made: Outcome) -> tuple[str, ...]:
    if level >= EXACT_ONLY:
        return "exact only", "–", "–", "–"
    interval = made.wrong.interval
    between = f"{percent(interval.low)} – {percent(interval.high)}" if made.wrong.of else "–"
    return f"{level:.4f}", percent(made.found.value), f"{made.wrong.count} of {made.wrong.of}", between


def _marks(row: BudgetRow) -> dict[str, tuple[float, float] | None]:
    told = {
        "level as shipped": (row.shipped_level, row.shipped),
        "level certified on these pairs": (row.level, row.certified),
    }
    return {
        label: None
        if level >= EXACT_ONLY or made.wrong.value is None or made.found.value is None
        else (made.wrong.value, made.found.value)
        for label, (level, made) in told.items()
    }


def _budgets(advice: Advice, drawn: dict[str, Picture]) -> str:
    told = page.paragraph(
        "A lower level finds more and errs more. “Certified” levels are the lowest that these pairs prove to be within the budget; "
        "“as shipped” is the level in use, proved on other pairs; “observed” is where these very pairs keep the budget, which proves "
        "nothing about others."
    )
    if "hit-rate" in drawn:
        told += page.picture(
            drawn["hit-rate"],
            "The most that is found at any level with no more wrong hits among its hits: Deja, and cosine alone.",
        )
    rows, chosen = budget_rows(advice)
    return told + page.table("Wrong-hit budgets, and what they find", BUDGET_COLUMNS, rows, chosen)


def _kinds(advice: Advice) -> str:
    rows = [
        (
            row.kind,
            f"{row.outcome.found.of:,}",
            f"{row.outcome.accepted.of:,}",
            _or_dash(row.outcome.found),
            _or_dash(row.outcome.accepted),
            _with_interval(row.outcome.wrong),
        )
        for row in advice.kinds
    ]
    heading = ("kind", "same", "different", "found", "accepted", "wrong among hits (95 %)")
    told = page.table(f"Kinds of pairs at the level {_level(advice.level)}", heading, rows)
    if advice.refused:
        reasons = [(reason, f"{count:,}", percent(count / advice.same)) for reason, count in advice.refused.items()]
        told += page.table("What refused pairs labelled the same", ("reason", "pairs", "of the same"), reasons)
    return told


def _reliability(advice: Advice, drawn: dict[str, Picture]) -> str:
    if advice.error is None:
        return page.paragraph("No pair got as far as a confidence.")
    told = page.paragraph(
        f"Of answers given with confidence 90 %, nine in ten should serve. On average the confidence is off by {percent(advice.error)} "
        "(expected calibration error), over the pairs that no gate refuses. If your pairs are near misses picked on purpose, the "
        "confidence will look too high here, and rightly so: it is meant for what a search finds."
    )
    if "reliability" in drawn:
        told += page.picture(
            drawn["reliability"], "How many pairs are labelled the same, against the confidence they were given."
        )
    rows = [(percent(one.confidence), percent(one.same), f"{one.pairs:,}") for one in advice.bins]
    return told + page.table("Confidence and truth", ("mean confidence", "labelled the same", "pairs"), rows)


def _readings(advice: Advice) -> str:
    told = page.paragraph(
        "Read these before you trust a number: some are Deja's mistakes, some the labels'. The first text is the stored question, "
        "the second the one asked."
    )
    told += page.quoted([_quoted(one) for one in advice.wrong], "Labelled different, surest first", is_open=True)
    told += page.quoted(
        [_quoted(one) for one in advice.missed[:_SHOWN_OPEN]],
        "Labelled the same and missed, least sure first",
        is_open=True,
    )
    return told + page.quoted(
        [_quoted(one) for one in advice.missed[_SHOWN_OPEN:]], "More that were missed", is_open=False
    )


def _quoted(one: Reading) -> tuple[str, str, str, str]:
    served = "served" if one.is_hit else f"refused by {one.why}" if one.why else "below the level"
    return (
        one.stored,
        one.asked,
        f"{served} · confidence {one.confidence:.4f} · cosine {one.similarity:.3f} · {one.kind}",
        "bad" if one.is_hit else "",
    )


def _level(level: float) -> str:
    return "exact only" if level >= EXACT_ONLY else f"{level:.4f}"


def _or_dash(share: Share) -> str:
    return percent(share.value)


def _with_interval(share: Share) -> str:
    return (
        f"{share.count} of {share.of} ({percent(share.interval.low)} to {percent(share.interval.high)})"
        if share.of
        else "–"
    )


def _interval(share: Share) -> str:
    return f"95 % interval {percent(share.interval.low)} to {percent(share.interval.high)}" if share.of else "no hits"


def _outcome_json(made: Outcome) -> dict[str, Sequence[float]]:
    return {
        name: (share.count, share.of, share.interval.low, share.interval.high)
        for name, share in (("found", made.found), ("accepted", made.accepted), ("wrong", made.wrong))
    }
