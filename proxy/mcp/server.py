"""The tools as an MCP server. Importing the SDK takes about a second: nothing imports this module before a client is there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jsonschema
import mcp_types as types
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from proxy.errors import DejaError, where
from proxy.mcp import agent_tools, memory_tools
from proxy.mcp.answers import failure, shown
from proxy.mcp.calls import Caller, Tool

INSTRUCTIONS = (
    "Deja keeps what agents share. Before you answer about a user's preferences, history or earlier work, call "
    "search_long_term_memory; store what is worth keeping with create_long_term_memories. Agents' state, tasks and events are "
    "shared by all agents of the same key."
)
MAX_QUOTED_CHARS = 300
"""Of a schema's complaint, which quotes the argument."""

Context = ServerRequestContext[Any, Any]


def build(caller_of: Callable[[Any], Caller], *, version: str) -> Server[Any]:
    """The server.

    Args:
        caller_of: who answers the requests of one call; it is given the HTTP request of the call, None over standard input.
        version: of Deja.
    """
    tools = {tool.name: tool for tool in (*memory_tools.tools(), *agent_tools.tools())}
    validators = {name: jsonschema.Draft202012Validator(tool.schema) for name, tool in tools.items()}

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in tools.values()])

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool, arguments = tools.get(params.name), params.arguments or {}
        if tool is None:
            return _error(f"There is no tool {params.name[:64]!r}; these there are: {', '.join(tools)}.")
        wrong = jsonschema.exceptions.best_match(validators[tool.name].iter_errors(arguments))
        if wrong is not None:
            field = ".".join(str(part) for part in wrong.absolute_path) or "arguments"
            return _error(f"`{field}` cannot be used: {wrong.message[:MAX_QUOTED_CHARS]}.")
        try:
            return await _called(tool, arguments, caller_of(context.request))
        except DejaError as error:
            return _error(str(error) or where(error))

    return Server("deja", version=version, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool)


def manager(server: Server[Any], *, body_bytes: int) -> StreamableHTTPSessionManager:
    """Speaks streamable HTTP, without sessions: every request stands for itself, and is its own credential's."""
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True, max_request_body_size=body_bytes)


async def serve_stdio(server: Server[Any]) -> None:
    """Speak over standard input and output until the input ends."""
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def _called(tool: Tool, arguments: dict[str, Any], caller: Caller) -> types.CallToolResult:
    if tool.request is None:
        now = datetime.now(UTC).replace(microsecond=0)
        return _result({"iso_utc": now.isoformat().replace("+00:00", "Z"), "unix_ts": int(now.timestamp())})
    call = tool.request(arguments)
    answer = await caller(call)
    if answer.status == 404 and call.if_missing is not None:
        answer = await caller(call.if_missing)
    if (told := failure(answer)) is not None:
        return _error(told)
    return _result(shown({"status": "ok"} if answer.value is None else answer.value, is_whole=tool.is_whole))


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.is_reading, destructive_hint=tool.is_destroying, open_world_hint=False
        ),
    )


def _result(value: dict[str, Any]) -> types.CallToolResult:
    text = types.TextContent(type="text", text=orjson.dumps(value).decode())
    return types.CallToolResult(content=[text], structured_content=value)


def _error(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)
