"""`deja tune FILE`: labelled pairs to a level, tables on the terminal, and a report in a folder."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path

from embeddings.errors import EmbedderError
from proxy.commands import terminal
from proxy.commands.models import Models, open_models
from proxy.core.confidence import EXACT_ONLY
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.tuning import own, plots, tune_report
from proxy.tuning.advice import Advice, Reading, advise, percent, verdict
from proxy.tuning.page import Picture
from proxy.tuning.pair_files import read_pairs
from proxy.tuning.rating import rate
from proxy.tuning.scoring import LabelledPair, ScoredPair, Scorer

_SHOWN = 5  # pairs of each list on the terminal; the report has more


def run(settings: Settings, file: Path, *, budget: float, out: Path, calibrate: bool) -> None:
    """Judge a file of labelled pairs, print what matters and write the report.

    Args:
        settings: for models and calibration.
        file: .jsonl or .csv, see `tuning.pair_files`.
        budget: wrong hits / hits that are allowed.
        out: folder of the report; made if missing.
        calibrate: write a calibration of these pairs, too.

    Raises:
        ConfigError: the file, the folder or a model cannot be used.
    """
    pairs = read_pairs(file)
    make_folder(out)
    models = open_models(settings)
    scored = _score(models, pairs)
    ratings = rate(scored, models.calibration)
    advice = advise(ratings, models.calibration, budget)
    fitted = own.calibrate(scored, models.calibration) if calibrate else None
    made = tune_report.Made(
        source=file.name,
        at=time.strftime("%Y-%m-%d %H:%M"),
        models=(models.embedder.fingerprint, models.verifier.fingerprint),
        version=version("deja"),
    )
    drawn = tune_report.pictures(advice, ratings)
    # The files come first: a reader that closes the pipe (`| head`) must not lose them.
    write_pictures(out, drawn)
    (out / "report.html").write_text(tune_report.html(advice, drawn, made, fitted), "utf-8")
    (out / "report.json").write_text(json.dumps(tune_report.as_json(advice, made), indent=1) + "\n", "utf-8")
    if fitted is not None:
        own.save(fitted.calibration, out / "calibration.json")
    _show(advice)
    if fitted is not None:
        terminal.show(_fitted(fitted, out / "calibration.json"))
    hint_at_pictures()
    terminal.show(f"The report, with every table and the pairs to read: {out / 'report.html'}")


def make_folder(out: Path) -> None:
    """Make the folder of a report, before hours of work go into it.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The folder {out} cannot be made ({error.strerror}); name another with --out.") from error


def write_pictures(out: Path, drawn: dict[str, Picture]) -> None:
    """Write pictures as PNG beside the report, for light ground."""
    for name, one in drawn.items():
        (out / f"{name}.png").write_bytes(one.light)


def hint_at_pictures() -> None:
    """Say how to get pictures where there are none."""
    if not plots.is_available():
        terminal.show(f"There are no pictures: {plots.HOW_TO_GET}", "dim")


def _score(models: Models, pairs: list[LabelledPair]) -> list[ScoredPair]:
    try:
        with terminal.bars() as bars:
            return Scorer(models.embedder, models.verifier).score(pairs, bars.models)
    except EmbedderError as error:
        raise ConfigError(str(error)) from error


def _show(advice: Advice) -> None:
    terminal.show(verdict(advice), "bold")
    rows, chosen = tune_report.budget_rows(advice)
    terminal.show_table("Hit rate (found) against wrong-hit rate", tune_report.BUDGET_COLUMNS, rows, chosen)
    kinds = [
        (
            row.kind,
            f"{row.outcome.found.of:,}",
            f"{row.outcome.accepted.of:,}",
            percent(row.outcome.found.value),
            percent(row.outcome.accepted.value),
            f"{row.outcome.wrong.count} of {row.outcome.wrong.of}",
        )
        for row in advice.kinds
    ]
    columns = ("kind", "same", "different", "found", "accepted", "wrong of hits")
    terminal.show_table(f"By kind, at the level {_level(advice.level)} ({advice.origin})", columns, kinds)
    if advice.error is not None:
        terminal.show(
            f"The confidence is off by {percent(advice.error)} on average (expected calibration error, pairs that no gate refuses)."
        )
    terminal.show_pairs("Labelled different, surest first", [_told(one) for one in advice.wrong[:_SHOWN]])
    terminal.show_pairs(
        "Labelled the same and missed, least sure first", [_told(one) for one in advice.missed[:_SHOWN]]
    )
    if advice.left_out:
        terminal.show(f"{advice.left_out} pairs of equal texts are left out: the exact tier serves them.", "dim")


def _told(one: Reading) -> tuple[str, str, str]:
    served = "served" if one.is_hit else f"refused by {one.why}" if one.why else "below the level"
    return (
        one.stored,
        one.asked,
        f"{served} · confidence {one.confidence:.4f} · cosine {one.similarity:.3f} · {one.kind}",
    )


def _fitted(fitted: own.Fitted, path: Path) -> str:
    certified = [budget for budget, level in fitted.calibration.levels if level < EXACT_ONLY]
    told = (
        f"From {percent(certified[0])} wrong hits up it has a level; for less, only exact repeats are served."
        if certified
        else f"Its {fitted.certifying:,} certifying pairs are too few for any budget: with it only exact repeats would be served."
    )
    return f"{fitted.why} {told} Written to {path}; serve with it: DEJA_CACHE__CALIBRATION={path.resolve()}"


def _level(level: float) -> str:
    return "exact only" if level >= EXACT_ONLY else f"{level:.4f}"
