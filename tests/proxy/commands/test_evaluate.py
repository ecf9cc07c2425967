from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.commands import evaluate
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.tuning import through_proxy
from proxy.tuning.through_proxy import Target
from tests.deja_process import running_deja

WORDINGS = ("How do I {} my account?", "How can I {} my account?")
VERBS = ("open", "rename", "merge", "lock")


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    first, second = WORDINGS
    pairs = [{"a": first.format(verb), "b": second.format(verb), "same": 1} for verb in VERBS]
    pairs += [{"a": first.format(verb), "b": "Which card is the cheapest?", "same": 0} for verb in VERBS]
    write(folder, "mine", pairs)
    write(folder, "faq", [{"text": wording.format(verb), "group": verb} for verb in VERBS for wording in WORDINGS])
    write(folder, "prompts", [{"text": f"Write a poem about the {verb}ing of accounts"} for verb in VERBS])
    talks = [
        {"topic": verb, "turns": [{"raw": first.format(verb)}, {"raw": f"And what does {verb} cost?"}]}
        for verb in VERBS
    ]
    write(folder, "talks", talks)
    return folder


def run(data_dir: Path, *only: str, target: Target | None = None, is_paid: bool = False) -> Path:
    out = data_dir.parent / "out"
    settings = Settings(data_dir=data_dir.parent)
    evaluate.run(settings, data_dir, out=out, only=only, most=50, target=target, is_paid=is_paid)
    return out


def test_every_file_of_a_folder_is_measured_by_the_shape_of_its_rows(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(data_dir, "mine", "faq", "prompts", "talks")
    report = json.loads((out / "eval.json").read_text())
    assert [one["name"] for one in report["sets"]] == [
        "mine",
        "faq",
        "prompts",
        "talks, first questions",
        "talks, follow-ups",
    ]
    assert [one["name"] for one in report["streams"]] == ["faq"]
    assert "| mine | 4 / 4 |" in (out / "eval.md").read_text("utf-8")
    assert {one.name for one in out.iterdir()} >= {
        "eval.md",
        "eval.json",
        "disagreements.jsonl",
        "reliability.png",
        "found.png",
    }
    told = " ".join(capsys.readouterr().out.split())
    assert "At the default budget of 1 %" in told
    assert "faq as a stream" in told


def test_disagreements_are_written_for_reading_and_kept_out_of_the_tables(data_dir: Path) -> None:
    out = run(data_dir, "mine")
    lines = [json.loads(line) for line in (out / "disagreements.jsonl").read_text("utf-8").splitlines()]
    assert {(line["set"], line["what"]) for line in lines} <= {("mine", "accepted"), ("mine", "missed")}
    assert "my account" not in (out / "eval.md").read_text("utf-8") + (out / "eval.json").read_text("utf-8")


def test_a_set_that_is_not_there_stops_it(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="has no other; it has faq, mine, prompts, talks"):
        run(data_dir, "other")


def test_a_proxy_with_a_real_provider_is_not_asked_unless_told_to(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forwards(_target: Target) -> str:
        return "https://api.openai.com/v1"

    monkeypatch.setattr(through_proxy, "upstream_of", forwards)
    with pytest.raises(ConfigError, match=r"forwards to https://api\.openai\.com/v1: each pair would cost .* --paid"):
        run(data_dir, "mine", target=Target("http://127.0.0.1:1", "m", None, 2))
    assert not (data_dir.parent / "out" / "eval.md").exists()


@pytest.mark.slow
def test_the_same_pairs_go_through_a_running_proxy(data_dir: Path) -> None:
    rows = [{"a": WORDINGS[0].format(verb), "b": WORDINGS[0].format(verb), "same": 1} for verb in VERBS]
    rows += [{"a": WORDINGS[0].format(verb), "b": "Which card is the cheapest?", "same": 0} for verb in VERBS]
    write(data_dir, "plain", rows)
    with running_deja() as deja:
        target = Target(deja.base_url, "m", None, 4)
        assert asyncio.run(through_proxy.upstream_of(target)) == evaluate.SIMULATED
        out = run(data_dir, "plain", target=target)
        again = run(data_dir, "plain", target=target)
    for folder in (out, again):  # a second run meets nothing of the first
        (through,) = json.loads((folder / "eval.json").read_text())["through_proxy"]
        assert (through["found"], through["accepted"]) == ([4, 4], [0, 4])
        assert (through["only_proxy"], through["only_offline"], through["troubles"]) == (0, 0, {})
