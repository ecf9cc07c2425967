"""The comparison as tables for people and as JSON for programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.rivals.field import BUDGETS, NONE
from loadtest.rivals.intervals import Share, difference, hit_share, wrong_rate
from loadtest.rivals.replay import Tally

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PAGE, _PICTURE = _DOCS / "guide" / "comparison.md", _DOCS / "images" / "comparison.png"
_FIGURE = """![Hits against wrong hits, a panel for each stream](../images/comparison.png)

Lines: every threshold or level tried. Circles and triangles: as it ships, and vCache's rule, at the four budgets, with 95 % intervals.
"""
_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- /measured -->)", re.DOTALL)
SHIPPED, HINDSIGHT = "Deja, as shipped", "Deja, best level in hindsight"
"""Names of lines that the summary speaks of."""

_FEW_HITS = 20  # fewer in all orders say nothing of a rate: shown, never called a budget kept or broken


@dataclass(frozen=True, slots=True)
class Line:
    """One contender on one stream.

    Attributes:
        name: for people.
        settings: budget -> the setting used on each half.
        tallies: budget -> what came of it, both halves together.
    """

    name: str
    settings: Mapping[float, tuple[float, float]]
    tallies: Mapping[float, Tally]


@dataclass(frozen=True, slots=True)
class Result:
    """One stream.

    Attributes:
        name: of the stream.
        lines: contenders; the first is Deja as shipped, those whose name starts with "Deja" are no rivals.
        curves: family -> what each of its settings did, in the order of the settings.
        possible: share of the questions that a cache knowing everything could answer.
        agreement: share of the library's decisions that equal cosine's at the same threshold; None if it did not run.
    """

    name: str
    lines: tuple[Line, ...]
    curves: Mapping[str, Sequence[Tally]]
    possible: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a table has to name to be repeated."""

    embedder: str
    verifier: str
    orders: int
    seed: int


def markdown(results: Sequence[Result], setup: Setup) -> str:
    """Write all tables."""
    parts = [
        f"Embedder `{setup.embedder}`, verifier `{setup.verifier}`, {setup.orders} orders of each stream, seed {setup.seed}.\n",
        summary(results),
        *(stream_table(result) for result in results),
    ]
    return "\n".join(parts)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Give every number that the tables show, and the differences between Deja as shipped and each rival."""
    return {
        result.name: {
            "possible": result.possible,
            "agreement": result.agreement,
            "contenders": {
                line.name: {f"{budget:g}": _cell_json(result, line, budget) for budget in BUDGETS}
                for line in result.lines
            },
        }
        for result in results
    }


def publish(table: str, picture: Path) -> None:
    """Replace the measured part of the guide, and its picture.

    Raises:
        ValueError: the guide lacks the marks between which the tables stand.
    """
    page = _PAGE.read_text("utf-8")
    if not _MEASURED.search(page):
        raise ValueError(f"{_PAGE} has no <!-- measured --> ... <!-- /measured -->; put them where the tables belong")
    _PAGE.write_text(_MEASURED.sub(lambda _match: f"\n{_FIGURE}\n{table}\n", page), "utf-8")
    _PICTURE.parent.mkdir(exist_ok=True)
    shutil.copyfile(picture, _PICTURE)


def state(tally: Tally, budget: float) -> str:
    """Say how wrong hits stand to a budget: "kept", "over" (but not beyond chance), "broken" (beyond it), or "few hits"."""
    rate = wrong_rate(tally)
    if rate is None or int(tally.hits.sum()) < _FEW_HITS:
        return "few hits"
    if rate.value <= budget:
        return "kept"
    return "over" if rate.low <= budget else "broken"


def best_rival(result: Result, budget: float) -> Line:
    """Give the rival with the most hits among those that keep the budget: cosine if all hit nothing."""
    rivals = [line for line in result.lines if not line.name.startswith("Deja")]
    keeping = [line for line in rivals if line.tallies[budget].wrong_rate <= budget]
    return max(keeping or rivals, key=lambda line: line.tallies[budget].hit_share)


def summary(results: Sequence[Result]) -> str:
    """Deja against the best that any rival reaches within the budget."""
    rows = [
        "| stream | budget | best rival within it | its hits | Deja as shipped: hits | wrong among them | lead, points | "
        "| lead if Deja's level, too, were chosen in hindsight |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for budget in BUDGETS:
            ours, rival = result.lines[0].tallies[budget], best_rival(result, budget)
            lead = difference(ours, rival.tallies[budget])
            likewise = difference(_named(result, HINDSIGHT).tallies[budget], rival.tallies[budget])
            rows.append(
                f"| {result.name} | {_budget(budget)} | {rival.name} | {_percent(rival.tallies[budget].hit_share)} "
                f"| {_percent(ours.hit_share)} | {_wrong(ours, budget)} | {_points(lead)} | {_verdict(lead, state(ours, budget))} "
                f"| {_points(likewise)} |"
            )
    return "\n".join(rows) + "\n"


def _named(result: Result, name: str) -> Line:
    return next(line for line in result.lines if line.name == name)


def _verdict(lead: Share, kept: str) -> str:
    if kept == "broken":
        return "budget broken"
    return "ahead" if lead.low > 0 else "behind" if lead.high < 0 else "not told apart"


def stream_table(result: Result) -> str:
    """Write the table of one stream: every contender at every budget."""
    tally = result.lines[0].tallies[BUDGETS[0]]
    asked = int(tally.asked.mean().round())
    rows = [
        f"### {result.name}\n",
        f"{asked:,} questions an order, {_percent(result.possible)} of them answerable from what came before."
        + (
            f" redisvl decides as cosine at its threshold in {_percent(result.agreement)} of the cases."
            if result.agreement is not None
            else ""
        )
        + "\n",
        "| | " + " | ".join(f"budget {_budget(budget)}" for budget in BUDGETS) + " |",
        "|---" * (1 + len(BUDGETS)) + "|",
    ]
    for line in result.lines:
        cells = [
            f"{_percent(line.tallies[budget].hit_share)}, wrong {_wrong(line.tallies[budget], budget)}"
            for budget in BUDGETS
        ]
        rows.append(f"| {line.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _cell_json(result: Result, line: Line, budget: float) -> dict[str, Any]:
    tally, ours = line.tallies[budget], result.lines[0].tallies[budget]
    rate = wrong_rate(tally)
    return {
        "settings": [None if setting == NONE else setting for setting in line.settings[budget]],
        "asked": tally.asked.tolist(),
        "hits": tally.hits.tolist(),
        "wrong": tally.wrong.tolist(),
        "hit_share": asdict(hit_share(tally)),
        "wrong_rate": None if rate is None else asdict(rate),
        "wrong_of_all": float(tally.wrong.sum() / max(1, tally.asked.sum())),
        "budget": state(tally, budget),
        "lead_of_deja": asdict(difference(ours, tally)),
    }


def _wrong(tally: Tally, budget: float) -> str:
    rate = wrong_rate(tally)
    if rate is None:
        return "–"
    mark = {"kept": "", "over": " ?", "broken": " ✗", "few hits": " (few)"}[state(tally, budget)]
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}–{100 * rate.high:.1f}]{mark}"


def _points(share: Share) -> str:
    return f"{100 * share.value:+.1f} [{100 * share.low:+.1f}, {100 * share.high:+.1f}]"


def _budget(value: float) -> str:
    return f"{100 * value:g} %"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
