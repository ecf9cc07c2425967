"""The triage example as its users run it: three agents, each a process, killed by `kill -9` in the middle of their work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import httpx
import pytest

from examples.triage.agent import Agent
from examples.triage.run import ANSWERS, ROLES, ROOT, Desk, made_up
from proxy.worker import Task
from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import Exchange, FakeUpstream, chat

REQUESTS = 6
KILLS = 1
"""Of each agent; a restart costs a second, most of it for importing a client. More by hand: `--kills 5`."""
THINKING_S = 0.15
"""The model takes so long for an answer: most of a step, so that most kills come in the middle of one."""
API_KEY = "sk-triage"
HEADERS = {"Authorization": f"Bearer {API_KEY}"}


async def think(exchange: Exchange) -> None:
    """Answer after a while, with what tells requests apart."""
    question = exchange.request.json["messages"][-1]["content"]
    await asyncio.sleep(THINKING_S)
    await chat(f"It is about an invoice: {question}")(exchange)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        fake.script(think)
        yield fake


@pytest.fixture(scope="module")
def deja(provider: FakeUpstream) -> Iterator[DejaProcess]:
    # A busy machine stalls: what is judged is what happens, not how fast.
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_REDIS__STORE_DEADLINE_MS="5000") as process:
        yield process


def run(command: list[str], deja: DejaProcess) -> str:
    """Run a command to its end; what it said. A process group of its own, so that none of its children outlives a failure."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes) as started:
        try:
            said, _ = started.communicate(timeout=150)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            said, _ = started.communicate()
            pytest.fail(f"it never came to an end:\n{said}\nDeja said:\n{deja.log}")
        assert started.returncode == 0, said
        return said


def updates(deja: DejaProcess, queue: str) -> dict[str, list[str]]:
    """The states each task of a queue went through, in order; read until nothing more comes."""
    states: dict[str, list[str]] = {}
    url, timeout = f"{deja.base_url}/queues/{queue}/watch", httpx.Timeout(10, read=0.5)
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.stream("GET", url, params={"after": "0-0"}, headers=HEADERS, timeout=timeout) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told = json.loads(line[6:])
                states.setdefault(told["id"], []).append(told["state"])
    return states


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_agents_killed_at_work_lose_no_request_and_repeat_no_completed_step(
    deja: DejaProcess, provider: FakeUpstream
) -> None:
    options = ["--base-url", deja.base_url, "--api-key", API_KEY, "--requests", str(REQUESTS), "--kills", str(KILLS)]
    command = [sys.executable, "-m", "examples.triage.run", *options]
    said = run(command, deja)
    restarts = int(re.findall(r"restarts (\d+)", said)[-1])
    assert len(ROLES) <= restarts <= len(ROLES) * KILLS, said
    wanted = [request["id"] for request in made_up(REQUESTS)]
    assert re.findall(r"^req-\d+", said, re.MULTILINE) == wanted

    with contextlib.closing(Desk(deja.root, API_KEY)) as desk:
        answers = desk.tasks(ANSWERS)
        assert sorted(task["payload"]["id"] for task in answers) == wanted, "exactly one answer each"
        assert all(task["payload"]["answer"] for task in answers)
        events = [event["id"] for event in desk.events()]
        assert sorted(events) == sorted(f"{one}:{role}" for one in wanted for role in ROLES), "each step left one trace"

        attempts = 0
        for role in ROLES:
            tasks = desk.tasks(role)
            assert sorted(task["session"] for task in tasks) == wanted
            attempts += sum(task["attempt"] for task in tasks)
            passed = updates(deja, role)
            assert len(passed) == REQUESTS
            for states in passed.values():
                assert states.count("completed") == 1
                assert states[-1] == "completed", "nobody began a step that was completed"

    repeated = attempts - len(ROLES) * REQUESTS
    failed = said.count("failed in attempt")  # none, unless the machine stalls
    assert 0 < repeated <= restarts + failed, f"what was begun and not done was done again, and nothing else:\n{said}"
    if not failed:
        assert len(provider.requests) <= len(ROLES) * REQUESTS + restarts


@pytest.mark.parametrize("is_other_answer", [False, True], ids=["the same answer", "another answer"])
def test_a_step_whose_agent_dies_before_it_can_say_so_leaves_its_traces_once(
    deja: DejaProcess, is_other_answer: bool
) -> None:
    api_key = f"sk-{uuid.uuid4()}"
    said = iter(["first", "second" if is_other_answer else "first"])
    with contextlib.closing(Desk(deja.root, api_key)) as desk:
        agent = Agent(deja.root, api_key, "triage", "research")
        with contextlib.closing(agent):
            desk.submit(made_up(1))
            (task,) = (Task(fields) for fields in desk.tasks("triage"))
            for _ in range(2):  # it is done, and then done again: the first time nobody heard of it
                agent.do(lambda agent, request: {"category": next(said)}, task)
        assert [task["payload"]["category"] for task in desk.tasks("research")] == ["first"]
        assert [event["id"] for event in desk.events()] == ["req-001:triage"]
