"""The third agent: the answer to the customer."""

from __future__ import annotations

from typing import Any

from examples.triage.agent import Agent, main


def respond(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """Write the answer."""
    instructions = f"Answer the customer in two sentences. What you know: {request['facts']}"
    return {"answer": agent.ask(request["id"], instructions, request["text"])}


if __name__ == "__main__":
    main("respond", "answers", respond)
