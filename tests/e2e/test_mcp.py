"""The official MCP client against /mcp of a real Deja: memory, state, tasks, events; whose they are; who may ask."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.deja_process import DejaProcess, running_deja

SERVERS_NAMES = {
    "get_current_datetime",
    "create_long_term_memories",
    "search_long_term_memory",
    "get_long_term_memory",
    "edit_long_term_memory",
    "delete_long_term_memories",
    "compact_long_term_memories",
    "memory_prompt",
    "get_working_memory",
    "set_working_memory",
}


@asynccontextmanager
async def connected(deja: DejaProcess, key: str, *, mode: str = "auto") -> AsyncIterator[Client]:
    """The official client, with a key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(f"{deja.root}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def key() -> str:
    return f"sk-{uuid.uuid4()}"


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool says, where it says no error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0].text
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """How a tool refuses."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_under_the_memory_servers_names_and_ours(deja: DejaProcess, mode: str) -> None:
    async with connected(deja, key(), mode=mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) >= SERVERS_NAMES | {"get_agent_state", "claim_tasks", "append_events", "explain_request"}
        assert all(tool.description and tool.input_schema["type"] == "object" for tool in listed.values())
        assert (await told(client, "get_current_datetime"))["iso_utc"].endswith("Z")


async def test_a_memory_is_stored_found_changed_and_deleted(deja: DejaProcess) -> None:
    async with connected(deja, key()) as client:
        fact = {"text": "Ada prefers trains to planes.", "user_id": "ada", "topics": ["travel"]}
        await told(client, "create_long_term_memories", memories=[fact])
        found = await told(client, "search_long_term_memory", text="How does Ada like to travel?", user_id="ada")
        memory_id = found["memories"][0]["id"]
        assert found["memories"][0]["text"] == fact["text"]
        assert not (await told(client, "search_long_term_memory", text="travel", user_id="bob"))["memories"]
        changed = await told(client, "edit_long_term_memory", memory_id=memory_id, text="Ada prefers night trains.")
        assert changed["text"] == "Ada prefers night trains."
        prompt = await told(client, "memory_prompt", query="How does Ada travel?", user_id="ada")
        assert "night trains" in str(prompt["messages"])
        await told(client, "compact_long_term_memories", user_id="ada")
        await told(client, "delete_long_term_memories", memory_ids=[memory_id])
        assert "not found" in (await refused(client, "get_long_term_memory", memory_id=memory_id)).lower()


async def test_working_memory_is_set_and_read(deja: DejaProcess) -> None:
    async with connected(deja, key()) as client:
        messages = [{"role": "user", "content": "I need a flight to Oslo."}]
        await told(client, "set_working_memory", session_id="trip", messages=messages, data={"to": "Oslo"})
        read = await told(client, "get_working_memory", session_id="trip")
        assert read["messages"][0]["content"] == "I need a flight to Oslo."
        assert read["data"] == {"to": "Oslo"}


async def test_states_tasks_events_and_signals(deja: DejaProcess) -> None:
    async with connected(deja, key()) as client:
        state = await told(client, "set_agent_state", agent_id="team/a", fields={"status": "busy"}, expected_version=0)
        assert (await told(client, "get_agent_state", agent_id="team/a"))["status"] == "busy"
        stale = await refused(client, "set_agent_state", agent_id="team/a", fields={"status": "x"}, expected_version=99)
        assert "version_conflict" in stale
        await told(client, "heartbeat", agent_id="team/a", ttl_s=30)
        assert [each["id"] for each in (await told(client, "list_agents"))["data"]] == [state["id"]]
        for _ in range(2):
            task = await told(client, "submit_task", queue="q", payload={"n": 1}, idempotency_key="once")
        claimed = await told(client, "claim_tasks", queue="q", worker="w", count=5)
        (mine,) = claimed["data"]
        assert mine["payload"] == {"n": 1}
        await told(client, "complete_task", queue="q", task_id=mine["id"], lease=mine["lease"], result="done")
        assert (await told(client, "get_task", queue="q", task_id=task["id"]))["result"] == "done"
        assert len((await told(client, "list_tasks", queue="q"))["data"]) == 1
        await told(client, "append_events", events=[{"type": "a.b", "data": {"n": 1}}])
        assert (await told(client, "read_events", type=["a.*"]))["data"][0]["data"] == {"n": 1}
        await told(client, "publish_signal", channel="news", data="hello")


async def test_an_error_says_how_to_mend_it(deja: DejaProcess) -> None:
    async with connected(deja, key()) as client:
        assert "`limit` cannot be used" in await refused(client, "search_long_term_memory", text="x", limit=1000)
        assert "'txt' was unexpected" in await refused(client, "search_long_term_memory", text="x", txt="y")
        assert "There is no tool" in await refused(client, "nothing")
        assert "cannot be used" in await refused(client, "get_agent_state", agent_id="a/watch")
        assert "cannot be used" in await refused(client, "get_session", session_id="a/../b")


async def test_another_keys_things_are_not_there(deja: DejaProcess) -> None:
    async with connected(deja, key()) as mine, connected(deja, key()) as others:
        await told(mine, "set_agent_state", agent_id="a", fields={"status": "busy"})
        await told(mine, "create_long_term_memories", memories=[{"id": "m1", "text": "The door code is 4711."}])
        assert (await told(others, "list_agents"))["data"] == []
        assert (await told(others, "search_long_term_memory", text="door code"))["memories"] == []
        assert "not found" in (await refused(others, "get_long_term_memory", memory_id="m1")).lower()
        assert (await told(mine, "get_long_term_memory", memory_id="m1"))["text"] == "The door code is 4711."


async def test_many_calls_at_once_are_each_their_own(deja: DejaProcess) -> None:
    async with connected(deja, key()) as client:
        await asyncio.gather(
            *(told(client, "set_agent_state", agent_id=f"a{n}", fields={"status": f"s{n}"}) for n in range(20))
        )
        read = await asyncio.gather(*(told(client, "get_agent_state", agent_id=f"a{n}") for n in range(20)))
        assert [each["status"] for each in read] == [f"s{n}" for n in range(20)]


def post(deja: DejaProcess, **headers: str) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    return httpx.post(f"{deja.root}/mcp", json=body, headers=accept | headers, trust_env=False)


def test_a_rebound_page_is_refused(deja: DejaProcess) -> None:
    assert post(deja).status_code == 200
    assert post(deja, host="evil.example").json()["error"]["code"] == "host_not_allowed"
    assert post(deja, origin="http://evil.example").json()["error"]["code"] == "origin_not_allowed"
    assert post(deja, origin="http://localhost:3000").status_code == 200


def test_it_is_called_by_post_alone(deja: DejaProcess) -> None:
    answer = httpx.get(f"{deja.root}/mcp", trust_env=False)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_task_claimed_for_a_client_that_left_goes_to_another(deja: DejaProcess) -> None:
    mine = key()
    async with connected(deja, mine) as client:
        waiting = asyncio.get_running_loop().run_in_executor(None, _claim_and_leave, deja, mine)
        await waiting
        task = await told(client, "submit_task", queue="left", payload=1)
        claimed = await told(client, "claim_tasks", queue="left", worker="other", wait_s=10)
        assert [each["id"] for each in claimed["data"]] == [task["id"]]


def _claim_and_leave(deja: DejaProcess, mine: str) -> None:
    call = {"name": "claim_tasks", "arguments": {"queue": "left", "worker": "gone", "wait_s": 20}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {mine}"}
    httpx.put(f"{deja.root}/v1/queues/left", headers=headers, trust_env=False)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{deja.root}/mcp", json=body, headers=headers, timeout=0.7, trust_env=False)


def test_where_keys_are_set_one_is_needed_and_any_host_will_do() -> None:
    with running_deja(DEJA_AUTH__KEYS="sk-a,sk-b", DEJA_MCP__ALLOWED_ORIGINS="https://chat.example") as guarded:
        refusal = post(guarded)
        assert refusal.status_code == 401
        assert refusal.headers["www-authenticate"] == "Bearer"
        assert post(guarded, authorization="Bearer sk-c").status_code == 401
        assert post(guarded, authorization="Bearer sk-b", host="deja.example").status_code == 200
        assert post(guarded, authorization="Bearer sk-b", origin="https://chat.example").status_code == 200
        assert post(guarded, authorization="Bearer sk-b", origin="https://other.example").status_code == 403
