"""`deja mcp` as a desktop client runs it: the official client starts it, and speaks with it over its standard input and output."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.deja_process import DejaProcess, free_port

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def connected(root: str, key: str, log: Path, *arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    """The official client, and the `deja mcp` that it started."""
    command = ["-m", "proxy", "mcp", "--url", root, *arguments]
    server = StdioServerParameters(command=sys.executable, args=command, env={"DEJA_API_KEY": key}, cwd=ROOT)
    with log.open("w") as said:
        async with Client(stdio_client(server, errlog=said), mode=mode) as client:
            yield client


def key() -> str:
    return f"sk-{uuid.uuid4()}"


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool says, where it says no error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0].text
    return result.structured_content


def events(deja: DejaProcess, key: str) -> list[dict[str, Any]]:
    """What a key's stream of events holds, over HTTP."""
    headers = {"authorization": f"Bearer {key}"}
    found: list[dict[str, Any]] = httpx.get(f"{deja.base_url}/events", headers=headers, trust_env=False).json()["data"]
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_work_on_the_things_of_the_key(deja: DejaProcess, tmp_path: Path, mode: str) -> None:
    mine = key()
    async with connected(deja.base_url, mine, tmp_path / "log", "--agent", "scribe", mode=mode) as client:
        assert {"search_long_term_memory", "claim_tasks"} <= {tool.name for tool in (await client.list_tools()).tools}
        await told(
            client,
            "create_long_term_memories",
            memories=[{"text": "Ada likes trains & tea: 50 %.", "user_id": "a/b c"}],
        )
        found = await told(client, "search_long_term_memory", text="How does Ada travel?", user_id="a/b c")
        assert [memory["text"] for memory in found["memories"]] == ["Ada likes trains & tea: 50 %."]
        await told(client, "set_agent_state", agent_id="team/a", fields={"status": "busy"}, expected_version=0)
        listed = await told(client, "list_agents", status="busy", limit=5)
        assert [each["id"] for each in listed["data"]] == ["team/a"]
        late = await client.call_tool("set_agent_state", {"agent_id": "team/a", "fields": {}, "expected_version": 9})
        assert "version_conflict" in late.content[0].text
        await told(client, "append_events", events=[{"type": "noted"}])
    assert [event["agent"] for event in events(deja, mine)] == ["scribe"]
    assert events(deja, key()) == []
    assert (tmp_path / "log").read_text() == ""


async def test_a_deja_that_is_away_is_an_error_of_the_call_alone(tmp_path: Path) -> None:
    async with connected(f"http://127.0.0.1:{free_port()}", key(), tmp_path / "log") as client:
        for _ in range(2):
            result = await client.call_tool("list_agents", {})
            assert result.is_error
            assert "Start it with `deja serve`" in result.content[0].text
        assert (await told(client, "get_current_datetime"))["unix_ts"] > 0
