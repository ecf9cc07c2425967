"""Memory as a prompt: a session's summary and messages, the memories found, and the question; as the Agent Memory Server writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.core.memory.records import FoundMemory
from proxy.core.memory_server.working import Message

SUMMARY_HEADING = "## A summary of the conversation so far:\n"
FOUND_HEADING = "## Long term memories related to the user's query\n "
NOTHING_FOUND = "No relevant long-term memories found."


def prompt_of(
    query: str,
    *,
    context: str | None = None,
    messages: Sequence[Message] = (),
    found: Sequence[FoundMemory] | None = None,
) -> list[dict[str, Any]]:
    """Messages ready for a model.

    Args:
        query: what the user asks; the last message.
        context: summary of earlier messages, None for none.
        messages: of the session; any role but `user` counts as the assistant's.
        found: memories, best first; None where none were looked for.
    """
    prompt = []
    if context:
        prompt.append(_message("system", SUMMARY_HEADING + context))
    prompt += [_message("user" if each.role == "user" else "assistant", each.content) for each in messages]
    if found is not None:
        lines = "\n".join(f"- {each.memory.text} (ID: {each.memory.memory_id})" for each in found)
        prompt.append(_message("system", FOUND_HEADING + (lines or NOTHING_FOUND)))
    return [*prompt, _message("user", query)]


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": {"type": "text", "text": text}}
