"""`deja mcp`: the tools of a running Deja on standard input and output, for clients that start their MCP servers themselves."""

from __future__ import annotations

import asyncio
import signal
import sys
from importlib.metadata import version

from proxy import console
from proxy.commands.asking import AskingError, root_of
from proxy.core.names import MEND, is_name
from proxy.mcp import server
from proxy.mcp.outside import Outside


def serve(root: str, *, api_key: str | None, session: str | None, agent: str | None) -> None:
    """Answer until standard input ends. Standard output is the protocol's alone: what else there is to say goes to standard error.

    A Deja that is away is no reason to end: each call says so, and the next one finds it again.

    Args:
        root: where Deja runs.
        api_key: whose things the tools work on; None for what has no key.
        session: named in every request.
        agent: named in every request.

    Raises:
        AskingError: the address or a name cannot be used.
    """
    for option, name in (("--session", session), ("--agent", agent)):
        if not (name is None or is_name(name)):
            raise AskingError(f"{option} cannot be used: {MEND}.")
    named = {"authorization": api_key and f"Bearer {api_key}", "x-deja-session": session, "x-deja-agent": agent}
    headers = {name: value for name, value in named.items() if value}
    if sys.stdin.isatty():
        console.say("this speaks MCP on standard input and output, for a client to start; docs/guide/mcp.md says how")
    # A thread waits in a read of standard input, which no exception ends; and there is nothing to put away.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(root_of(root), headers))


async def _serve(root: str, headers: dict[str, str]) -> None:
    async with Outside(root, headers) as caller:
        await server.serve_stdio(server.build(lambda _: caller, version=version("deja")))
