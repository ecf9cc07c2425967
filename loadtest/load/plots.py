"""Pictures of what was measured; needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from loadtest.load import goals
from loadtest.load.contest import Contest
from loadtest.load.goals import DEJA, RIVAL
from loadtest.load.reports import Report

_COLOURS = {DEJA: "#1f77b4", RIVAL: "#ff7f0e"}
_NAMES = {DEJA: "Deja", RIVAL: "LiteLLM"}


def versus(contest: Contest, path: Path) -> None:
    """Throughput and median latency of both contenders, each kind of request beside the other, on logarithmic axes."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    kinds = list(contest.rounds[0]) if contest.rounds else []
    for place, name in enumerate((DEJA, RIVAL)):
        rates = [sorted(round_[kind][name].per_s for round_ in contest.rounds) for kind in kinds]
        middles = [each[len(each) // 2] for each in rates]
        at = [number + (place - 0.5) * 0.4 for number in range(len(kinds))]
        reach = [
            [middle - each[0] for each, middle in zip(rates, middles, strict=True)],
            [each[-1] - middle for each, middle in zip(rates, middles, strict=True)],
        ]
        axes[0].bar(at, middles, 0.4, yerr=reach, capsize=3, label=_NAMES[name], color=_COLOURS[name])
        times = [goals.alone_ms(contest, kind, name) or 0.0 for kind in contest.alone]
        at = [number + (place - 0.5) * 0.4 for number in range(len(times))]
        axes[1].bar(at, times, 0.4, label=_NAMES[name], color=_COLOURS[name])
    for axis, names, title in (
        (axes[0], kinds, f"answers a second, {contest.connections} connections"),
        (axes[1], list(contest.alone), "median ms, one connection"),
    ):
        axis.set_yscale("log")
        axis.set_title(title)
        axis.set_xticks(
            range(len(names)), [name.replace(", ", ",\n").replace(" hit", "\nhit") for name in names], fontsize=8
        )
        axis.grid(axis="y", alpha=0.3)
        axis.legend()
    _save(figure, path, f"{contest.machine}, {contest.day}, commit {contest.commit}")


def report(found: Report, path: Path) -> None:
    """What there is of a run: p99 over rates of a search, windows and memory of a soak, percentiles of a fixed rate."""
    if found.windows:
        figure, axes = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
        minutes = [window.at_s / 60 for window in found.windows]
        axes[0].plot(minutes, [window.p99_ms for window in found.windows], label="p99")
        axes[0].plot(minutes, [window.p50_ms for window in found.windows], label="p50")
        axes[0].set_ylabel("ms")
        for name in found.windows[-1].used.rss_mb:
            axes[1].plot(minutes, [window.used.rss_mb.get(name, 0.0) for window in found.windows], label=name)
        axes[1].set_ylabel("memory, MB")
        for axis in axes:
            axis.set_ylim(bottom=0)
        axes[1].set_xlabel("minutes")
    elif found.saturation is not None:
        figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
        axes = [axis]
        steps = sorted(found.saturation.steps, key=lambda step: step.rate)
        axis.plot([step.rate for step in steps], [step.p99_ms for step in steps], marker="o", label="p99")
        axis.axhline(found.saturation.limit_ms, color="grey", linestyle="--", label="limit")
        axis.axvline(found.saturation.most_per_s, color="red", linestyle=":", label="at most")
        axis.set_yscale("log")
        axis.set_xlabel("requests a second")
        axis.set_ylabel("ms")
    elif found.summary is not None:
        figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
        axes = [axis]
        names = ("p50", "p95", "p99", "p99.9")
        for source, took in found.summary.took.items():
            values = [took.p50_ms, took.p95_ms, took.p99_ms, took.p999_ms]
            told = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
            axis.plot([name for name, _ in told], [value for _, value in told], marker="o", label=source)
        axis.set_yscale("log")
        axis.set_ylabel("ms, from the moment a request was due")
    else:
        return
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    _save(figure, path, f"{found.machine}, {found.day}, commit {found.commit}")


def _save(figure: plt.Figure, path: Path, under: str) -> None:
    figure.supxlabel(under, fontsize=7, color="grey")
    figure.savefig(path, dpi=110)
    plt.close(figure)
