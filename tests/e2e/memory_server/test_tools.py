"""The tools that the Agent Memory Server's client gives to models, called in every dialect."""

from __future__ import annotations

from typing import Any

from agent_memory_client import MemoryAPIClient

from tests.e2e.memory_server.remembering import DEPRECATED, until

pytestmark = DEPRECATED


async def test_tools_answer_in_words(memory: MemoryAPIClient) -> None:
    made = await memory.get_or_create_working_memory_tool("s", user_id="u")
    assert made["created"] is True
    added = await memory.add_memory_tool("s", "User is vegetarian", "semantic", topics=["food"], user_id="u")
    assert added["success"], added
    assert (await memory.update_memory_data_tool("s", {"trip": "Lima"}))["success"]
    state = await memory.get_working_memory_tool("s")
    assert (state["memory_count"], state["data"]) == (1, {"trip": "Lima"})

    async def found() -> list[dict[str, Any]]:
        memories: list[dict[str, Any]] = (await memory.search_memory_tool("food", user_id="u"))["memories"]
        return memories

    (one,) = await until(found)
    assert (one["text"], one["topics"]) == ("User is vegetarian", ["food"])
    assert one["relevance_score"] <= 1.0
    assert (await memory.search_memory_tool("food", min_relevance=0.99))["memories"] == []


async def test_tool_calls_of_every_dialect_are_resolved(memory: MemoryAPIClient) -> None:
    calls: list[dict[str, Any]] = [
        {"id": "1", "type": "function", "function": {"name": "eagerly_create_long_term_memory", "arguments":
            '{"memories": [{"text": "User has two cats", "memory_type": "semantic"}]}'}},
        {"type": "tool_use", "id": "2", "name": "search_memory", "input": {"query": "pets"}},
        {"name": "get_current_datetime", "arguments": "{}"},
    ]  # fmt: skip
    assert [memory.parse_tool_call(call)["name"] for call in calls] == [
        memory.parse_openai_tool_call(calls[0])["name"],
        memory.parse_anthropic_tool_use(calls[1])["name"],
        memory.parse_openai_function_call(calls[2])["name"],
    ]
    first = await memory.resolve_tool_call(calls[0], session_id="s", user_id="u")
    assert first["success"], first
    rest = await memory.resolve_tool_calls(calls[1:], session_id="s")
    assert [each["success"] for each in rest] == [True, True]
    (pet,) = rest[0]["result"]["memories"]
    results = await memory.resolve_function_calls(
        [
            {"name": "get_or_create_working_memory", "arguments": {}},
            {"name": "lazily_create_long_term_memory", "arguments": {"text": "User is 40", "memory_type": "semantic"}},
            {"name": "update_working_memory_data", "arguments": {"data": {"a": 1}, "merge_strategy": "replace"}},
            {"name": "get_long_term_memory", "arguments": {"memory_id": pet["id"]}},
            {"name": "edit_long_term_memory", "arguments": {"memory_id": pet["id"], "text": "User has three cats"}},
        ],
        session_id="s",
    )
    assert [each["success"] for each in results] == [True] * 5, results
    assert (await memory.get_long_term_memory(pet["id"])).text == "User has three cats"
    gone = await memory.resolve_function_call("delete_long_term_memories", {"memory_ids": [pet["id"]]}, session_id="s")
    assert gone["result"] == {"status": "ok, deleted 1 memories"}
    again = await memory.resolve_function_call("get_long_term_memory", {"memory_id": pet["id"]}, session_id="s")
    assert not again["success"]
