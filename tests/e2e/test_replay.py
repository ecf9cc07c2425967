"""A session recorded, looked at, replayed from the cache and forked: through a real process, as an agent's developer does it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
import redis

from tests.deja_process import DejaProcess
from tests.e2e.asking import MODEL, ask
from tests.fake_upstream import Exchange, FakeUpstream, answer, chat, chat_completion, error, sse

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
SECRET = "Lisbon-in-the-rain"


def calls_a_tool() -> Callable[[Exchange], Any]:
    """An answer that calls a tool, streamed in pieces if so asked; then answers the question."""
    arguments = json.dumps({"city": SECRET})
    call = {
        "id": "call_of_the_provider",
        "type": "function",
        "function": {"name": "get_weather", "arguments": arguments},
    }

    async def behave(exchange: Exchange) -> None:
        body = exchange.request.json
        if body["messages"][-1]["role"] == "tool":
            await chat(f"It is {body['messages'][-1]['content']} there.")(exchange)
        elif not body.get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            await answer(chat_completion("", choices=[choice]))(exchange)
        else:
            begin = {**call, "index": 0, "function": {"name": "get_weather", "arguments": ""}}
            deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "tool_calls": [begin]}, None)]
            deltas += [
                ({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, None)
                for piece in (arguments[:9], arguments[9:])
            ]
            deltas.append(({}, "tool_calls"))
            head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
            pieces = [
                json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
                for delta, finish in deltas
            ]
            await sse([f"data: {piece}\n\n".encode() for piece in [*pieces, "[DONE]"]])(exchange)

    return behave


class Developer:
    """Runs an agent in a session, and looks at what became of it."""

    def __init__(self, deja: DejaProcess, client: openai.OpenAI) -> None:
        self.deja = deja
        self.client = client
        self.session = f"run-{uuid.uuid4()}"
        self.http = httpx.Client(
            base_url=deja.base_url, headers={"Authorization": f"Bearer {client.api_key}"}, timeout=20
        )

    def run_agent(
        self, question: str, session: str | None = None, *, stream: bool = False, **headers: str
    ) -> list[dict[str, Any]]:
        """Ask, do what the model wants done, go on until it has answered; returns the conversation."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": question},
        ]
        named = {"X-Deja-Session": session or self.session, "X-Deja-Agent": "worker", **headers}
        while True:
            said = self._ask(messages, named, stream=stream)
            messages.append(said)
            if not said.get("tool_calls"):
                return messages
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": "rainy"} for call in said["tool_calls"]
            ]

    def _ask(self, messages: list[dict[str, Any]], named: dict[str, str], *, stream: bool) -> dict[str, Any]:
        given: Any = {"model": MODEL, "messages": messages, "tools": [TOOL], "extra_headers": named}
        if not stream:
            return self.client.chat.completions.create(**given).choices[0].message.to_dict()  # type: ignore[no-any-return]
        text, calls = "", {}
        for chunk in self.client.chat.completions.create(**given, stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for piece in choice.delta.tool_calls or ():
                    call = calls.setdefault(
                        piece.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
                    )
                    call["id"] = piece.id or call["id"]
                    call["function"]["name"] += piece.function.name or ""
                    call["function"]["arguments"] += piece.function.arguments or ""
        said: dict[str, Any] = {"role": "assistant", "content": text or None}
        return said | ({"tool_calls": [calls[at] for at in sorted(calls)]} if calls else {})

    def get(self, what: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        told = self.http.get(f"/sessions/{session or self.session}/{what}", params=parameters)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def fork(self, at: int, name: str | None = None) -> httpx.Response:
        body = {"at": at} if name is None else {"at": at, "as": name}
        return self.http.post(f"/sessions/{self.session}/fork", json=body)

    def replay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`deja replay`, as typed."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DEJA_")}
        return subprocess.run(
            [sys.executable, "-m", "proxy", "replay", self.session, *arguments, "--url", self.deja.root],
            env={**clean, "DEJA_API_KEY": self.client.api_key, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def forget(self, *patterns: str) -> None:
        """Empty the cache (of everyone), and whatever else matches."""
        with redis.Redis(unix_socket_path=str(self.deja.data_dir / "redis" / "redis.sock")) as plain:
            for pattern in ("deja:v1:entry:*", "deja:v1:exact:*", *patterns):
                for key in plain.scan_iter(pattern, count=1000):
                    plain.delete(key)


@pytest.fixture
def developer(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> Iterator[Developer]:
    made = Developer(deja, new_client())
    upstream.script(calls_a_tool())
    yield made
    made.http.close()


# --- the timeline ------------------------------------------------------------------------------------------------------------------


def test_a_timeline_tells_requests_and_tools_in_order_and_no_words(developer: Developer) -> None:
    said = developer.run_agent("What is the weather?")
    told = developer.get("timeline")
    assert [(event["type"], event.get("outcome"), event.get("tool")) for event in told["events"]] == [
        ("deja.completion", "miss", None),
        ("deja.tool.call", None, "get_weather"),
        ("deja.tool.result", None, "get_weather"),
        ("deja.completion", "miss", None),
    ]
    assert {event["agent"] for event in told["events"]} == {"worker"}
    call_id = said[2]["tool_calls"][0]["id"]
    assert [event["tool_call_id"] for event in told["events"] if "tool" in event] == [call_id, call_id]
    assert SECRET not in json.dumps(told)
    assert "rainy" not in json.dumps(told)
    assert developer.get("timeline", after=told["events"][1]["id"])["events"] == told["events"][2:]


def test_a_timeline_can_be_followed_while_it_grows(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    seen: list[dict[str, Any]] = []
    headers = {"Accept": "text/event-stream"}
    with developer.http.stream("GET", f"/sessions/{developer.session}/timeline", headers=headers) as lines:
        for line in lines.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
            if len(seen) == 4:
                developer.run_agent("And tomorrow?")
            if len(seen) == 8:
                break
    assert [event["type"] for event in seen[4:]] == [event["type"] for event in seen[:4]]


def test_coordination_that_names_the_session_stands_in_its_timeline(developer: Developer) -> None:
    named = {"X-Deja-Session": developer.session, "X-Deja-Agent": "worker"}
    queue, task = f"queue-{uuid.uuid4().hex}", {"payload": SECRET, "session": developer.session, "agent": "planner"}
    made = developer.http.post(f"/queues/{queue}/tasks", json=task).json()
    (held,) = developer.http.post(f"/queues/{queue}/tasks/claim", json={"worker": "w1"}).json()["data"]
    done = developer.http.post(f"/queues/{queue}/tasks/{made['id']}/complete", json={"lease": held["lease"]})
    assert done.status_code == 200, done.text
    event = {"type": "rain.began", "source": "/sky", "data": SECRET}
    assert developer.http.post("/events?stream=weather", json=[event, event], headers=named).status_code == 201
    told = developer.get("timeline")["events"]
    assert [(one["type"], one.get("agent")) for one in told] == [
        ("deja.task.submit", "planner"),
        ("deja.task.claim", "w1"),
        ("deja.task.complete", "w1"),
        ("deja.events.append", "worker"),
    ]
    assert (told[2]["task"], told[2]["queue"], told[2]["state"]) == (made["id"], queue, "completed")
    assert (told[3]["stream"], told[3]["events"], told[3]["event_type"]) == ("weather", "2", "rain.began")
    assert SECRET not in json.dumps(told)


# --- replay ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_run_replays_from_the_cache_without_the_provider(
    developer: Developer, upstream: FakeUpstream, stream: bool
) -> None:
    developer.run_agent("What is the weather?", stream=stream)
    asked = len(upstream.requests)
    runs = [developer.replay("--json") for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[0].stdout
    assert runs[0].stdout == runs[1].stdout
    steps = json.loads(runs[0].stdout)["steps"]
    assert [(step["verdict"], step["source"]) for step in steps] == [("same", "cache"), ("same", "cache")]
    calls = steps[0]["answer"]["choices"][0]["message"]["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": SECRET}
    assert steps[1]["answer"]["choices"][0]["message"]["content"] == "It is rainy there."
    assert len(upstream.requests) == asked


def test_an_agent_run_again_is_answered_the_same_and_its_new_tool_call_ids_make_no_difference(
    developer: Developer, upstream: FakeUpstream
) -> None:
    first = developer.run_agent("What is the weather?")
    asked = len(upstream.requests)
    again = f"again-{uuid.uuid4()}"
    second = developer.run_agent("What is the weather?", again, **{"Cache-Control": "only-if-cached"})
    assert second[-1]["content"] == first[-1]["content"]
    assert second[2]["tool_calls"][0]["id"] != first[2]["tool_calls"][0]["id"]
    digests = [
        [step["answer_digest"] for step in developer.get("recording", session)["steps"]]
        for session in (developer.session, again)
    ]
    assert digests[0] == digests[1]
    assert [step["verdict"] for step in developer.get("replay", again)["steps"]] == ["same", "same"]
    assert len(upstream.requests) == asked


def test_a_hit_by_meaning_replays_from_the_entry_that_served(developer: Developer, upstream: FakeUpstream) -> None:
    upstream.script(chat("With sorted()."))
    named = {"X-Deja-Session": developer.session}
    ask(developer.client, "How do I sort a list in Python?")
    assert ask(developer.client, "In Python, how do I sort a list?", headers=named).hit == "semantic"
    (step,) = developer.get("replay")["steps"]
    assert (step["outcome"], step["verdict"], step["source"]) == ("semantic", "same", "cache")


def test_after_the_cache_was_emptied_the_record_answers_and_says_so(
    developer: Developer, upstream: FakeUpstream
) -> None:
    developer.run_agent("What is the weather?")
    asked = len(upstream.requests)
    developer.forget()
    run = developer.replay("--json")
    assert [(step["verdict"], step["source"]) for step in json.loads(run.stdout)["steps"]] == [("same", "record")] * 2
    assert run.returncode == 0
    assert "record" in developer.replay().stdout
    assert len(upstream.requests) == asked


def test_an_answer_that_is_gone_fails_the_replay(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    developer.get("replay")
    developer.forget("deja:v1:session:*:parts")
    run = developer.replay()
    assert run.returncode == 1
    assert "gone" in run.stdout


def test_an_answer_that_became_another_fails_the_replay_and_is_shown(
    developer: Developer, upstream: FakeUpstream
) -> None:
    upstream.script(chat("Seven."), chat("Eight."))
    ask(developer.client, "How many?", headers={"X-Deja-Session": developer.session})
    ask(developer.client, "How many?", headers={"Cache-Control": "no-cache"})
    run = developer.replay()
    assert run.returncode == 1
    assert "'Seven.' became 'Eight.'" in run.stdout


def test_a_failed_call_is_a_step_without_an_answer(developer: Developer, upstream: FakeUpstream) -> None:
    upstream.script(error(500), chat("Now it works."))
    with pytest.raises(openai.InternalServerError):
        ask(developer.client, "Does it work?", headers={"X-Deja-Session": developer.session})
    ask(developer.client, "Does it work?", headers={"X-Deja-Session": developer.session})
    assert [(step["status"], step["verdict"]) for step in developer.get("replay")["steps"]] == [
        (500, "no-answer"),
        (200, "same"),
    ]
    assert developer.replay().returncode == 0


def test_a_recording_holds_each_request_as_it_was_sent(developer: Developer, upstream: FakeUpstream) -> None:
    developer.run_agent("What is the weather?", **{"X-Deja-Namespace": "trips"})
    found = developer.get("recording")
    assert found["total"] == 2
    assert developer.get("recording", after=1)["steps"] == found["steps"][1:]
    for step, sent in zip(found["steps"], upstream.requests, strict=True):
        assert step["request"].pop("deja") == {"namespace": "trips"}
        assert step["request"] == sent.json


@contextlib.contextmanager
def served(developer: Developer) -> Iterator[tuple[openai.OpenAI, subprocess.Popen[str]]]:
    """`deja replay --serve`, and a client of it; the process is stopped at the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DEJA_")}
    command = [sys.executable, "-m", "proxy", "replay", developer.session, "--serve", "0", "--url", developer.deja.root]
    key = {"DEJA_API_KEY": developer.client.api_key}
    with subprocess.Popen(command, env={**clean, **key}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stderr.readline())
        assert url is not None
        try:
            with openai.OpenAI(base_url=url[0], api_key="any", timeout=20) as client:
                yield client, process
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_agent_runs_again_on_the_recording_alone(developer: Developer, upstream: FakeUpstream, stream: bool) -> None:
    first = developer.run_agent("What is the weather?")
    developer.forget()
    asked = len(upstream.requests)
    with served(developer) as (client, process):
        rerun = Developer(developer.deja, client)
        again = rerun.run_agent("What is the weather?", stream=stream)
        rerun.http.close()
    assert again[-1]["content"] == first[-1]["content"]
    assert again[2]["tool_calls"][0]["function"] == first[2]["tool_calls"][0]["function"]
    assert process.returncode == 0
    assert len(upstream.requests) == asked


def test_an_agent_that_asks_something_else_is_told_what(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    with served(developer) as (client, process):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            ask(client, "What is the time?", tools=[TOOL])
        assert "Step 1 comes next, and differs: messages" in refused.value.message
    assert process.returncode == 1


# --- fork --------------------------------------------------------------------------------------------------------------------------


def test_a_fork_goes_on_from_its_step(developer: Developer, upstream: FakeUpstream) -> None:
    developer.run_agent("What is the weather?")
    asked = len(upstream.requests)
    made = developer.fork(1)
    assert made.status_code == 201
    fork = made.json()["id"]
    assert (made.json()["parent"], made.json()["forked_at"]) == (developer.session, 1)
    developer.run_agent("What is the weather?", fork)  # the same prefix hits as before, the tool's result too
    assert len(upstream.requests) == asked
    found = developer.get("recording", fork)
    assert (found["parent"], found["forked_at"], found["total"]) == (developer.session, 1, 3)
    assert found["steps"][0] == developer.get("recording")["steps"][0]
    assert [step["outcome"] for step in found["steps"]] == ["miss", "exact", "exact"]
    kinds = [event["type"] for event in developer.get("timeline", fork)["events"]]
    assert kinds[:3] == ["deja.completion", "deja.tool.call", "deja.session.fork"]
    assert developer.get("timeline")["events"][-1]["fork"] == fork
    turns = httpx.get(f"{developer.deja.base_url}/sessions/{fork}", headers=developer.http.headers).json()["turns"]
    assert turns[0]["content"] == "What is the weather?"


def test_the_command_line_forks(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    name = f"second-try-{uuid.uuid4()}"
    run = developer.replay("--fork-at", "2", "--as", name)
    assert run.returncode == 0, run.stderr
    assert name in run.stdout
    assert developer.get("recording", name)["total"] == 2
    again = developer.replay("--fork-at", "2", "--as", name)
    assert again.returncode == 1
    assert "There is a session of that name already" in again.stderr


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"at": 3}, 400, "step_not_found"),
        ({"at": 0}, 400, "invalid_request"),
        ({"at": 1, "as": "no spaces"}, 400, "invalid_name"),
        ({"at": 1, "into": "x"}, 400, "invalid_request"),
    ],
    ids=["past the end", "before the beginning", "no name", "unknown field"],
)
def test_a_fork_that_cannot_be_made_says_why(
    developer: Developer, body: dict[str, Any], status: int, code: str
) -> None:
    developer.run_agent("What is the weather?")
    told = developer.http.post(f"/sessions/{developer.session}/fork", json=body)
    assert (told.status_code, told.json()["error"]["code"]) == (status, code)


# --- erasure ---------------------------------------------------------------------------------------------------------------------


def test_an_erased_session_is_gone_with_timeline_and_recording_and_its_fork_stays(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    fork = developer.fork(2).json()["id"]
    assert developer.http.delete(f"/sessions/{developer.session}").status_code == 200
    for what in ("timeline", "recording", "replay"):
        assert developer.http.get(f"/sessions/{developer.session}/{what}").status_code == 404, what
    assert {step["source"] for step in developer.get("replay", fork)["steps"]} == {"record"}


def test_an_erased_user_is_gone_from_recordings_and_forks_of_a_shared_session(
    developer: Developer, upstream: FakeUpstream
) -> None:
    upstream.script(chat("Noted."))
    named = {"X-Deja-Session": developer.session}
    ask(developer.client, SECRET, user="ann", headers=named)
    ask(developer.client, "And this is mine.", user="bob", headers=named)
    fork = developer.fork(2).json()["id"]
    assert developer.http.delete("/users/ann").status_code == 200
    for session in (developer.session, fork):
        found = developer.get("recording", session)
        assert [step["request"]["user"] for step in found["steps"]] == ["bob"]
        assert SECRET not in json.dumps(found)


# --- walls -------------------------------------------------------------------------------------------------------------------------


def test_another_tenant_finds_none_of_it(developer: Developer) -> None:
    developer.run_agent("What is the weather?")
    developer.get("replay")
    stranger = {"Authorization": "Bearer sk-stranger"}
    for what in ("timeline", "recording", "replay"):
        for session in (developer.session, "never-was"):
            told = developer.http.get(f"/sessions/{session}/{what}", headers=stranger)
            assert told.status_code == 404, what
    events = {**stranger, "Accept": "text/event-stream"}
    assert developer.http.get(f"/sessions/{developer.session}/timeline", headers=events).status_code == 404
    for session in (developer.session, "never-was"):
        assert developer.http.post(f"/sessions/{session}/fork", json={"at": 1}, headers=stranger).status_code == 404
