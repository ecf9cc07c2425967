"""Several providers behind one `deja serve`: who answered is told, and nobody's answers are stored as another's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream, chat, error


@pytest.fixture(scope="module")
def primary() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def spare() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def routed(
    primary: FakeUpstream, spare: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DejaProcess]:
    def entry(name: str, model: str, fake: FakeUpstream, **params: Any) -> dict[str, Any]:
        litellm = {"model": f"openai/{model}", "api_base": fake.base_url, "api_key": "ours", **params}
        return {"model_name": name, "litellm_params": litellm}

    config: Path = tmp_path_factory.mktemp("routed") / "deja.yaml"
    settings = {
        "model_list": [entry("smart", "gpt-4o", primary), entry("modest", "gpt-4o-mini", spare)],
        "router_settings": {"fallbacks": [{"smart": ["modest"]}], "num_retries": 1, "allowed_fails": 100},
        "litellm_settings": {"drop_params": True},
    }
    config.write_text(yaml.safe_dump(settings))
    with running_deja(DEJA_CONFIG=str(config)) as process:
        yield process


def test_a_fallbacks_answer_is_told_priced_and_never_stored_for_the_model_that_was_asked_for(
    routed: DejaProcess, primary: FakeUpstream, spare: FakeUpstream
) -> None:
    key = f"sk-{uuid.uuid4()}"
    with openai.OpenAI(base_url=routed.base_url, api_key=key, max_retries=0, timeout=20) as client:

        def ask() -> tuple[str, httpx.Headers]:
            raw = client.chat.completions.with_raw_response.create(
                model="smart", messages=[{"role": "user", "content": "Who answers when nobody is at home?"}]
            )
            return raw.parse().choices[0].message.content or "", raw.headers

        primary.script(error(503))
        spare.script(chat("the modest one"))
        text, headers = ask()
        assert (text, headers["x-deja-upstream"]) == ("the modest one", "modest")
        assert headers["x-deja-not-stored"] == "fallback"
        assert len(primary.requests) == 2, "asked, and asked once more"

        primary.script(chat("the smart one"))
        text, headers = ask()
        assert text == "the smart one", "what the fallback said was not stored"
        assert "x-deja-upstream" not in headers
        assert "stored" in headers["cache-status"]
        text, headers = ask()
        assert (text, "hit" in headers["cache-status"]) == ("the smart one", True)

    told = httpx.get(
        f"{routed.base_url}/usage?group_by=model", headers={"authorization": f"Bearer {key}"}, timeout=10
    ).json()
    calls = {row["model"]: (row["requests"]["calls"], row["requests"]["exact"]) for row in told["data"]}
    assert calls == {"gpt-4o": (1, 1), "gpt-4o-mini": (1, 0)}, "each is on the account of who answered"


def test_how_it_stands_with_each_provider_is_told(routed: DejaProcess) -> None:
    parts = httpx.get(f"{routed.root}/ready", timeout=10).json()["parts"]
    assert parts["upstream"]["status"] == "ok"
    metrics = httpx.get(f"{routed.root}/metrics", timeout=10).text
    assert 'deja_fallbacks_total{fallback="modest"} 1.0' in metrics
    assert 'deja_upstream_open{upstream="default"} 0.0' in metrics
    assert "litellm_settings.drop_params" in routed.log, "what means nothing here is said"
