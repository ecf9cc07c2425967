"""The first agent: what is the request about?"""

from __future__ import annotations

from typing import Any

from examples.triage.agent import Agent, main

CATEGORIES = ("delivery", "invoice", "account", "returns")


def triage(agent: Agent, request: dict[str, Any]) -> dict[str, Any]:
    """Find the category of a request."""
    said = agent.ask(request["id"], f"Name the one that fits best: {', '.join(CATEGORIES)}, other.", request["text"])
    return {"category": next((category for category in CATEGORIES if category in said.lower()), "other")}


if __name__ == "__main__":
    main("triage", "research", triage)
