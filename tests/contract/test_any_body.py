"""Whatever a body holds anywhere, the application answers it or says what is wrong with it: never with a 5xx.

Schemathesis knows what the document of the API says; here are the routes whose bodies are only partly described there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from proxy.app import create_app
from proxy.settings import load
from tests.contract.bodies import REQUESTS, with_other_values
from tests.redis_server import artifacts_dir, private_redis

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "I like tea"}]},
    REQUESTS["chat"]["messages"][1],
    {"role": "tool", "tool_call_id": "call_1", "content": "x"},
]
AT = "2026-01-01T00:00:00Z"
TALK = {"id": "m1", "role": "user", "content": "I like tea", "created_at": AT}
MEMORY = {
    "id": "m",
    "text": "likes tea",
    "user_id": "u",
    "topics": ["t"],
    "entities": ["e"],
    "memory_type": "semantic",
    "event_date": AT,
}
CALLED = {"name": "search_long_term_memory", "arguments": {"text": "tea", "user_id": {"eq": "u"}, "limit": 3}}
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/chat/completions", REQUESTS["chat"]),
    ("POST", "/v1/completions", REQUESTS["completions"]),
    ("POST", "/v1/responses", REQUESTS["responses"]),
    ("POST", "/v1/messages", REQUESTS["messages"]),
    ("POST", "/v1/embeddings", {"model": "m", "input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 3}),
    ("POST", "/v1/sessions/s/messages", {"messages": MESSAGES, "user": "u", "agent": "a"}),
    ("PUT", "/v1/sessions/s/data", {"a": {"b": [1]}}),
    ("PATCH", "/v1/sessions/s/data", {"a": {"b": [1]}, "c": None}),
    ("PUT", "/v1/working-memory/s", {"messages": [TALK], "memories": [MEMORY], "data": {"a": 1}, "user_id": "u"}),
    ("POST", "/v1/long-term-memory", {"memories": [MEMORY]}),
    (
        "POST",
        "/v1/memory/prompt",
        {"query": "tea", "session": {"session_id": "s"}, "long_term_search": {"text": "tea"}},
    ),
    ("POST", "/v1/events", {"type": "t", "source": "s", "id": "1", "time": AT, "data": {"a": 1}}),
    ("POST", "/v1/signals/c", {"type": "x", "data": {"a": [1]}}),
    ("POST", "/v1/queues/q/tasks", {"payload": {"a": 1}, "priority": 3, "depends_on": ["t"]}),
    ("PATCH", "/v1/agents/a", {"status": "x", "data": {"a": 1}}),
    (
        "POST",
        "/v1/cache/entries",
        {"entries": [{"request": REQUESTS["chat"] | {"stream": False}, "response": {"choices": []}, "tags": ["t"]}]},
    ),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALLED}),
]
NO_JSON = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"3",
    b'"x"',
    b'{"a":' * 3000,
    b"\xff\xfe",
    b'{"a":1e999}',
    b'{"x":"\\ud800"}',
    b"[" * 99999,
)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("deja")
    with private_redis() as url:
        settings = load({"DEJA_DATA_DIR": str(folder), "DEJA_ARTIFACTS_DIR": str(artifacts_dir())})
        app = create_app(settings, redis_url=url, environ={})
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as made,
        ):
            yield made


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_body_may_hold_anything_anywhere(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    for raw in (orjson.dumps(body), *map(orjson.dumps, with_other_values(body)), *NO_JSON):
        answer = await client.request(method, path, content=raw, headers=headers)
        assert answer.status_code < 500, (raw[:2000], answer.text)
        if answer.status_code >= 400:
            assert len(answer.text) > 20
