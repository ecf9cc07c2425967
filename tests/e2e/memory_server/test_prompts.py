"""Prompts through the Agent Memory Server's client: summary, messages, memories and the question."""

from __future__ import annotations

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryServerError
from agent_memory_client.models import WorkingMemory

from tests.e2e.memory_server.remembering import fact, said


async def test_a_prompt_holds_summary_messages_memories_and_question(memory: MemoryAPIClient) -> None:
    await memory.create_long_term_memory(
        [fact("User prefers green tea", "tea", user_id="u"), fact("User likes cocoa", "cocoa", user_id="v")],
        deduplicate=False,
    )
    await memory.put_working_memory(
        "s", WorkingMemory(session_id="s", user_id="u", messages=said("Hello", "Hi"), context="They met.")
    )
    told = await memory.memory_prompt("What do I drink?", session_id="s", user_id="u", long_term_search={"limit": 5})
    assert [(each["role"], each["content"]["text"]) for each in told["messages"]] == [
        ("system", "## A summary of the conversation so far:\nThey met."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("system", "## Long term memories related to the user's query\n - User prefers green tea (ID: tea)"),
        ("user", "What do I drink?"),
    ]
    assert [each["id"] for each in told["long_term_memories"]] == ["tea"]


async def test_a_prompt_keeps_to_the_window(memory: MemoryAPIClient) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", messages=said("x" * 2000, "y" * 40)))
    told = await memory.memory_prompt("And now?", session_id="s", context_window_max=100)
    assert [each["content"]["text"] for each in told["messages"]] == ["y" * 40, "And now?"]
    assert told["long_term_memories"] is None


async def test_a_prompt_of_memories_alone_and_of_nothing(memory: MemoryAPIClient) -> None:
    told = await memory.hydrate_memory_prompt("What do I drink?", user_id={"eq": "u"}, topics={"any": ["drinks"]})
    assert [each["content"]["text"] for each in told["messages"]] == [
        "## Long term memories related to the user's query\n No relevant long-term memories found.",
        "What do I drink?",
    ]
    told = await memory.memory_prompt("Who?", session_id="not there")
    assert [each["role"] for each in told["messages"]] == ["user"]
    with pytest.raises(MemoryServerError, match="Either session or long_term_search must be provided") as caught:
        await memory.memory_prompt("Who?")
    assert caught.value.status_code == 400


async def test_what_a_session_said_itself_is_not_found_again(memory: MemoryAPIClient) -> None:
    await memory.create_long_term_memory(
        [fact("User prefers tea", "own", session_id="s"), fact("User has a cat", "other", session_id="t")]
    )
    body = {"query": "What is known?", "session": {"session_id": "s"}, "long_term_search": True}
    told = (await memory._client.post("/v1/memory/prompt", json=body)).json()
    assert [each["id"] for each in told["long_term_memories"]] == ["other"]
