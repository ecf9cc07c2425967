"""Requests to the Agent Memory Server's routes that are refused, or taken with a word about it."""

from __future__ import annotations

from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.models import WorkingMemory

from tests.e2e.memory_server.remembering import fact


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "limit": 0}, "limit"),
        ({"text": "x", "limit": 101}, "limit"),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "created_at": {"gte": "yesterday"}}, "created_at"),
        ({"text": "x", "user_id": {"equals": "u"}}, "user_id"),
        ({"text": "x", "user_id": {}}, "user_id"),
        ({"text": "x", "user_id": {"eq": None}}, "user_id"),
        ({"text": "x", "user_id": "u"}, "user_id"),
        ({"text": "x", "topics": {"any": []}}, "topics"),
        ({"text": "x", "memory_type": {"eq": "dream"}}, "memory_type"),
        ({"text": "x", "search_mode": "psychic"}, "search_mode"),
        ({"text": "x", "recency_half_life_created_days": 0}, "recency_half_life_created_days"),
    ],
    ids=str,
)
async def test_a_search_that_cannot_be_is_refused_with_its_field(
    memory: MemoryAPIClient, body: dict[str, Any], field: str
) -> None:
    answer = await memory._client.post("/v1/long-term-memory/search", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", field]
    assert answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/long-term-memory/", {"memories": [{"text": "x"}]}, 422),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": ""}]}, 422),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": "x" * 20_000}]}, 413),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": "x", "created_at": "then"}]}, 422),
        ("POST", "/v1/long-term-memory/search", {"search_mode": "keyword", "distance_threshold": 0.5}, 400),
        ("POST", "/v1/long-term-memory/forget", {"policy": {"max_age": 3}}, 422),
        ("PUT", "/v1/working-memory/s", {"memories": [{"id": "", "text": "x"}]}, 422),
        ("PUT", "/v1/working-memory/s", {"ttl_seconds": 0}, 422),
        ("PUT", "/v1/working-memory/s", {"long_term_memory_strategy": {"strategy": "guess"}}, 422),
        ("PUT", "/v1/working-memory/s?model_name=nobodys-model", {}, 422),
        ("PUT", f"/v1/working-memory/{'s' * 300}", {}, 422),
        ("POST", "/v1/summary-views", {"source": "dreams"}, 422),
        ("POST", "/v1/memory/prompt", {"session": {"session_id": "s"}}, 422),
    ],
)
async def test_what_cannot_be_stored_is_refused(
    memory: MemoryAPIClient, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await memory._client.request(method, path, json=body)
    assert (answer.status_code, next(iter(answer.json()))) == (status, "detail")


async def test_a_body_that_is_no_json_or_too_large_is_refused(memory: MemoryAPIClient) -> None:
    broken = await memory._client.put("/v1/working-memory/s", content=b"{")
    assert (broken.status_code, broken.json()["code"]) == (400, "invalid_json")
    large = await memory._client.put("/v1/working-memory/s", content=b" " * (10 << 20) + b"{}")
    assert large.status_code == 413
    assert "detail" in large.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/working-memory"),
        ("GET", "/v1/working-memory/s"),
        ("POST", "/v1/long-term-memory"),
        ("POST", "/v1/long-term-memory/search"),
        ("POST", "/v1/long-term-memory/compact"),
        ("DELETE", "/v1/long-term-memory"),
        ("GET", "/v1/long-term-memory/m1"),
        ("GET", "/v1/summary-views"),
        ("GET", "/v1/health"),
    ],
)
async def test_a_slash_at_the_end_makes_no_difference(memory: MemoryAPIClient, method: str, path: str) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s"))
    await memory.create_long_term_memory([fact("User likes tea", "m1")])
    body = {"memories": []} if path.endswith("memory") else {"text": "tea"}
    for each in (path, f"{path}/"):
        answer = await memory._client.request(method, each, json=body if method == "POST" else None)
        assert answer.status_code == 200, (each, answer.text)


async def test_a_message_without_a_time_is_warned_of(memory: MemoryAPIClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "nobody": "knows this field"}
    answer = await memory._client.put("/v1/working-memory/s", json=body)
    assert answer.status_code == 200
    assert "created_at" in answer.headers["x-deprecation-warning"]
