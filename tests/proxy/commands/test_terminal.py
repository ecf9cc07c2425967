from __future__ import annotations

import pytest

from proxy.commands import terminal


def test_no_text_of_a_pair_is_taken_for_markup_or_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[bold]loud[/bold] \x1b[31mred\x1b[0m\x07 \u202eback"
    terminal.show_pairs("Title [red]", [(hostile, hostile, "[link]remark")])
    terminal.show(hostile.replace("\x1b", "").replace("\x07", ""))
    told = capsys.readouterr().out
    assert "[bold]loud[/bold]" in told
    assert "Title [red]" in told
    assert "[link]remark" in told
    assert "\x1b" not in told
    assert "\x07" not in told


def test_a_long_text_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_pairs("Pairs", [("word " * 500, "short", "remark")])
    told = capsys.readouterr().out
    assert len(told) < 400
    assert "…" in told


def test_a_table_holds_its_cells_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table("[Title]", ("kind", "[pairs]"), [("[x]", "1"), ("y", "2")], chosen=1)
    told = capsys.readouterr().out
    assert all(part in told for part in ("[Title]", "kind", "[pairs]", "[x]", "1", "y", "2"))


def test_bars_stay_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.bars() as bars:
        for done in (1, 2):
            bars.models(done, 2)
        bars.models(1, 5)
        bars("another", 1, 3)
        assert set(bars._tasks) == {"embedding", "verifying", "another"}
    assert capsys.readouterr() == ("", "")
