from __future__ import annotations

from typing import Any

import pytest

from proxy.commands import asking, cache


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Answers of a running Deja, given in turn."""
    made: list[tuple[str, dict[str, Any]]] = []

    def get(root: str, path: str, *, api_key: str | None, **parameters: object) -> dict[str, Any]:
        return made.pop(0)[1]

    monkeypatch.setattr(asking, "get", get)
    monkeypatch.setattr(asking, "post", lambda root, path, body, *, api_key: made.pop(0)[1])
    return made


EXPLAINED = {
    "summary": "The provider answered: no stored question near it serves.",
    "request_id": "req_1",
    "at": 1_700_000_000.0,
    "outcome": "miss",
    "reason": "below-confidence",
    "model": "gpt-4o-mini",
    "sentences": ["One thought.", "Another."],
    "asked": "What is a\nheap?",
    "neighbours": [{"similarity": 0.91, "confidence": 0.9512, "question": "x" * 500, "why": "Not sure enough."}],
}
TALLY = {"hits": 120, "expected_wrong": 0.84, "wrong_between": [0, 3], "hits_without_confidence": 0}
PAIR = {"asked": "How do I grow tomatoes?", "question": "How do I grow potatoes?", "confidence": 0.9512, "count": 3}
REPLAYED = {
    "max_wrong_hit_rate": 0.02,
    "level": 0.9533,
    "exact_only": False,
    "decisions": 1234,
    "since": 1_700_000_000.0,
    "undecided": 7,
    "now": TALLY,
    "then": TALLY | {"hits": 151},
    "gained": [PAIR],
    "lost": [],
    "near": [PAIR],
}


def test_an_explanation_shows_every_neighbour_on_lines_that_fit(answered: list[Any]) -> None:
    answered.append(("", EXPLAINED))
    told = cache.explain("http://x", "req_1", api_key=None)
    assert told.startswith("The provider answered: no stored question near it serves.\n  req_1, ")
    assert "- One thought.\n- Another.\n" in told
    assert "Asked: What is a heap?" in told
    assert "0.910    0.9512  xxx" in told
    assert max(map(len, told.splitlines())) < 130


def test_a_hit_has_no_reason_and_an_exact_one_no_neighbours(answered: list[Any]) -> None:
    answered.append(("", EXPLAINED | {"outcome": "exact", "reason": None, "neighbours": [], "asked": None}))
    told = cache.explain("http://x", "req_1", api_key=None)
    assert "exact, model" in told
    assert "Asked" not in told


def test_what_if_shows_now_beside_then_and_the_pairs(answered: list[Any]) -> None:
    answered.append(("", REPLAYED))
    told = cache.what_if("http://x", 0.02, namespace=None, limit=None, api_key=None)
    assert "At most 2.00% wrong means a confidence of 0.9533." in told
    assert [line.split()[-2:] for line in told.splitlines() if line.startswith("semantic hits")] == [["120", "151"]]
    assert "Hits that would come, worst first" in told
    assert "Hits that would go" not in told
    assert "3 ×  How do I grow tomatoes?" in told


def test_what_if_says_when_no_level_keeps_the_budget_or_confidences_are_missing(answered: list[Any]) -> None:
    then = TALLY | {"hits": 0, "hits_without_confidence": 5}
    answered.append(("", REPLAYED | {"exact_only": True, "now": then, "then": then, "since": None}))
    told = cache.what_if("http://x", 0.02, namespace="n", limit=5, api_key=None)
    assert "exact hits only" in told
    assert "without a confidence" in told


@pytest.mark.parametrize(
    ("taken", "verdict", "sentence"),
    [
        (
            {"new": True, "evicted": True, "pair_never_equal": True},
            "wrong",
            "The entry ent_1 is evicted. The two wordings",
        ),
        (
            {"new": False, "evicted": False, "pair_never_equal": False},
            "wrong",
            "That was said before. The entry ent_1 was",
        ),
        ({"new": True, "evicted": False, "pair_never_equal": False}, "right", "Noted."),
    ],
    ids=["wrong", "again", "right"],
)
def test_a_vote_says_what_it_did(answered: list[Any], taken: dict[str, Any], verdict: str, sentence: str) -> None:
    answered.append(("", taken | {"entry_id": "ent_1"}))
    assert cache.feedback("http://x", "req_1", verdict, api_key=None).startswith(sentence)
