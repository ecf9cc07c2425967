"""`deja eval DATA_DIR`: the published tables in one command, offline and, if asked, through a running proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from embeddings.errors import EmbedderError
from proxy.commands import terminal
from proxy.commands.models import Models, open_models
from proxy.commands.terminal import Bars
from proxy.commands.tune import hint_at_pictures, make_folder, write_pictures
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.tuning import eval_report, eval_sets, plots, through_proxy
from proxy.tuning.advice import percent
from proxy.tuning.eval_sets import AUTHORED, EvalSet
from proxy.tuning.evaluate import Evaluation, Evaluator, is_streamed
from proxy.tuning.page import Picture
from proxy.tuning.through_proxy import ProxyResult, Target

SIMULATED = "simulated://"
"""What a proxy without a provider says it forwards to: asking it costs nothing."""


def run(
    settings: Settings,
    data_dir: Path,
    *,
    out: Path,
    only: Sequence[str],
    most: int,
    target: Target | None,
    is_paid: bool,
    by_part: bool = False,
) -> None:
    """Measure a data folder and write Markdown, JSON, pictures, and the pairs where label and decision disagree.

    Args:
        settings: for models, calibration and the default budget.
        data_dir: files as `tuning.eval_sets` reads them.
        out: folder for what is written; made if missing.
        only: names of files, "authored" for the questions that come with Deja; empty for all.
        most: pairs of a set, drawn always alike.
        target: a running proxy to ask the same pairs; None for offline alone.
        is_paid: ask it even if it forwards to a real provider.
        by_part: tell what cosine, verifier and gates are worth each.

    Raises:
        ConfigError: a file, a folder, a model or the proxy cannot be used.
    """
    wanted = [name for name in only if name != AUTHORED]
    paths = eval_sets.files(data_dir, wanted) if wanted or not only else {}
    make_folder(out)
    if target is not None:
        _check(target, is_paid=is_paid)
    try:
        with terminal.bars() as bars:
            evaluation = _Evaluation(open_models(settings), settings, target, most, bars, by_part=by_part)
            for number, (name, path) in enumerate(paths.items()):
                bars("files", number, len(paths))
                evaluation.of_file(name, path)
            if not only or AUTHORED in only:
                for one in eval_sets.authored_sets(most):
                    evaluation.of_set(one)
    except EmbedderError as error:
        raise ConfigError(str(error)) from error
    found = evaluation.evaluator.finish()
    _write(found, evaluation.proxied, out)  # before anything is printed: a closed pipe must not lose it
    _show(found)
    _show_proxied(evaluation.proxied)
    hint_at_pictures()
    terminal.show(
        f"Tables: {out / 'eval.md'}. Numbers: {out / 'eval.json'}. What to read by hand: {out / 'disagreements.jsonl'} "
        "(it quotes the data: not for publishing)."
    )


class _Evaluation:
    """Offline figures, and beside them those of a running proxy where there is one."""

    def __init__(
        self, models: Models, settings: Settings, target: Target | None, most: int, bars: Bars, *, by_part: bool
    ) -> None:
        budget = settings.cache.max_wrong_hit_rate
        self.evaluator = Evaluator(models.embedder, models.verifier, models.calibration, budget, by_part=by_part)
        self.proxied: list[ProxyResult] = []
        self._level = models.calibration.level_for(budget)
        self._target = target
        self._most = most
        self._bars = bars

    def of_file(self, name: str, path: Path) -> None:
        """Measure everything that a file holds."""
        if eval_sets.is_conversation(next(iter(eval_sets.read_rows(path)), {})):
            firsts, made = self.evaluator.conversations(name, path, self._most)
            if firsts.pairs:
                self.of_set(firsts)
            if made.follow_ups:
                self.evaluator.follow_ups(name, made, self._bars)
            return
        for one in self.evaluator.sets(name, path, self._most):
            self.of_set(one)
        if is_streamed(name, path):
            self.evaluator.stream(name, path, self._bars)

    def of_set(self, one: EvalSet) -> None:
        """Measure a set of pairs."""
        hits = self.evaluator.measure(one, self._bars).hits(self._level)
        if self._target is not None:
            title = f"{one.name}, through the proxy"
            told = asyncio.run(
                through_proxy.ask(self._target, one.pairs, lambda done, total: self._bars(title, done, total))
            )
            self.proxied.append(through_proxy.compare(one.name, one.pairs, told, hits))


def _check(target: Target, *, is_paid: bool) -> None:
    upstream = asyncio.run(through_proxy.upstream_of(target))
    if upstream != SIMULATED and not is_paid:
        raise ConfigError(
            f"The proxy at {target.root} forwards to {upstream}: each pair would cost up to two calls. Start one without a provider "
            "(`deja serve`), or say --paid."
        )


def _show(found: Evaluation) -> None:
    rows = [
        (
            one.name,
            f"{one.default.found.of:,} / {one.default.accepted.of:,}",
            percent(one.default.found.value),
            percent(one.cosine.value) if one.cosine else "–",
            percent(one.default.accepted.value),
            f"{percent(one.default.accepted.interval.low)} – {percent(one.default.accepted.interval.high)}",
        )
        for one in found.sets
    ]
    heading = ("set", "same / different", "found", "[cosine]", "accepted", "95 %")
    terminal.show_table(f"At the default budget of {percent(found.budget)}", heading, rows)
    for stream in found.streams:
        streamed = [
            (percent(budget), percent(ours.right.value), f"{ours.wrong.count:,} of {ours.wrong.of:,}")
            for budget, ours in stream.ours.items()
        ]
        terminal.show_table(
            f"{stream.name} as a stream, {stream.orders} orders",
            ("budget", "right of those possible", "wrong hits"),
            streamed,
        )


def _show_proxied(proxied: Sequence[ProxyResult]) -> None:
    if not proxied:
        return
    rows = [
        (
            one.name,
            f"{percent(one.proxy.found.value)} · {percent(one.offline.found.value)}",
            f"{percent(one.proxy.accepted.value)} · {percent(one.offline.accepted.value)}",
            f"{one.only_proxy} / {one.only_offline}",
            f"{sum(one.troubles.values())}",
        )
        for one in proxied
    ]
    heading = ("set", "found there · here", "accepted there · here", "hit only there / here", "troubles")
    terminal.show_table("Through the running proxy", heading, rows)


def _write(found: Evaluation, proxied: Sequence[ProxyResult], out: Path) -> None:
    (out / "eval.md").write_text(eval_report.markdown(found, proxied), "utf-8")
    (out / "eval.json").write_text(json.dumps(eval_report.as_json(found, proxied), indent=1) + "\n", "utf-8")
    lines = (
        {"set": name, "what": what, **asdict(reading)}
        for name, listed in found.disagreements.items()
        for what, reading in listed
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / "disagreements.jsonl").write_text(text, "utf-8")
    write_pictures(out, _pictures(found))


def _pictures(found: Evaluation) -> dict[str, Picture]:
    if not plots.is_available():
        return {}
    drawn: dict[str, Picture] = {}
    if found.bins:
        drawn["reliability"] = Picture(*(plots.reliability(found.bins, theme) for theme in (plots.LIGHT, plots.DARK)))
    rows = [
        plots.Bar(
            one.name,
            one.default.found.value or 0.0,
            one.default.found.interval.low,
            one.default.found.interval.high,
            one.cosine.value or 0.0,
        )
        for one in found.sets
        if one.cosine is not None
    ]
    if rows:
        title = f"found of the rewordings, %, at the default budget of {percent(found.budget)}"
        drawn["found"] = Picture(*(plots.bars(rows, theme, title) for theme in (plots.LIGHT, plots.DARK)))
    return drawn
