from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from proxy.commands import tune_journal
from proxy.errors import ConfigError
from proxy.settings import Settings
from tests.deja_process import running_deja
from tests.redis_server import artifacts_dir


def run(data_dir: Path, out: Path, *, namespace: str | None = None, api_key: str | None = None) -> dict[str, object]:
    settings = Settings(data_dir=data_dir, artifacts_dir=artifacts_dir().resolve())
    tune_journal.run(settings, namespace=namespace, api_key=api_key, budget=0.05, out=out)
    report: dict[str, object] = json.loads((out / "report.json").read_text())
    return report


@pytest.mark.slow
def test_a_tenants_own_decisions_are_read_and_no_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_deja() as deja:
        for key, namespace, question in (
            ("mine", "shop", "How do I boil an egg?"),
            ("mine", "shop", "How do you boil an egg?"),
            ("mine", "", "What is a cloud made of?"),
            ("other", "shop", "How do I boil an egg?"),
        ):
            headers = {"Authorization": f"Bearer {key}"} | ({"X-Deja-Namespace": namespace} if namespace else {})
            body = {"model": "m", "messages": [{"role": "user", "content": question}]}
            httpx.post(f"{deja.base_url}/chat/completions", json=body, headers=headers).raise_for_status()
        for _ in range(50):  # decisions are written beside the answers
            report = run(deja.data_dir, tmp_path / "all", api_key="mine")
            if report["questions"] == 3:
                break
            time.sleep(0.2)
        assert report["questions"] == 3
        assert run(deja.data_dir, tmp_path / "shop", api_key="mine", namespace="shop")["questions"] == 2
        assert run(deja.data_dir, tmp_path / "none")["questions"] == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "No question has reached the semantic tier yet" in told
    assert (
        "boil an egg" in (tmp_path / "all" / "report.html").read_text("utf-8")
        or "What each budget would have served" in told
    )
    assert "boil" not in json.dumps(report)


def test_a_redis_that_is_away_is_told_plainly(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "redis": {"url": "redis://127.0.0.1:1"}, "secret": "s"})
    with pytest.raises(ConfigError, match="The decisions cannot be read"):
        tune_journal.run(settings, namespace=None, api_key=None, budget=0.01, out=tmp_path / "out")
