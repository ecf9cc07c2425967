from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.rivals import picture, report
from loadtest.rivals.field import BUDGETS, NONE
from loadtest.rivals.replay import MISS, RIGHT, WRONG, Per, Tally
from loadtest.rivals.report import HINDSIGHT, SHIPPED, Line, Result, Setup

SETUP = Setup("embedder-1", "verifier-1", orders=2, seed=1)


def tally(right: int, wrong: int, questions: int = 1000) -> Tally:
    outcome = np.repeat([RIGHT, WRONG, MISS], [right, wrong, questions - right - wrong]).astype(np.int8)
    return Tally(np.stack([outcome] * 2), np.arange(questions))


def line(name: str, right: int, wrong: int) -> Line:
    return Line(name, dict.fromkeys(BUDGETS, (0.9, NONE)), {budget: tally(right, wrong) for budget in BUDGETS})


def result(*lines: Line, per: Per = Per.HITS) -> Result:
    curves = {name: [tally(100, 5), tally(50, 0)] for name in picture.CURVES}
    return Result("faq", per, lines, curves, possible=0.6, agreement=0.999)


LINES = (line(SHIPPED, 400, 2), line(HINDSIGHT, 410, 2), line("cosine", 200, 0), line("careless", 500, 300))
EXAMPLE = result(*LINES)
BOTH = [EXAMPLE, result(*LINES, per=Per.REQUESTS)]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [(500, 4, "kept"), (500, 6, "over"), (500, 30, "broken"), (4, 0, "few hits"), (0, 0, "few hits")],
)
def test_a_budget_is_kept_or_exceeded_within_or_beyond_chance(right: int, wrong: int, expected: str) -> None:
    assert report.state(tally(right, wrong), 0.01, Per.HITS) == expected


def test_among_all_requests_the_same_hits_are_a_smaller_share() -> None:
    assert report.state(tally(500, 30), 0.05, Per.REQUESTS) == "kept"
    assert report.state(tally(500, 30), 0.05, Per.HITS) == "over"


def test_the_best_rival_is_the_one_with_most_hits_within_the_budget() -> None:
    assert report.best_rival(EXAMPLE, 0.01).name == "cosine"
    assert report.best_rival(result(line(SHIPPED, 1, 0), line("a", 10, 9), line("b", 20, 9)), 0.01).name == "b"


def test_the_tables_name_every_contender_and_say_who_is_ahead() -> None:
    table = report.markdown(BOTH, SETUP)
    for name in (SHIPPED, HINDSIGHT, "cosine", "careless", "embedder-1", "verifier-1", "60.0 %", "99.9 %"):
        assert name in table
    rows = [row for row in table.splitlines() if row.startswith("| faq |")]
    assert len(rows) == 2 * len(BUDGETS)
    assert all("| ahead |" in row for row in rows)


def test_who_breaks_the_budget_is_not_ahead() -> None:
    table = report.summary([result(line(SHIPPED, 500, 200), line(HINDSIGHT, 1, 0), line("cosine", 200, 0))])
    assert "| budget broken |" in table
    assert "| ahead |" not in table


def test_the_json_can_be_written_and_tells_leads() -> None:
    cell = json.loads(json.dumps(report.as_json([EXAMPLE])))[0]["contenders"]["cosine"]["0.01"]
    assert cell["settings"] == [0.9, None]
    assert cell["hits"] == [200, 200]
    assert cell["lead_of_deja"]["low"] > 0.1


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "_PAGE", tmp_path / "page.md")
    monkeypatch.setattr(report, "_PICTURES", tmp_path / "images")
    for name in report.IMAGES.values():
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_publishing_replaces_what_was_measured_and_nothing_else(docs: Path) -> None:
    (docs / "page.md").write_text("above\n<!-- measured -->\nold\n<!-- /measured -->\nbelow\n")
    report.publish(BOTH, SETUP, docs)
    report.publish(BOTH, replace(SETUP, seed=2), docs)
    written = (docs / "page.md").read_text()
    assert (
        written
        == f"above\n<!-- measured -->\n\n{report.markdown(BOTH, replace(SETUP, seed=2), '../images/')}\n<!-- /measured -->\nbelow\n"
    )
    for name in report.IMAGES.values():
        assert (docs / "images" / name).read_bytes() == name.encode()
        assert f"(../images/{name})" in written


def test_a_page_without_its_marks_is_not_overwritten(docs: Path) -> None:
    (docs / "page.md").write_text("mine\n")
    with pytest.raises(ValueError, match="measured"):
        report.publish(BOTH, SETUP, docs)
    assert (docs / "page.md").read_text() == "mine\n"


def test_the_picture_is_a_png_with_a_panel_for_each_stream(tmp_path: Path) -> None:
    for count in (1, 4):
        picture.draw([EXAMPLE] * count, tmp_path / f"{count}.png")
    assert (tmp_path / "1.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "4.png").stat().st_size > (tmp_path / "1.png").stat().st_size
