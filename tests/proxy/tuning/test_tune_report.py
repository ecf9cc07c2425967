from __future__ import annotations

import json
import sys

import pytest

from proxy.tuning import tune_report
from proxy.tuning.advice import advise
from proxy.tuning.own import calibrate
from proxy.tuning.rating import rate
from proxy.tuning.tune_report import Made
from tests.proxy.tuning.builders import calibration, many, scored

MADE = Made("pairs.jsonl", "2026-01-01 12:00", ("embedder-1", "verifier-1"), "0.1.0")
PAIRS = [*many((40, 0.97, True), (30, 0.2, False)), scored(0.99, False, asked="A wrong one <b>", kind="traps")]


def test_the_page_holds_the_verdict_every_table_and_the_pairs_to_read() -> None:
    ratings = rate(PAIRS, calibration())
    advice = advise(ratings, calibration(), 0.02)
    html = tune_report.html(advice, tune_report.pictures(advice, ratings), MADE, calibrate(PAIRS, calibration()))
    for part in (
        "pairs.jsonl",
        "embedder-1",
        "Too few pairs to certify 2 %",
        "traps",
        "A wrong one &lt;b&gt;",
        "certified",
        "observed",
    ):
        assert part in html, part
    assert html.count("data:image/png;base64,") == 4
    assert html.count('class="chosen"') == 1


def test_the_chosen_row_is_the_budget_asked_for_at_the_level_told() -> None:
    advice = advise(rate(PAIRS, calibration()), calibration(), 0.02)
    rows, chosen = tune_report.budget_rows(advice)
    assert rows[chosen][:3] == ("2 %", "shipped", "0.9500")
    assert len(rows) == 3 * 4
    assert advice.level == 0.95


def test_the_json_holds_numbers_and_no_text_of_a_pair() -> None:
    advice = advise(rate(PAIRS, calibration()), calibration(), 0.02)
    told = json.dumps(tune_report.as_json(advice, MADE), allow_nan=False)
    assert json.loads(told)["kinds"]["traps"]["wrong"][:2] == [1, 1]
    assert not [one for one in PAIRS if one.pair.asked in told or one.pair.stored in told]


def test_without_matplotlib_the_page_has_everything_but_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ratings = rate(PAIRS, calibration())
    advice = advise(ratings, calibration(), 0.02)
    html = tune_report.html(advice, tune_report.pictures(advice, ratings), MADE)
    assert "data:image" not in html
    assert "Pairs worth reading" in html


def test_pairs_that_nothing_lets_through_have_a_page_too() -> None:
    ratings = rate(many((3, 0.0, True)), calibration())
    html = tune_report.html(advise(ratings, calibration(), 0.01), {}, MADE)
    assert "How Deja judges your pairs" in html
