"""The second agent: what does one need to know to answer?"""

from __future__ import annotations

from typing import Any

from examples.triage.agent import Agent, main


def research(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """Collect what an answer needs."""
    instructions = f"List the three facts that an answer to this request about {request['category']} has to contain."
    return {"facts": agent.ask(request["id"], instructions, request["text"])}


if __name__ == "__main__":
    main("research", "respond", research)
