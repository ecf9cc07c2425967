from __future__ import annotations

from typing import Any

import pytest

from proxy.commands import asking, budget

TOLD: dict[str, Any] = {
    "max_wrong_hit_rate": 0.01,
    "state": "calibrated",
    "level": 0.981,
    "calibrated_level": 0.981,
    "wrong_hit_rate": {"estimate": 0.004, "low": 0.001, "high": 0.013},
    "audits": {"hits": 1240, "hits_called_wrong": 5, "below_level": 310, "below_level_called_wrong": 22},
    "in_words": "All is well.",
}


def told(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> list[str]:
    asked: list[tuple[str, str, object]] = []

    def get(root: str, path: str, *, api_key: str | None, **parameters: object) -> dict[str, Any]:
        asked.append((root, path, parameters["namespace"]))
        return TOLD | fields

    monkeypatch.setattr(asking, "get", get)
    lines = budget.budget("http://x", namespace="shop", api_key=None).splitlines()
    assert asked == [("http://x", "cache/budget", "shop")]
    return lines


def test_words_come_first_and_then_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told(monkeypatch)
    assert lines[:2] == ["All is well.", ""]
    assert [line.split(maxsplit=1)[1].strip() for line in lines if line.startswith("budget")] == ["1.00%"]
    text = "\n".join(lines)
    for value in ("0.40%", "0.10% to 1.30%", "0.9810", "1240, 5 called wrong", "310, 22 called wrong"):
        assert value in text


def test_what_is_not_known_or_not_served_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = {"estimate": None, "low": 0.0, "high": 1.0}
    text = "\n".join(told(monkeypatch, level=None, state="exact-only", wrong_hit_rate=rate))
    assert "exact hits only" in text
    assert "unknown" in text
