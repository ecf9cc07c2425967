from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from proxy.commands import tune
from proxy.core.confidence import EXACT_ONLY
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.tuning import own
from tests.proxy.tuning.builders import SCALE

VERBS = ("open", "close", "paint", "sell", "mend")
THINGS = ("door", "window", "gate", "roof", "fence", "table", "chair", "boat")


def write(folder: Path) -> Path:
    rows = [
        {
            "a": f"How do I {verb} the old {thing}?",
            "b": f"How can I {verb} the old {thing}?",
            "same": True,
            "kind": "same verb",
        }
        for verb in VERBS
        for thing in THINGS
    ]
    rows += [
        {
            "a": f"How do I {verb} the old {thing}?",
            "b": f"Who would buy a {thing} like mine?",
            "same": False,
            "kind": "other",
        }
        for verb in VERBS
        for thing in THINGS
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(tmp_path: Path, *, calibrate: bool = False, budget: float = 0.1) -> Path:
    out = tmp_path / "deep" / "report"
    tune.run(Settings(data_dir=tmp_path), write(tmp_path), budget=budget, out=out, calibrate=calibrate)
    return out


def test_it_tells_the_level_and_writes_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "Serve from confidence" in told
    assert "Hit rate (found) against wrong-hit rate" in told
    assert "same verb" in told
    assert {one.name for one in out.iterdir()} == {"report.html", "report.json", "hit-rate.png", "reliability.png"}
    report = json.loads((out / "report.json").read_text())
    assert report["is_certified"]
    assert report["kinds"]["same verb"]["found"][:2] == [40, 40]
    assert "How can I open the old door?" in (out / "report.html").read_text("utf-8") or not report["refused"]


def test_calibrate_writes_what_the_proxy_can_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path, calibrate=True)
    told = "".join(capsys.readouterr().out.split())
    assert f"DEJA_CACHE__CALIBRATION={out / 'calibration.json'}" in told
    loaded = own.load(out / "calibration.json", scale=SCALE)
    assert loaded.level_for(0.1) == EXACT_ONLY  # it takes 29 hits, and the certifying half has some 20
    assert "toofewforanybudget" in told


def test_without_matplotlib_it_works_and_says_how_to_get_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = run(tmp_path)
    assert {one.name for one in out.iterdir()} == {"report.html", "report.json"}
    assert 'pip install "deja[tune]"' in " ".join(capsys.readouterr().out.split())


def test_too_few_pairs_are_told_honestly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, calibrate=True, budget=0.01)
    told = " ".join(capsys.readouterr().out.split())
    assert "Too few pairs to certify 1 %" in told
    assert "too few to fit the model" in told


def test_a_folder_that_cannot_be_made_stops_it_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        tune.run(
            Settings(data_dir=tmp_path), write(tmp_path), budget=0.1, out=tmp_path / "taken" / "x", calibrate=False
        )
