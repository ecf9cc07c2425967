"""Encryption at rest, on a running Deja: after traffic through everything that claims it, nothing in Redis holds a word of anybody's."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from proxy.stores.client import open_client
from proxy.stores.embedded import running_url
from tests.deja_process import DejaProcess, running_deja
from tests.e2e.asking import ask
from tests.fake_answers import saying
from tests.fake_upstream import FakeUpstream
from tests.redis_dump import dump_of, names_in

WORD = "zanzibarite"
"""Stands in every prompt, answer, tool result and message; it must come out of no key that is said to be sealed."""
QUESTION = f"What is the melting point of {WORD}?"
REWORDED = f"What's the melting point of {WORD}?"
KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()
READ = {
    "/sessions/chat": 200,
    "/sessions/chat/data": 200,
    "/sessions/chat/recording": 200,
    "/sessions/chat/replay": 200,
    "/sessions/chat/timeline": 200,
    "/cache/decisions?outcome=semantic": 200,
    "/cache/entries": 200,
    "/cache/entries/export": 200,
    "/working-memory/s1": 404,
}
"""Paths, and what they answer where nothing can be opened: things that are there, without what was said."""
IN_THE_CLEAR = {"memory", "agent", "agent-history", "agents-feed", "events", "queue"}
"""Kinds of keys that docs/guide/keys.md says are not encrypted, and that hold callers' words."""


@pytest.fixture(scope="module")
def sealed(provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_CACHE__ENCRYPTION_KEYS=KEY) as process:
        yield process


@contextmanager
def caller(deja: DejaProcess) -> Iterator[tuple[openai.OpenAI, httpx.Client]]:
    """A tenant of its own, by SDK and by hand."""
    key = f"sk-{uuid.uuid4()}"
    with (
        openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0, timeout=20) as client,
        httpx.Client(base_url=deja.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as http,
    ):
        yield client, http


def kinds_with(deja: DejaProcess, word: str) -> set[str]:
    """Kinds of keys, as docs/reference/redis.md names them, that hold a word in the clear."""

    async def look() -> set[str]:
        client = open_client(str(running_url(deja.data_dir)), deadline_ms=10_000)
        try:
            found = await dump_of(client, await names_in(client))
        finally:
            await client.aclose()
        assert len(found) > 10, "there is something to look at"
        return {name.decode().split(":")[2] for name, text in found.items() if word.encode() in text}

    return asyncio.run(look())


def wait_for(deja: DejaProcess, http: httpx.Client, *, steps: int) -> None:
    """Until all that is written beside requests has been."""
    give_up_at = time.monotonic() + 20
    while True:
        recorded = http.get("/sessions/chat/recording").json().get("steps", ())
        judged = http.get("/cache/decisions", params={"outcome": "semantic"}).json()["data"]
        if len(recorded) >= steps and judged:
            return
        assert time.monotonic() < give_up_at, deja.log
        time.sleep(0.05)


def talk(client: openai.OpenAI) -> None:
    """A session with a question, its rewording, and a tool's result."""
    session = {"X-Deja-Session": "chat"}
    assert ask(client, QUESTION, headers=session).hit is None
    assert ask(client, REWORDED, headers=session).hit == "semantic"
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": f'{{"mineral": "{WORD}"}}'}}
    tool = {"role": "tool", "tool_call_id": "c1", "content": f"{WORD} melts at 3 °C."}
    said: list[dict[str, Any]] = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        tool,
    ]
    assert ask(client, said, headers=session).hit is None


