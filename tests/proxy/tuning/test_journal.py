from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core.decision_log import DecisionRecord, Seen
from proxy.tuning import journal
from tests.proxy.tuning.builders import calibration

LEVELS = calibration((0.01, 0.95), (0.05, 0.8))


def seen(confidence: float | None, *, question: str = "Stored?", **fields: Any) -> Seen:
    return Seen("ent_1", question, 0.9, confidence=confidence, **fields)


def record(*candidates: Seen, outcome: str = "miss", reason: str = "below-confidence", **fields: Any) -> DecisionRecord:
    defaults: dict[str, Any] = {
        "request_id": "req_1",
        "at": 1.0,
        "tenant": "t",
        "namespace": "",
        "model": "m",
        "room": "r",
        "context": "",
    }
    return DecisionRecord(
        **defaults | {"outcome": outcome, "reason": reason, "asked": "Asked?", "seen": candidates} | fields
    )


HIT = record(seen(0.97, is_chosen=True), outcome="semantic", reason="")
ALMOST = record(seen(0.85))
GATED = record(seen(None, refused="gate-number"), reason="gate-number")
NOTHING = record(reason="no-candidate")


def test_each_budget_tells_the_hits_it_would_have_had_and_how_many_are_expected_to_be_wrong() -> None:
    advice = journal.advise([HIT, ALMOST, GATED, NOTHING], LEVELS, 0.01)
    assert (advice.questions, advice.hits) == (4, 1)
    rows = {row.budget: row for row in advice.rows}
    assert (rows[0.005].hits, rows[0.01].hits, rows[0.05].hits) == (0, 1, 2)
    assert rows[0.05].wrong == pytest.approx(0.03 + 0.15)
    assert advice.refused == {"below-confidence": 1, "gate-number": 1, "no-candidate": 1}


@pytest.mark.parametrize(("vote", "wrong"), [("wrong", 1.0), ("right", 0.0), (None, 0.03)])
def test_a_vote_counts_in_place_of_the_confidence(vote: str | None, wrong: float) -> None:
    advice = journal.advise(
        [record(seen(0.97, is_chosen=True), outcome="semantic", reason="", vote=vote)], LEVELS, 0.01
    )
    assert advice.row.wrong == pytest.approx(wrong)
    assert advice.votes == ({vote: 1} if vote else {})


def test_the_surest_candidate_stands_for_a_question_and_the_served_one_before_all() -> None:
    two = record(seen(0.5, question="less"), seen(0.8, question="more"))
    served = record(
        seen(0.5, question="served", is_chosen=True), seen(0.8, question="more"), outcome="semantic", reason=""
    )
    assert [journal.recorded(one).stored for one in (two, served)] == ["more", "served"]


def test_a_would_be_hit_of_shadow_mode_was_not_served() -> None:
    told = journal.recorded(record(seen(0.97, is_chosen=True), outcome="bypass", reason="shadow", would_hit="semantic"))
    assert not told.was_hit
    assert told.why == "shadow"


def test_the_pairs_to_label_are_those_nearest_to_the_level_and_no_voted_ones() -> None:
    far = record(seen(0.1, question="far"))
    voted = record(seen(0.96, question="voted", is_chosen=True), outcome="semantic", reason="", vote="right")
    rows = journal.label_rows(journal.advise([far, ALMOST, HIT, voted, GATED, NOTHING], LEVELS, 0.01))
    assert [row["a"] for row in rows] == ["Stored?", "Stored?", "far"]
    assert [row["kind"] for row in rows] == ["served", "missed", "missed"]
    assert all(row["same"] is None and row["b"] == "Asked?" for row in rows)


def test_the_verdict_says_that_nothing_is_labelled() -> None:
    told = journal.verdict(journal.advise([HIT, ALMOST], LEVELS, 0.05))
    assert "2 of 2 questions (100 %)" in told
    assert "going by the calibrated confidence, as nobody labelled them" in told


def test_an_empty_journal_is_told_plainly() -> None:
    assert "No question has reached the semantic tier yet" in journal.verdict(journal.advise([], LEVELS, 0.01))
    assert "none of the 1 questions" in journal.verdict(journal.advise([GATED], LEVELS, 0.01))


def test_the_json_holds_no_text() -> None:
    told = json.dumps(journal.as_json(journal.advise([HIT, GATED], LEVELS, 0.01)), allow_nan=False)
    assert "Asked" not in told
    assert "Stored" not in told
