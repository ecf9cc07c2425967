"""What is recorded of a session, and who can read it."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import openai
import redis

from tests.deja_process import DejaProcess
from tests.e2e.asking import ask, turns
from tests.fake_upstream import FakeUpstream, cut_after, sse_chat


def read(deja: DejaProcess, session: str, api_key: str, *, turns: int, timeout_s: float = 5.0) -> dict[str, Any]:
    """The session, once it holds so many turns and an event (recording is off the hot path; events follow turns)."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        answer = httpx.get(f"{deja.base_url}/sessions/{session}", headers={"Authorization": f"Bearer {api_key}"})
        found: dict[str, Any] = answer.json()
        if answer.status_code == 200 and len(found["turns"]) >= turns and found["events"]:
            return found
        assert time.monotonic() < give_up_at, answer.text
        time.sleep(0.02)


def test_each_turn_joins_the_session(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> None:
    key, session = f"sk-{uuid.uuid4()}", f"session-{uuid.uuid4()}"
    client = new_client(key)
    named = {"X-Deja-Session": session, "X-Deja-Agent": "researcher"}
    first = ask(client, "What is the capital of Peru?", headers=named)
    history = turns("What is the capital of Peru?", first.text, "How high does it lie?")
    second = ask(client, history, headers=named, stream=True)
    again = ask(client, "What is the capital of Peru?", headers=named)
    found = read(deja, session, key, turns=6)
    assert [(turn["role"], turn["content"]) for turn in found["turns"]] == [
        ("user", "What is the capital of Peru?"),
        ("assistant", first.text),
        ("user", "How high does it lie?"),
        ("assistant", second.text),
        ("user", "What is the capital of Peru?"),
        ("assistant", again.text),
    ]
    assert {turn["agent"] for turn in found["turns"]} == {"researcher"}
    assert [event["outcome"] for event in found["events"]] == ["miss", "miss", "exact"]
    assert found["turns"][0]["request_id"] == first.headers["x-deja-request-id"]
    assert 0 < found["ttl_s"] <= 86_400


def test_the_body_may_name_the_session_too(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> None:
    key, session = f"sk-{uuid.uuid4()}", f"session-{uuid.uuid4()}"
    ask(new_client(key), "What is the capital of Chile?", extra_body={"deja": {"session": session, "agent": "a"}})
    assert len(read(deja, session, key, turns=2)["turns"]) == 2


def test_another_tenant_sees_no_session(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> None:
    key, session = f"sk-{uuid.uuid4()}", f"session-{uuid.uuid4()}"
    ask(new_client(key), "What is the capital of Cuba?", headers={"X-Deja-Session": session})
    read(deja, session, key, turns=2)
    for stranger in ("sk-stranger", None):
        headers = {"Authorization": f"Bearer {stranger}"} if stranger else {}
        answer = httpx.get(f"{deja.base_url}/sessions/{session}", headers=headers)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "session_not_found"


def test_a_broken_answer_is_an_event_and_no_turn(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> None:
    upstream.script(cut_after(sse_chat("half an answer")[:2]))
    key, session = f"sk-{uuid.uuid4()}", f"session-{uuid.uuid4()}"
    with contextlib.suppress(openai.APIError):
        ask(new_client(key), "What is the capital of Fiji?", stream=True, headers={"X-Deja-Session": session})
    found = read(deja, session, key, turns=0)
    assert found["turns"] == []
    assert found["events"][0]["not_stored"] == "partial"


def test_any_redis_client_reads_the_journal_and_finds_no_prompt_in_it(
    deja: DejaProcess, upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]
) -> None:
    agent = f"agent-{uuid.uuid4()}"
    told = ask(new_client(), "What is the capital of Malta, dear reader?", headers={"X-Deja-Agent": agent})
    with redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock")) as plain:
        give_up_at = time.monotonic() + 5
        while not (
            mine := [fields for _, fields in plain.xrange("deja:v1:journal") if fields[b"agent"] == agent.encode()]
        ):
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
    (event,) = mine
    assert event[b"type"] == b"deja.completion"
    assert event[b"outcome"] == b"miss"
    assert event[b"reason"] == b"no-candidate"
    assert event[b"request_id"].decode() == told.headers["x-deja-request-id"]
    assert b"Malta" not in b"".join(event.values())
