"""`deja` as a person types it: what it says, what stops it, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.deja_process import running_deja
from tests.fake_upstream import FakeUpstream
from tests.redis_server import artifacts_dir


def deja(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `deja` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEJA_", "OPENAI_"))}
    return subprocess.run(
        [str(Path(sys.executable).with_name("deja")), *arguments],
        env=inherited
        | {"DEJA_DATA_DIR": str(cwd / "data"), "DEJA_ARTIFACTS_DIR": str(artifacts_dir().resolve())}
        | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_teaches_every_command(tmp_path: Path) -> None:
    told = deja("--help", cwd=tmp_path)
    assert told.returncode == 0
    assert all(command in told.stdout for command in ("serve", "prepare", "doctor"))


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DEJA_PORT": "eighty"}, "DEJA_PORT (in deja.yaml: port) cannot be used"),
        ({"DEJA_CACHE__TTL": "60"}, "DEJA_CACHE__TTL is not a setting; did you mean DEJA_CACHE__TTL_S?"),
        ({"DEJA_CACHE__MAX_WRONG_HIT_RATE": "2"}, "DEJA_CACHE__MAX_WRONG_HIT_RATE"),
        ({"DEJA_HOST": "0.0.0.0"}, "would let others in without a key"),
        ({"DEJA_CONFIG": "nowhere.yaml"}, "does not exist"),
        ({"DEJA_REDIS__URL": "http://localhost"}, "DEJA_REDIS__URL"),
        ({"DEJA_UPSTREAM__BASE_URL": "localhost:9000/v1"}, "DEJA_UPSTREAM__BASE_URL"),
        ({"DEJA_EMBEDDER__SOURCE": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    told = deja("serve", cwd=tmp_path, **environment)
    assert told.returncode == 2
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_in_use_is_said_plainly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = deja("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert told.returncode != 0
    assert "address already in use" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_second_deja_on_one_data_directory_is_refused(tmp_path: Path) -> None:
    with running_deja() as first:
        told = deja("serve", cwd=tmp_path, DEJA_DATA_DIR=str(first.data_dir), DEJA_PORT="0")
        assert told.returncode == 2
        assert str(first.process.pid) in told.stderr  # type: ignore[union-attr]


def test_without_a_provider_the_banner_says_that_answers_are_simulated() -> None:
    with running_deja() as process:
        assert "SIMULATED" in process.log
        assert f"http://127.0.0.1:{process.port}/v1" in process.log


def test_the_banners_two_questions_are_a_miss_and_a_semantic_hit() -> None:
    from proxy.console import FIRST_QUESTION, REWORDED

    with running_deja() as process:
        found = []
        for question in (FIRST_QUESTION, REWORDED):
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
            found.append(httpx.post(f"{process.base_url}/chat/completions", json=body).headers["cache-status"])
    assert "fwd=miss; stored" in found[0]
    assert "hit; detail=semantic" in found[1]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(sent: signal.Signals) -> None:
    with running_deja() as process:
        assert process.process is not None
        redis_pid = process.redis_pid()
        process.process.send_signal(sent)
        assert process.process.wait(20) == 0
        assert not Path(f"/proc/{redis_pid}").exists()


def test_the_yaml_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    config = tmp_path / "deja.yaml"
    config.write_text("cache:\n  ttl_s: 77\n  mode: exact\n")
    with running_deja(arguments=("--config", str(config)), DEJA_CACHE__MODE="semantic") as process:
        for question in ("How do I reset my password?", "How can I reset my password?"):
            body = {"model": "m", "messages": [{"role": "user", "content": question}]}
            told = httpx.post(f"{process.base_url}/chat/completions", json=body).headers["cache-status"]
    assert "detail=semantic" in told
    assert "ttl=77" in told or "ttl=76" in told


def test_model_list_routes_models_to_their_providers(tmp_path: Path) -> None:
    config = tmp_path / "deja.yaml"
    with FakeUpstream() as listed, FakeUpstream() as default:
        config.write_text(
            f"model_list:\n  - model_name: fast\n    litellm_params:\n      model: openai/tiny-model\n"
            f"      api_base: {listed.base_url}\n      api_key: sk-listed\n"
        )
        with running_deja(arguments=("--config", str(config)), DEJA_UPSTREAM__BASE_URL=default.base_url) as process:
            for model in ("fast", "other"):
                body = {"model": model, "messages": [{"role": "user", "content": "Which provider is this?"}]}
                httpx.post(
                    f"{process.base_url}/chat/completions", json=body, headers={"Authorization": "Bearer sk-mine"}
                )
        assert listed.requests[0].json["model"] == "tiny-model"
        assert listed.requests[0].header("authorization") == "Bearer sk-listed"
        assert default.requests[0].header("authorization") == "Bearer sk-mine"


def test_configured_keys_are_required_and_never_travel_up() -> None:
    with (
        FakeUpstream() as provider,
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_AUTH__KEYS="key-one,key-two") as process,
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "Who may ask?"}]}

        def post(path: str, key: str | None) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return httpx.post(f"{process.base_url}{path}", json=body, headers=headers)

        for path in ("/chat/completions", "/embeddings"):
            for key in (None, "wrong"):
                refused = post(path, key)
                assert refused.status_code == 401
                assert refused.json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{process.base_url}/sessions/x").status_code == 401
        assert httpx.get(f"{process.base_url}/models").status_code == 401
        assert not provider.requests
        assert post("/chat/completions", "key-one").status_code == 200
        assert post("/embeddings", "key-two").status_code == 200
        assert not [request for request in provider.requests if request.header("authorization")]


def test_two_workers_share_one_cache() -> None:
    with (
        FakeUpstream() as provider,
        running_deja(arguments=("--workers", "2"), DEJA_UPSTREAM__BASE_URL=provider.base_url) as process,
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "How many workers are there?"}]}
        time.sleep(1)
        statuses = [
            httpx.post(f"{process.base_url}/chat/completions", json=body).headers["cache-status"] for _ in range(12)
        ]
    assert len(provider.requests) == 1
    assert sum("detail=exact" in status for status in statuses) == 11


def test_doctor_finds_a_healthy_deja_well(tmp_path: Path) -> None:
    told = deja("doctor", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "FAIL" not in told.stdout
    assert all(part in told.stdout for part in ("redis", "model", "index", "upstream"))


def test_doctor_examines_a_running_deja(tmp_path: Path) -> None:
    with running_deja() as process:
        told = deja("doctor", cwd=tmp_path, DEJA_DATA_DIR=str(process.data_dir))
    assert told.returncode == 0, told.stdout
    assert "is there and complete" in told.stdout


def test_doctor_says_how_to_mend_what_is_broken(tmp_path: Path) -> None:
    told = deja(
        "doctor", cwd=tmp_path, DEJA_REDIS__URL="redis://127.0.0.1:9", DEJA_UPSTREAM__BASE_URL="http://127.0.0.1:9/v1"
    )
    assert told.returncode == 1
    assert told.stdout.count("FAIL") == 2
    assert told.stdout.count("->") >= 2


def test_a_repeat_within_a_session_may_regenerate() -> None:
    with (
        FakeUpstream() as provider,
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_CACHE__ON_REPEAT="regenerate") as process,
    ):

        def told(session: str) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": "Tell me something new"}]}
            answer = httpx.post(f"{process.base_url}/chat/completions", json=body, headers={"X-Deja-Session": session})
            return answer.headers["cache-status"]

        assert "fwd=miss" in told("one")
        assert told("one") == "deja; fwd=request; stored; detail=repeat"
        assert "hit; detail=exact" in told("two")
        assert len(provider.requests) == 2
