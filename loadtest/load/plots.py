"""Pictures of what was measured; needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from loadtest.load import goals
from loadtest.load.contest import Contest
from loadtest.load.goals import DEJA, RIVAL

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
        axis.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names], fontsize=8)
        axis.grid(axis="y", alpha=0.3)
        axis.legend()
    _save(figure, path, f"{contest.machine}, {contest.day}, commit {contest.commit}")


def _save(figure: plt.Figure, path: Path, under: str) -> None:
    figure.supxlabel(under, fontsize=7, color="grey")
    figure.savefig(path, dpi=110)
    plt.close(figure)