def use_everything_that_seals(client: openai.OpenAI, http: httpx.Client) -> None:
    """Beside `talk`: the Responses API with a replay, embeddings, named caches, sessions, working memory."""
    for _ in range(2):
        replayed = client.responses.create(model="gpt-5-mini", input=QUESTION)
    client.responses.create(model="gpt-5-mini", input=f"And {WORD} under pressure?", previous_response_id=replayed.id)
    client.completions.create(model="davinci", prompt=QUESTION)
    entry = {"prompt": QUESTION, "response": f"{WORD} melts at 3 °C.", "attributes": {"mineral": WORD}}
    assert http.post("/caches/minerals/entries", json=entry).status_code == 201
    message = {"role": "user", "content": QUESTION}
    assert http.post("/sessions/chat/messages", json={"messages": [message]}).status_code == 201
    assert http.put("/sessions/chat/data", json={"mineral": WORD}).status_code in (200, 201)
    working = {"messages": [message], "context": f"They spoke of {WORD}.", "data": {"mineral": WORD}}
    assert http.put("/working-memory/s1", json=working).status_code in (200, 201)


def test_after_traffic_through_all_that_seals_no_key_holds_a_word_of_it(
    sealed: DejaProcess, upstream: FakeUpstream
) -> None:
    upstream.script(saying(f"{WORD} melts at 3 °C."))
    with caller(sealed) as (client, http):
        talk(client)
        use_everything_that_seals(client, http)
        wait_for(sealed, http, steps=3)
        assert kinds_with(sealed, WORD) == set()
        # And it is all there for whoever it belongs to.
        assert ask(client, QUESTION).hit == "exact"
        judged = http.get("/cache/decisions", params={"outcome": "semantic"}).json()["data"]
        assert [one["asked"] for one in judged] == [REWORDED]
        assert WORD in http.get("/sessions/chat").text
        steps = http.get("/sessions/chat/recording").json()["steps"]
        assert all(WORD in str(step["request"]) and WORD in str(step["answer"]) for step in steps)
        assert WORD in http.get("/sessions/chat/data").text
        assert WORD in http.get("/working-memory/s1").text
        found = http.post("/caches/minerals/entries/search", json={"prompt": REWORDED}).json()["data"]
        assert [one["response"] for one in found] == [f"{WORD} melts at 3 °C."]


def test_what_is_said_to_lie_in_the_clear_does_and_nothing_else(sealed: DejaProcess) -> None:
    word = "quuxonite"
    with caller(sealed) as (_, http):
        memory = {"memories": [{"id": "m1", "text": f"Ann collects {word}."}]}
        assert http.post("/long-term-memory", json=memory).status_code == 200
        assert http.put("/agents/miner", json={"status": "digging", "seeks": word}).status_code == 201
        event = {"type": "found", "source": "mine", "data": {"mineral": word}}
        assert http.post("/events", json=event).status_code == 201
        assert http.post("/queues/dig/tasks", json={"payload": word}).status_code == 201
        assert kinds_with(sealed, word) == IN_THE_CLEAR


def test_with_another_key_all_of_it_is_not_there_and_nothing_fails(
    provider: FakeUpstream, upstream: FakeUpstream
) -> None:
    upstream.script(saying(f"{WORD} melts at 3 °C."))
    with (
        running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, DEJA_CACHE__ENCRYPTION_KEYS=KEY) as deja,
        caller(deja) as (client, http),
    ):
        talk(client)
        use_everything_that_seals(client, http)
        wait_for(deja, http, steps=3)
        asked = http.get("/cache/decisions", params={"outcome": "semantic"}).json()["data"][0]["request_id"]
        deja.stop()
        settings = {"DEJA_UPSTREAM__BASE_URL": provider.base_url, "DEJA_CACHE__ENCRYPTION_KEYS": OTHER_KEY}
        other = DejaProcess(deja.data_dir, settings)
        other.start()
        try:
            http.base_url = other.base_url
            read = {path: http.get(path) for path in READ}
            assert {path: answer.status_code for path, answer in read.items()} == READ
            assert not any(WORD in answer.text for answer in read.values())
            assert http.get(f"/cache/explain/{asked}").status_code == 404
            found = http.post("/caches/minerals/entries/search", json={"prompt": QUESTION})
            assert (found.status_code, found.json()["data"]) == (200, [])
            assert ask(client.with_options(base_url=other.base_url), QUESTION).hit is None
            assert http.post("/sessions/chat/fork", json={"at": 1, "as": "fork"}).status_code == 201
            assert http.delete("/sessions/chat").status_code == 200
        finally:
            other.stop()
