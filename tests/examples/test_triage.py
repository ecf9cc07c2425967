"""The triage example as its users run it: three agents, each a process, killed by `kill -9` in the middle of their work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from examples.triage.agent import Agent
from examples.triage.run import ANSWERS, ROLES, ROOT, Desk, Fleet, made_up
from proxy.worker import Task
from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import Exchange, FakeUpstream, chat

REQUESTS = 8
KILLS = 2
"""Of each agent."""
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
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as process:
        yield process


def updates(deja: DejaProcess, queue: str) -> dict[str, list[str]]:
    """The states each task of a queue went through, in order."""
    states: dict[str, list[str]] = {}
    with httpx.stream(
        "GET", f"{deja.base_url}/queues/{queue}/watch", params={"after": "0-0"}, headers=HEADERS, timeout=10
    ) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                told = json.loads(line[6:])
                states.setdefault(told["id"], []).append(told["state"])
            elif states and sum(seen[-1] == "completed" for seen in states.values()) == REQUESTS:
                break
    return states


def wait_until_busy(deja: DejaProcess, fleet: Fleet, role: str) -> bool:
    """Wait until an agent is at work; False when all of its work is done."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        fleet.supervise()
        tasks = httpx.get(f"{deja.base_url}/queues/{role}", headers=HEADERS).json().get("tasks", {})
        if tasks.get("completed") == REQUESTS:
            return False
        if tasks.get("working"):
            return True
        time.sleep(0.01)
    raise AssertionError(f"{role} never came to work")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_agents_killed_at_work_lose_no_request_and_repeat_no_completed_step(
    deja: DejaProcess, provider: FakeUpstream
) -> None:
    chance = random.Random(7)
    killed: Counter[str] = Counter()
    with contextlib.closing(Desk(deja.root, API_KEY)) as desk, Fleet(deja.root, API_KEY) as fleet:
        desk.submit(made_up(REQUESTS))
        desk.submit(made_up(REQUESTS))  # a caller who is not sure that it was heard
        for role in chance.sample(ROLES * KILLS, len(ROLES) * KILLS):
            if wait_until_busy(deja, fleet, role):
                time.sleep(chance.uniform(0, THINKING_S))
                fleet.processes[role].kill()
                killed[role] += 1
        give_up_at = time.monotonic() + 60
        while min(desk.done().values()) < REQUESTS:
            assert time.monotonic() < give_up_at, f"requests are lost: {desk.done()}"
            fleet.supervise()
            time.sleep(0.05)
        wanted = [request["id"] for request in made_up(REQUESTS)]

        answers = desk.tasks(ANSWERS)
        assert sorted(task["payload"]["id"] for task in answers) == wanted, "exactly one answer each"
        assert all(task["payload"]["answer"] for task in answers)

        events = desk.events()
        assert sorted(event["id"] for event in events) == sorted(f"{one}:{role}" for one in wanted for role in ROLES)

        attempts = {}
        for role in ROLES:
            assert sorted(task["session"] for task in desk.tasks(role)) == wanted
            attempts[role] = sum(task["attempt"] for task in desk.tasks(role))
            for states in updates(deja, role).values():
                assert states.count("completed") == 1
                assert states[-1] == "completed", "nobody began a step that was completed"

        assert set(killed) == set(ROLES), "each agent was killed"
        repeated = sum(attempts.values()) - len(ROLES) * REQUESTS
        assert 0 < repeated <= killed.total(), "what was begun and not done was done again, and nothing else"
        assert len(provider.requests) <= len(ROLES) * REQUESTS + killed.total()


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


@pytest.mark.slow
def test_it_runs_from_the_command_line_beside_a_deja_that_runs(deja: DejaProcess) -> None:
    command = [sys.executable, "-m", "examples.triage.run", "--base-url", deja.base_url, "--requests", "2"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stderr
    rows = [line.split()[:6] for line in run.stdout.splitlines() if line.startswith("req-")]
    assert [row[0] for row in rows] == ["req-001", "req-002"]
    assert [row[5] for row in rows] == ["delivery", "invoice"]
    assert all(row[1:4] == ["1", "1", "1"] for row in rows)
    assert "triage 2/2  research 2/2  respond 2/2  answers 2/2" in run.stdout
