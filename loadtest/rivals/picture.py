"""The comparison as one picture: hits against wrong hits, a panel for each stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.rivals.field import BUDGETS
from loadtest.rivals.intervals import wrong_rate
from loadtest.rivals.replay import Per, Tally
from loadtest.rivals.report import SHIPPED, Result

_COLUMNS = 4
_FEWEST_HITS = 5  # an order; a rate of fewer is noise
_RIGHT_EDGE = {Per.HITS: 0.12, Per.REQUESTS: 0.06}  # beyond the largest budget
CURVES = {
    "Deja": ("#c2410c", "-"),
    "cosine": ("#1d4ed8", "-"),
    "GPTCache, k-reciprocal": ("#0f766e", "--"),
    "vCache's estimate": ("#7e22ce", ":"),
}
_POINTS = {SHIPPED: ("#c2410c", "o"), "vCache, δ = budget": ("#7e22ce", "^")}


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw streams, all of one account, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = -(-len(results) // _COLUMNS)
    figure, axes = plt.subplots(rows, min(_COLUMNS, len(results)), figsize=(16, 4.2 * rows), squeeze=False)
    for axis in axes.flat[len(results) :]:
        axis.set_visible(False)
    for axis, result in zip(axes.flat, results, strict=False):
        _panel(axis, result)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=6, frameon=False)
    figure.supxlabel(f"wrong among {'hits' if results[0].per is Per.HITS else 'all requests'}, %")
    figure.supylabel("hits, % of the questions asked")
    figure.tight_layout(rect=(0.01, 0.01, 1, 0.95))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Any, result: Result) -> None:
    edge = _RIGHT_EDGE[result.per]
    for budget in BUDGETS:
        axis.axvline(100 * budget, color="#d4d4d4", linewidth=0.8, zorder=0)
    highest = 0.0
    for name, (colour, style) in CURVES.items():
        shown = [tally for tally in result.curves[name] if _is_telling(tally)]
        rates = [100 * tally.wrong_rate(result.per) for tally in shown]
        axis.plot(rates, [100 * tally.hit_share for tally in shown], style, color=colour, label=name, linewidth=1.6)
        highest = max([highest, *(tally.hit_share for tally in shown if tally.wrong_rate(result.per) <= edge)])
    for line in result.lines:
        if line.name in _POINTS:
            colour, marker = _POINTS[line.name]
            _points(axis, result.per, [line.tallies[budget] for budget in BUDGETS], colour, marker, line.name)
    axis.set_title(result.name, fontsize=11)
    axis.set_xlim(-1 * edge, 100 * edge)  # a little left of zero, where most of Deja's points lie
    axis.set_ylim(0, 108 * max(highest, 0.05))
    axis.spines[["top", "right"]].set_visible(False)


def _points(axis: Any, per: Per, tallies: Sequence[Tally], colour: str, marker: str, name: str) -> None:
    known = [(rate, tally.hit_share) for tally in tallies if (rate := wrong_rate(tally, per)) is not None]
    known = [(rate, share) for rate, share in known if rate.value <= _RIGHT_EDGE[per]]
    low, high = ([100 * abs(rate.value - end) for rate, end in ends] for ends in (
        [(rate, rate.low) for rate, _ in known], [(rate, rate.high) for rate, _ in known],
    ))  # fmt: skip
    axis.errorbar(
        [100 * rate.value for rate, _ in known], [100 * share for _, share in known], xerr=[low, high],
        fmt=marker, color=colour, label=f"{name} (95 %)", markersize=5, elinewidth=0.6, capsize=2, alpha=0.9,
    )  # fmt: skip


def _is_telling(tally: Tally) -> bool:
    return bool(tally.hits.mean() >= _FEWEST_HITS)
