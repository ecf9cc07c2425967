"""Sessions that speak other APIs than chat: recorded, replayed from the cache, run again on the recording, and warming a cache."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from typer.testing import CliRunner

from proxy.__main__ import app
from tests.deja_process import DejaProcess
from tests.e2e.test_replay import Developer, served
from tests.fake_answers import saying
from tests.fake_upstream import FakeUpstream

SAID = "Take an umbrella."
QUESTIONS = ("What is the weather like in Porto?", "And in Braga?")


def through_responses(root: str, key: str, headers: dict[str, str], *, stream: bool) -> list[str]:
    told: list[str] = []
    items: list[Any] = []
    with openai.OpenAI(
        base_url=f"{root}/v1", api_key=key, max_retries=0, timeout=20, default_headers=headers
    ) as client:
        for question in QUESTIONS:
            items.append({"role": "user", "content": question})
            given: Any = {"model": "gpt-x", "input": items, "instructions": "Be short.", "store": False}
            if stream:
                with client.responses.stream(**given) as events:
                    told.append(events.get_final_response().output_text)
            else:
                told.append(client.responses.create(**given).output_text)
            items.append({"role": "assistant", "content": told[-1]})
    return told


def through_messages(root: str, key: str, headers: dict[str, str], *, stream: bool) -> list[str]:
    told: list[str] = []
    messages: list[Any] = []
    with anthropic.Anthropic(base_url=root, api_key=key, max_retries=0, timeout=20, default_headers=headers) as client:
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            given: Any = {"model": "claude-x", "max_tokens": 50, "system": "Be short.", "messages": messages}
            if stream:
                with client.messages.stream(**given) as events:
                    told.append(events.get_final_text())
            else:
                told.append(client.messages.create(**given).content[0].text)
            messages.append({"role": "assistant", "content": told[-1]})
    return told


def through_completions(root: str, key: str, headers: dict[str, str], *, stream: bool) -> list[str]:
    told: list[str] = []
    with openai.OpenAI(
        base_url=f"{root}/v1", api_key=key, max_retries=0, timeout=20, default_headers=headers
    ) as client:
        for question in QUESTIONS:
            given: Any = {"model": "instruct-x", "prompt": question}
            if stream:
                told.append("".join(chunk.choices[0].text for chunk in client.completions.create(**given, stream=True)))
            else:
                told.append(client.completions.create(**given).choices[0].text)
    return told


Run = Callable[..., list[str]]
EACH = pytest.mark.parametrize(
    ("run", "path"),
    [
        (through_responses, "/responses"),
        (through_messages, "/messages"),
        (through_completions, "/completions"),
    ],
    ids=["responses", "messages", "completions"],
)


@pytest.fixture
def developer(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> Iterator[Developer]:
    made = Developer(deja, new_client())
    upstream.script(saying(SAID))
    yield made
    made.http.close()


@EACH
def test_a_session_is_recorded_and_replayed(developer: Developer, upstream: FakeUpstream, run: Run, path: str) -> None:
    named = {"X-Deja-Session": developer.session}
    for stream in (False, True):
        assert run(developer.deja.root, developer.client.api_key, named, stream=stream) == [SAID, SAID]
    steps = developer.get("recording")["steps"]
    assert [(step["path"], step["outcome"], step["stream"]) for step in steps] == [
        (path, outcome, stream) for outcome, stream in (("miss", False), ("exact", True)) for _ in QUESTIONS
    ]
    assert [step["request"] for step in steps[:2]] == [request.json for request in upstream.requests]
    assert len({step["answer_digest"] for step in steps}) == 1, "streamed or not, from the provider or the cache"
    replayed = developer.get("replay")["steps"]
    assert {(step["verdict"], step["source"]) for step in replayed} == {("same", "cache")}
    developer.forget()
    replayed = developer.get("replay")["steps"]
    assert {(step["verdict"], step["source"]) for step in replayed} == {("same", "record")}
    assert len(upstream.requests) == 2


def test_a_session_through_all_of_them_runs_again_on_the_recording_alone(
    developer: Developer, upstream: FakeUpstream
) -> None:
    named, runs = {"X-Deja-Session": developer.session}, (through_responses, through_messages, through_completions)
    for run in runs:
        for stream in (False, True):
            run(developer.deja.root, developer.client.api_key, named, stream=stream)
    shown = developer.replay()
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count(SAID) == 12
    assert "12 steps: 12 from the cache" in shown.stdout
    asked = len(upstream.requests)
    with served(developer) as (client, process):
        root = str(client.base_url).removesuffix("/").removesuffix("/v1")
        for run in runs:
            for stream in (True, False):  # the other way round than then
                assert run(root, "any", {}, stream=stream) == [SAID, SAID]
    assert process.returncode == 0
    assert len(upstream.requests) == asked


@EACH
def test_a_recorded_session_warms_the_cache(developer: Developer, upstream: FakeUpstream, run: Run, path: str) -> None:
    key, name = developer.client.api_key, f"warm-{uuid.uuid4().hex}"
    run(developer.deja.root, key, {"X-Deja-Session": developer.session, "X-Deja-Namespace": name}, stream=False)
    developer.get("recording")
    cache = ["cache", "--url", developer.deja.root, "--api-key", key]
    removed = CliRunner().invoke(app, [cache[0], "invalidate", "--everything", "--yes", *cache[1:]])
    assert removed.output == "2 entries are removed.\n"
    warmed = CliRunner().invoke(app, [cache[0], "warm", "--session", developer.session, *cache[1:]])
    assert warmed.output == "2 answers are stored.\n"
    asked = len(upstream.requests)
    assert run(developer.deja.root, key, {"X-Deja-Namespace": name}, stream=False) == [SAID, SAID]
    assert len(upstream.requests) == asked
