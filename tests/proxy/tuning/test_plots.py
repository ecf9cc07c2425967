from __future__ import annotations

import sys

import numpy as np
import pytest

from proxy.tuning import plots
from proxy.tuning.figures import Bin
from proxy.tuning.plots import DARK, LIGHT, Bar, Curve

PNG = b"\x89PNG\r\n\x1a\n"
CURVE = Curve("Deja", np.array([0.0, 0.05]), np.array([0.1, 0.6]))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_each_picture_is_a_png_on_its_ground(theme: plots.Theme) -> None:
    drawn = [
        plots.tradeoff([CURVE, CURVE], {"here": (0.01, 0.2)}, theme),
        plots.reliability([Bin(5, 0.3, 0.2), Bin(9, 0.9, 1.0)], theme),
        plots.bars([Bar("one set", 0.4, 0.3, 0.5, 0.2)], theme, "found, %"),
    ]
    assert all(one.startswith(PNG) for one in drawn)
    assert len(set(drawn)) == 3


def test_light_and_dark_differ_and_the_same_is_drawn_the_same() -> None:
    first, second, dark = (plots.tradeoff([CURVE], {}, theme) for theme in (LIGHT, LIGHT, DARK))
    assert first == second
    assert first != dark


def test_without_matplotlib_there_are_no_pictures_and_the_way_to_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plots.is_available()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not plots.is_available()
    assert 'pip install "deja[tune]"' in plots.HOW_TO_GET
