"""`deja cache migration`: how far it is, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.commands import asking, migration

RUNNING = {"state": "running", "from": "old", "to": "new", "moved": 3, "left": 4, "exact_only": 0}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"state": "none"}, "No entry had to be embedded anew: the embedder has not been changed."),
        (RUNNING, "Under way: 3 entries have moved from old to new. 4 are left."),
        (
            RUNNING | {"left": None},
            "Under way: 3 entries have moved from old to new. It is not known yet how many are left.",
        ),
        (
            RUNNING | {"state": "ended", "left": 0, "exact_only": 1},
            "Done: 3 entries have moved from old to new. 1 of them serve exact repeats alone.",
        ),
    ],
    ids=["none", "running", "unknown", "ended"],
)
def test_it_says_how_far_it_is(told: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str | None]] = []

    def get(root: str, path: str, *, api_key: str | None) -> dict[str, Any]:
        asked.append((root, path, api_key))
        return told

    monkeypatch.setattr(asking, "get", get)
    assert migration.status("http://x", key="k") == said
    assert asked == [("http://x", "/admin/migration", "k")]
