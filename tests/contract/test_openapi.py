"""The running application keeps the contract of its OpenAPI document: schemathesis asks every operation, about things that are there.

`/mcp` speaks JSON-RPC and has tests with its own SDK; what lasts as long as it is told to (watch, tail, claim, read) would hold each
case up.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deja_process import DejaProcess, running_deja

ADMIN_KEY = "adm-of-the-contract-tests"
SEED = 7
FUZZ_CASES = 3
"""Of each operation, on top of some 50 that cover each field's bounds; 10 found nothing that 3 do not."""
LIMIT_S = 150
"""On a machine that is busy with other things; alone it takes a fifth of that."""
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
LASTING = "watch$|tail$|/claim$|/read$|^/mcp"


@pytest.fixture(scope="module")
def deja() -> Iterator[DejaProcess]:
    with running_deja(DEJA_AUTH__ADMIN_KEYS=ADMIN_KEY, DEJA_LIMITS__BODY_BYTES="100000") as process:
        yield process


def told(response: httpx.Response) -> dict[str, object]:
    assert response.status_code in (200, 201), response.text
    found: dict[str, object] = response.json()
    return found


def made(client: httpx.Client) -> dict[str, object]:
    """Things for the operations to be about, by the name of their parameter."""
    told(client.put("/v1/queues/q", json={}))
    task = told(client.post("/v1/queues/q/tasks", json={"payload": {}}))
    told(client.put("/v1/agents/a", json={"status": "working"}))
    told(client.put("/v1/sessions/s", json={"user": "u"}))
    told(client.post("/v1/events", params={"stream": "st"}, json={"type": "x", "source": "y"}))
    told(client.put("/v1/events/groups/g", params={"stream": "st"}, json={}))
    told(client.post("/v1/long-term-memory", json={"memories": [{"id": "m", "text": "likes tea", "user_id": "u"}]}))
    view = told(client.post("/v1/summary-views", json={"source": "long_term", "group_by": ["user_id"]}))
    question = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    answer = client.post("/v1/chat/completions", json=question, headers={"X-Deja-Session": "s"})
    entry = told(client.post("/v1/caches/c/entries", json={"prompt": "hello", "response": "hi"}))
    return {
        "path.queue": "q",
        "path.task_id": task["id"],
        "path.agent_id": "a",
        "path.session_id": "s",
        "path.group": "g",
        "path.memory_id": "m",
        "path.view_id": view["id"],
        "path.cache_id": "c",
        "path.entry_id": entry["entryId"],
        "path.request_id": answer.headers["x-deja-request-id"],
        "query.stream": "st",
    }


def ask_everything(deja: DejaProcess, folder: Path, key: str, *, which: list[str], given: dict[str, object]) -> None:
    """Let schemathesis loose; it has to find nothing."""
    config = folder / "schemathesis.toml"
    lines = ["[parameters]", *(f'"{name}" = "{value}"' for name, value in given.items())]
    config.write_text("\n".join([*lines, "[phases.coverage]", "unexpected-methods = []", ""]))
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(config),
        "run",
        f"{deja.root}/openapi.json",
    ]
    command += ["--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-examples", str(FUZZ_CASES)]
    command += ["--seed", str(SEED), "--generation-deterministic", "--request-timeout", "10", "--no-color", *which]
    run = subprocess.run(
        [*command, "-H", f"Authorization: Bearer {key}"],
        cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "Tested:" in run.stdout


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S)
def test_every_operation_answers_as_the_document_says(deja: DejaProcess, tmp_path: Path) -> None:
    with httpx.Client(base_url=deja.root, headers={"Authorization": "Bearer of-the-contract"}, timeout=20) as client:
        given = made(client)
    which = ["--exclude-path-regex", f"({LASTING}|^/admin)"]
    ask_everything(deja, tmp_path, "of-the-contract", which=which, given=given)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S)
def test_so_does_administration(deja: DejaProcess, tmp_path: Path) -> None:
    with httpx.Client(base_url=deja.root, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=20) as client:
        key = told(client.post("/admin/keys", json={"name": "of-a-test"}))
    which = ["--include-path-regex", "^/admin"]
    ask_everything(deja, tmp_path, ADMIN_KEY, which=which, given={"path.key_id": key["id"]})
