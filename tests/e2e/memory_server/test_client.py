"""The Agent Memory Server's own client, unmodified, against Deja: the tests beside this one call every public method it has."""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import agent_memory_client
import pytest
from agent_memory_client import MemoryAPIClient, create_memory_client
from agent_memory_client.exceptions import MemoryValidationError
from agent_memory_client.models import ClientMemoryRecord, MemoryTypeEnum

from tests.deja_process import DejaProcess

SCHEMAS = (
    "get_memory_search_tool_schema", "get_working_memory_tool_schema", "get_lazily_create_long_term_memory_tool_schema",
    "get_update_memory_data_tool_schema", "get_long_term_memory_tool_schema", "get_eagerly_create_long_term_memory_tool_schema",
    "edit_long_term_memory_tool_schema", "delete_long_term_memories_tool_schema", "get_current_datetime_tool_schema",
)  # fmt: skip
"""What describes tools to a model; the client makes them by itself, twice each."""
PUBLIC = {
    "add_memories_to_working_memory", "add_memory_tool", "append_messages_to_working_memory", "bulk_create_long_term_memories", "close",
    "create_long_term_memory", "create_summary_view", "delete_long_term_memories", "delete_summary_view", "delete_working_memory",
    "edit_long_term_memory", "forget_long_term_memories", "get_all_memory_tool_schemas", "get_all_memory_tool_schemas_anthropic",
    "get_long_term_memory", "get_or_create_working_memory", "get_or_create_working_memory_tool", "get_summary_view", "get_task",
    "get_working_memory", "get_working_memory_tool", "health_check", "hydrate_memory_prompt", "list_sessions",
    "list_summary_view_partitions", "list_summary_views", "memory_prompt", "parse_anthropic_tool_use", "parse_openai_function_call",
    "parse_openai_tool_call", "parse_tool_call", "promote_working_memories_to_long_term", "put_working_memory", "resolve_function_call",
    "resolve_function_calls", "resolve_tool_call", "resolve_tool_calls", "run_summary_view", "run_summary_view_partition",
    "search_all_long_term_memories", "search_long_term_memory", "search_memory_tool", "set_working_memory_data",
    "update_memory_data_tool", "update_working_memory_data", "validate_memory_record", "validate_search_filters",
}  # fmt: skip
"""What the client can do, and some test in this folder calls."""


def test_every_public_method_of_the_client_is_called_here() -> None:
    methods = {name for name, _ in inspect.getmembers(MemoryAPIClient, callable) if not name.startswith("_")}
    assert methods == PUBLIC | set(SCHEMAS) | {f"{name}_anthropic" for name in SCHEMAS}
    source = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in PUBLIC if f".{name}(" not in source] == []


def test_the_tools_are_described_in_both_dialects() -> None:
    for name in SCHEMAS:
        assert getattr(MemoryAPIClient, name)().to_dict()["type"] == "function"
        assert "input_schema" in getattr(MemoryAPIClient, f"{name}_anthropic")().to_dict()
    openai = [tool["function"]["name"] for tool in MemoryAPIClient.get_all_memory_tool_schemas().to_list()]
    anthropic = [tool["name"] for tool in MemoryAPIClient.get_all_memory_tool_schemas_anthropic().to_list()]
    assert openai == anthropic
    assert len(openai) == len(SCHEMAS)


async def test_a_client_is_made_and_closed(deja: DejaProcess) -> None:
    client = await create_memory_client(deja.root, default_namespace="work")
    assert abs((await client.health_check()).now / 1000 - time.time()) < 60
    await client.close()


async def test_records_and_filters_are_checked_by_the_client(memory: MemoryAPIClient) -> None:
    memory.validate_memory_record(ClientMemoryRecord(text="User likes tea", memory_type=MemoryTypeEnum.SEMANTIC))
    memory.validate_search_filters(limit=3, user_id="u")
    with pytest.raises(MemoryValidationError):
        memory.validate_search_filters(limit=0)


def test_the_client_is_the_one_this_was_written_for() -> None:
    assert agent_memory_client.__version__.startswith("0.")
