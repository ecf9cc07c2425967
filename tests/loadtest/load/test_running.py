"""The commands in a tiny form, against real processes: they run and report what they should. Their numbers mean nothing here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from loadtest import bench
from loadtest.load import __main__ as command
from loadtest.load import contest, goals, hosts, rival, soak
from loadtest.load.contest import EXACT, MISS, POPULAR, PROVIDER, SEMANTIC
from loadtest.load.hosts import Running

RunCommand = Callable[..., int]

PATIENT = {"DEJA_REDIS__DEADLINE_MS": "1000", "DEJA_EMBEDDER__DEADLINE_MS": "10000"}
"""A shared machine stalls for longer than a served one should."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Run `python -m loadtest.load` in this process; gives its exit status."""

    def started(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["load", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return int(ended.value.code or 0)

    return started


def test_a_running_deja_is_soaked_at_a_rate_and_everything_is_reported(
    run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "WINDOW_S", 0.5)
    monkeypatch.setattr(soak, "GROWTH_MB", 1000.0)
    monkeypatch.setattr(soak, "DRIFT_SHARE", 1000.0)
    with hosts.upstream() as provider, hosts.deja(provider, settings=PATIENT) as deja:
        at = ("--at", f"127.0.0.1:{deja.port}", "--key", "sk-one", "--out", str(tmp_path))
        assert run("rate", "--rate", "40", "--seconds", "2", "--warm", "40", *at) == 0
        assert run("soak", "--rate", "20", "--minutes", "0.04", "--warm", "0", *at) == 0
        assert hosts.calls(provider) > 10
    rate = json.loads((tmp_path / "rate.json").read_text())
    assert rate["summary"]["failed"] == 0
    assert rate["summary"]["sources"]["exact"] > 0
    assert rate["summary"]["hits"]["repeat"]["hits"] > 0
    assert "key" not in rate["asked"]
    assert "sk-one" not in (tmp_path / "rate.json").read_text()
    assert "| exact |" in (tmp_path / "rate.md").read_text()
    assert json.loads((tmp_path / "soak.json").read_text())["verdict"]["failed"] == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".png"}


def test_failures_are_seen_in_the_exit_status(run: RunCommand) -> None:
    with hosts.upstream(failure_rate=1.0) as provider:
        at = f"127.0.0.1:{provider.port}"
        assert run("rate", "--rate", "20", "--seconds", "1", "--warm", "0", "--at", at) == 1


def test_the_short_form_measures_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOPICS", 20)
    found = bench.run(20, 0.1, PATIENT)
    assert set(found.alone) == set(bench.ALONE)
    assert set(found.alone[MISS]) == {goals.DEJA, PROVIDER}
    assert set(found.rounds[0]) == set(bench.TOGETHER)
    for kind in (EXACT, SEMANTIC, POPULAR, MISS):
        assert found.alone[kind][goals.DEJA].share > 0.7, kind
    memory = goals.memory_mb(found, goals.DEJA)
    assert memory is not None
    assert 100 < memory < 1000
    assert found.rounds[0][EXACT][goals.DEJA].used.rss_mb["redis"] < memory


def test_the_rivals_settings_name_the_same_redis_and_provider() -> None:
    provider, redis = Running("provider", 9001, 1), Running("redis", 9002, 2, url="redis://127.0.0.1:9002")
    embeddings = Running("embeddings", 9003, 3)
    exact = rival.settings("exact", provider=provider, redis=redis, embeddings=None)
    assert exact["litellm_settings"]["cache_params"]["port"] == 9002
    semantic = yaml.safe_load(
        yaml.safe_dump(rival.settings("semantic", provider=provider, redis=redis, embeddings=embeddings))
    )
    assert semantic["litellm_settings"]["cache_params"]["redis_url"] == redis.url
    assert [model["litellm_params"]["api_base"] for model in semantic["model_list"]] == [
        "http://127.0.0.1:9001/v1",
        "http://127.0.0.1:9003/v1",
    ]


def test_what_does_not_come_up_says_why() -> None:
    command_line = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    with (
        pytest.raises(SystemExit, match=r"(?s)thing did not come up on port \d+:.*no such luck"),
        hosts.process("thing", command_line, port=hosts.free_port(), ready="/"),
    ):
        pass


def test_a_contender_that_fails_ends_the_contest() -> None:
    with hosts.upstream(failure_rate=1.0) as provider:
        target = contest.Target(provider.port)
        failing = contest.Contender("deja", {MISS: target}, (provider,), contest.feeds((), 1))
        with pytest.raises(SystemExit, match="deja failed"):
            contest.through(failing, MISS, seconds=0.2, connections=2)
