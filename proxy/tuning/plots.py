"""Pictures: hit rate against wrong-hit rate, reliability, found per set. PNG bytes, on light or dark ground.

matplotlib is an extra (`pip install "deja[tune]"`) and is imported when the first picture is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.tuning.figures import Bin
from proxy.tuning.rating import FloatArray

HOW_TO_GET = 'pictures need matplotlib: pip install "deja[tune]"'

_INCHES, _DPI = (7.2, 4.2), 144  # sharp at twice the size it is shown at
_WRONG_SHOWN = 0.1  # wrong-hit rates beyond are nobody's budget


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture, as in the page around it; ours and cosine's also differ by their line, for the colour-blind."""

    name: str
    ground: str
    ink: str
    faint: str
    ours: str
    other: str


LIGHT = Theme("light", "#ffffff", "#1d2433", "#d5dae3", "#0b62c4", "#b4540a")
DARK = Theme("dark", "#161b26", "#e6e9f0", "#343c4d", "#6fb1ff", "#f0a35e")


@dataclass(frozen=True, slots=True)
class Curve:
    """A line: wrong-hit rates and what is found at them, both (m,)."""

    name: str
    wrong: FloatArray
    found: FloatArray


@dataclass(frozen=True, slots=True)
class Bar:
    """One set: what Deja finds with its interval, and what cosine finds at the same acceptance; shares in [0, 1]."""

    name: str
    found: float
    low: float
    high: float
    cosine: float


def is_available() -> bool:
    """Whether pictures can be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def tradeoff(curves: Sequence[Curve], marks: Mapping[str, tuple[float, float]], theme: Theme) -> bytes:
    """Draw hit rate against wrong-hit rate.

    Args:
        curves: Deja's first.
        marks: label -> (wrong-hit rate, found) of levels to point out.
        theme: colours.
    """

    def draw(axes: Any) -> None:
        for curve, colour, line in zip(curves, (theme.ours, theme.other), ("-", "--"), strict=False):
            axes.step(
                100 * curve.wrong, 100 * curve.found, line, where="post", color=colour, label=curve.name, linewidth=2
            )
        for (label, (wrong, found)), sign in zip(marks.items(), "os^D", strict=False):
            axes.plot(
                100 * wrong, 100 * found, sign, color=theme.ink, label=label, markersize=7, clip_on=False, zorder=3
            )
        axes.set(
            xlim=(0, 100 * _WRONG_SHOWN),
            ylim=(0, 100),
            xlabel="wrong hits among hits, %",
            ylabel="found of the rewordings, %",
        )
        axes.legend(frameon=False, labelcolor=theme.ink, loc="best", fontsize=9)

    return _picture(draw, theme)


def reliability(bins: Sequence[Bin], theme: Theme) -> bytes:
    """Draw how often answers of each confidence do serve, beside how often they should."""

    def draw(axes: Any) -> None:
        axes.plot((0, 100), (0, 100), "--", color=theme.other, label="perfectly calibrated", linewidth=1.5)
        largest = max((one.pairs for one in bins), default=1)
        axes.plot(
            [100 * one.confidence for one in bins], [100 * one.same for one in bins], "-", color=theme.ours, linewidth=1
        )
        axes.scatter(
            [100 * one.confidence for one in bins],
            [100 * one.same for one in bins],
            s=[20 + 180 * one.pairs / largest for one in bins],
            color=theme.ours,
            label="these pairs (size: how many)",
            zorder=3,
        )
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %", ylabel="labelled the same, %")
        axes.legend(frameon=False, labelcolor=theme.ink, loc="upper left", fontsize=9)

    return _picture(draw, theme)


def bars(rows: Sequence[Bar], theme: Theme, title: str) -> bytes:
    """Draw what is found in each set, beside cosine at the same acceptance."""

    def draw(axes: Any) -> None:
        places = range(len(rows))
        errors = [
            [max(0.0, 100 * (row.found - row.low)) for row in rows],
            [max(0.0, 100 * (row.high - row.found)) for row in rows],
        ]
        axes.barh(
            [at - 0.2 for at in places],
            [100 * row.found for row in rows],
            0.38,
            xerr=errors,
            ecolor=theme.ink,
            color=theme.ours,
            label="Deja",
        )
        axes.barh(
            [at + 0.2 for at in places],
            [100 * row.cosine for row in rows],
            0.38,
            color=theme.other,
            label="cosine, same acceptance",
        )
        axes.set(xlim=(0, 100), xlabel=title)
        axes.set_yticks(list(places), [row.name for row in rows])
        axes.invert_yaxis()
        axes.legend(frameon=False, labelcolor=theme.ink, loc="lower right", fontsize=9)

    return _picture(draw, theme, height=1.2 + 0.5 * len(rows))


def _picture(draw: Callable[[Any], None], theme: Theme, height: float = _INCHES[1]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: it keeps state and looks for a screen

    figure = Figure(figsize=(_INCHES[0], height), dpi=_DPI, facecolor=theme.ground, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=theme.ground)
    axes.grid(visible=True, color=theme.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, length=0)
    for side in axes.spines.values():
        side.set_color(theme.faint)
    draw(axes)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=theme.ground, metadata={"Software": None})
    return out.getvalue()
