"""Every tool: a schema that clients can use, and the request that its arguments stand for."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from proxy.errors import RequestError
from proxy.mcp import agent_tools, memory_tools
from proxy.mcp.calls import Call, Tool
from proxy.mcp.schemas import matching

TOOLS = {tool.name: tool for tool in (*memory_tools.tools(), *agent_tools.tools())}


def request(tool: str, **told: Any) -> Call:
    """The request of a tool whose arguments its schema takes."""
    jsonschema.validate(told, TOOLS[tool].schema)
    made = TOOLS[tool].request
    assert made is not None
    return made(told)


def test_no_two_tools_have_one_name() -> None:
    assert len(TOOLS) == len(memory_tools.tools()) + len(agent_tools.tools())


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_tool_is_described_and_its_schema_is_one(tool: Tool) -> None:
    jsonschema.Draft202012Validator.check_schema(tool.schema)
    assert tool.description
    assert set(tool.required) <= set(tool.properties)
    assert all("description" in each or "items" in each for each in tool.properties.values())
    assert not (tool.is_reading and tool.is_destroying)


@pytest.mark.parametrize(
    ("tool", "told", "method", "path", "query", "body"),
    [
        ("get_agent_state", {"agent_id": "a/b"}, "GET", "/v1/agents/a/b", {}, None),
        ("heartbeat", {"agent_id": "a", "ttl_s": 3}, "POST", "/v1/agents/a/heartbeat", {}, {"ttl_s": 3}),
        ("list_agents", {"alive": False}, "GET", "/v1/agents", {"limit": 50, "alive": False}, None),
        ("list_agents", {"limit": 5}, "GET", "/v1/agents", {"limit": 5}, None),
        ("submit_task", {"queue": "q", "payload": None}, "POST", "/v1/queues/q/tasks", {}, {"payload": None}),
        ("claim_tasks", {"queue": "q", "worker": "w"}, "POST", "/v1/queues/q/tasks/claim", {}, {"worker": "w"}),
        ("complete_task", {"queue": "q", "task_id": "t", "lease": "l"}, "POST", "/v1/queues/q/tasks/t/complete", {}, {"lease": "l"}),
        ("list_tasks", {"queue": "q", "state": "dead"}, "GET", "/v1/queues/q/tasks", {"limit": 50, "state": "dead"}, None),
        ("append_events", {"events": [{"type": "t"}]}, "POST", "/v1/events", {}, {"events": [{"type": "t"}]}),
        ("publish_signal", {"channel": "c", "data": 0}, "POST", "/v1/signals/c", {}, 0),
        ("get_session", {"session_id": "s"}, "GET", "/v1/sessions/s", {"limit": 20}, None),
        ("explain_request", {"request_id": "r"}, "GET", "/v1/cache/explain/r", {}, None),
        ("get_long_term_memory", {"memory_id": "m"}, "GET", "/v1/long-term-memory/m", {}, None),
    ],
)  # fmt: skip
def test_arguments_become_a_request(
    tool: str, told: dict[str, Any], method: str, path: str, query: Any, body: Any
) -> None:
    call = request(tool, **told)
    assert (call.method, call.path, dict(call.query), call.body) == (method, path, query, body)


def test_a_state_is_created_patched_or_written_only_at_a_version() -> None:
    told = {"agent_id": "a", "fields": {"status": "busy"}}
    created = request("set_agent_state", **told, expected_version=0)
    assert (created.method, created.headers) == ("PUT", {"if-none-match": "*"})
    patched = request("set_agent_state", **told, expected_version=7)
    assert (patched.method, patched.headers, patched.if_missing) == ("PATCH", {"if-match": '"7"'}, None)
    either = request("set_agent_state", **told)
    assert (either.method, either.headers, either.if_missing) == ("PATCH", {}, created)


@pytest.mark.parametrize("name", ["a/watch", "a/history", "", "a/../b"])
def test_an_agent_whose_name_is_another_route_is_refused(name: str) -> None:
    made = TOOLS["get_agent_state"].request
    assert made is not None
    with pytest.raises(RequestError):
        made({"agent_id": name})


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"user_id": "ada"}, {"user_id": {"eq": "ada"}}),
        ({"user_id": ["ada", "bob"]}, {"user_id": {"any": ["ada", "bob"]}}),
        ({"user_id": {"ne": "ada"}}, {"user_id": {"ne": "ada"}}),
        ({"topics": "travel"}, {"topics": {"any": ["travel"]}}),
        ({"topics": ["travel"]}, {"topics": {"any": ["travel"]}}),
        ({"created_at": {"gt": "2026-01-01"}}, {"created_at": {"gt": "2026-01-01"}}),
        ({"limit": 3, "offset": None}, {"limit": 3}),
    ],
)
def test_a_filter_may_be_a_word_a_list_or_a_filter(said: dict[str, Any], sent: dict[str, Any]) -> None:
    made = TOOLS["search_long_term_memory"].request
    assert made is not None
    assert made({"text": "x", **said}).body == {"text": "x", **sent}


def test_memories_without_an_id_get_one_each() -> None:
    body = request(
        "create_long_term_memories", memories=[{"text": "a"}, {"text": "b"}, {"text": "c", "id": "mine"}]
    ).body
    ids = [memory["id"] for memory in body["memories"]]
    assert ids[2] == "mine"
    assert len(set(ids)) == 3


def test_a_prompt_searches_the_users_memories_beside_the_session() -> None:
    body = request("memory_prompt", query="x", session_id="s", user_id="ada").body
    assert body["session"] == {"session_id": "s", "user_id": "ada"}
    assert body["long_term_search"] == {"user_id": {"eq": "ada"}}
    assert "long_term_search" not in request("memory_prompt", query="x", include_long_term_search=False).body


@pytest.mark.parametrize("value", ["ada", ["ada"], {"eq": "ada"}])
def test_a_filters_schema_takes_what_models_write(value: Any) -> None:
    jsonschema.validate(value, matching("Whose."))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(5, matching("Whose."))
