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
from loadtest.rivals.replay import Per, Tally

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PAGE, _PICTURES = _DOCS / "guide" / "comparison.md", _DOCS / "images"
IMAGES = {Per.HITS: "comparison.png", Per.REQUESTS: "comparison-requests.png"}
_TITLES = {Per.HITS: "Budgets of wrong answers among hits", Per.REQUESTS: "Budgets of wrong answers among all requests"}
_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- /measured -->)", re.DOTALL)
SHIPPED, OTHER_HALF, HINDSIGHT = (
    "Deja, as shipped", "Deja, level from the other half", "Deja, best level in hindsight",
)  # fmt: skip
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
    """One stream, with budgets of one account.

    Attributes:
        name: of the stream.
        per: what the budgets are shares of.
        lines: contenders; those whose name starts with "Deja" are no rivals, the first is Deja without hindsight.
        curves: family -> what each of its settings did, in the order of the settings.
        possible: share of the questions that a cache knowing everything could answer.
        agreement: share of the library's decisions that equal cosine's at the same threshold; None if it did not run.
    """

    name: str
    per: Per
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


def markdown(results: Sequence[Result], setup: Setup, images: str = "") -> str:
    """Write all tables.

    Args:
        results: both accounts of each stream.
        setup: what was compared.
        images: what stands before a picture's name in its link, "" or ending in "/".
    """
    parts = [
        f"Embedder `{setup.embedder}`, verifier `{setup.verifier}`, {setup.orders} orders of each stream, seed {setup.seed}.\n"
    ]
    for per in Per:
        of_it = [result for result in results if result.per is per]
        parts += [
            f"### {_TITLES[per]}\n",
            f"![Hits against wrong answers among {per.value}, a panel for each stream]({images}{IMAGES[per]})\n",
            summary(of_it),
            *(stream_table(result) for result in of_it),
        ]
    return "\n".join(parts)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Give every number that the tables show, and Deja's lead over each rival."""
    return [
        {
            "stream": result.name,
            "per": result.per.value,
            "possible": result.possible,
            "agreement": result.agreement,
            "contenders": {
                line.name: {f"{budget:g}": _cell_json(result, line, budget) for budget in BUDGETS}
                for line in result.lines
            },
        }
        for result in results
    ]


def publish(results: Sequence[Result], setup: Setup, folder: Path) -> None:
    """Replace the measured part of the guide, and its pictures, by those in a folder.

    Raises:
        ValueError: the guide lacks the marks between which the tables stand.
    """
    page = _PAGE.read_text("utf-8")
    if not _MEASURED.search(page):
        raise ValueError(f"{_PAGE} has no <!-- measured --> ... <!-- /measured -->; put them where the tables belong")
    table = markdown(results, setup, "../images/")
    _PAGE.write_text(_MEASURED.sub(lambda _match: f"\n{table}\n", page), "utf-8")
    _PICTURES.mkdir(exist_ok=True)
    for name in IMAGES.values():
        shutil.copyfile(folder / name, _PICTURES / name)


def state(tally: Tally, budget: float, per: Per) -> str:
    """Say how wrong hits stand to a budget: "kept", "over" (but not beyond chance), "broken" (beyond it), or "few hits"."""
    rate = wrong_rate(tally, per)
    if rate is None or int(tally.hits.sum()) < _FEW_HITS:
        return "few hits"
    if rate.value <= budget:
        return "kept"
    return "over" if rate.low <= budget else "broken"


def best_rival(result: Result, budget: float) -> Line:
    """Give the rival with the most hits among those that keep the budget: cosine if all hit nothing."""
    rivals = [line for line in result.lines if not line.name.startswith("Deja")]
    keeping = [line for line in rivals if line.tallies[budget].wrong_rate(result.per) <= budget]
    return max(keeping or rivals, key=lambda line: line.tallies[budget].hit_share)


def summary(results: Sequence[Result]) -> str:
    """Set Deja against the best that any rival reaches within the budget."""
    rows = [
        f"| stream | budget | best rival within it | its hits | {results[0].lines[0].name}: hits | wrong | lead, points | "
        "| lead with Deja's level, too, in hindsight |",
        "|---" * 9 + "|",
    ]
    for result in results:
        for budget in BUDGETS:
            ours, rival = result.lines[0].tallies[budget], best_rival(result, budget)
            lead = difference(ours, rival.tallies[budget])
            likewise = difference(_named(result, HINDSIGHT).tallies[budget], rival.tallies[budget])
            rows.append(
                f"| {result.name} | {_budget(budget)} | {rival.name} | {_percent(rival.tallies[budget].hit_share)} "
                f"| {_percent(ours.hit_share)} | {_wrong(ours, budget, result.per)} | {_points(lead)} "
                f"| {_verdict(lead, state(ours, budget, result.per))} | {_points(likewise)} |"
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
        f"#### {result.name}\n",
        f"{asked:,} questions an order, {_percent(result.possible)} of them answerable from what came before."
        + (
            f" redisvl decides as cosine at its threshold in {_percent(result.agreement)} of the cases."
            if result.agreement is not None and result.per is Per.HITS
            else ""
        )
        + "\n",
        "| | " + " | ".join(f"budget {_budget(budget)}" for budget in BUDGETS) + " |",
        "|---" * (1 + len(BUDGETS)) + "|",
    ]
    for line in result.lines:
        cells = [
            f"{_percent(line.tallies[budget].hit_share)}, wrong {_wrong(line.tallies[budget], budget, result.per)}"
            for budget in BUDGETS
        ]
        rows.append(f"| {line.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _cell_json(result: Result, line: Line, budget: float) -> dict[str, Any]:
    tally, ours = line.tallies[budget], result.lines[0].tallies[budget]
    rate = wrong_rate(tally, result.per)
    return {
        "settings": [None if setting == NONE else setting for setting in line.settings[budget]],
        "asked": tally.asked.tolist(),
        "hits": tally.hits.tolist(),
        "wrong": tally.wrong.tolist(),
        "hit_share": asdict(hit_share(tally)),
        "wrong_rate": None if rate is None else asdict(rate),
        "budget": state(tally, budget, result.per),
        "lead_of_deja": asdict(difference(ours, tally)),
    }


def _wrong(tally: Tally, budget: float, per: Per) -> str:
    rate = wrong_rate(tally, per)
    if rate is None:
        return "–"
    mark = {"kept": "", "over": " ?", "broken": " ✗", "few hits": " (few)"}[state(tally, budget, per)]
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}–{100 * rate.high:.1f}]{mark}"


def _points(share: Share) -> str:
    return f"{100 * share.value:+.1f} [{100 * share.low:+.1f}, {100 * share.high:+.1f}]"


def _budget(value: float) -> str:
    return f"{100 * value:g} %"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
