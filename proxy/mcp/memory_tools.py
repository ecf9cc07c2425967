"""Tools of memory, named and shaped as the Agent Memory Server's; the routes behind them are that server's, too."""

from __future__ import annotations

import secrets
from typing import Any

from proxy.mcp.calls import Arguments, Call, Tool, given, path
from proxy.mcp.schemas import choice, flag, integer, many, matching, name, number, period, record, text, texts

MAX_MEMORIES = 100
"""In one call: a model that writes more at once writes a file."""
MAX_FOUND = 100
"""Memories of one search; the route's own bound."""

_FILTERS = {
    "user_id": matching("Whose memories."),
    "session_id": matching("Of which conversation. Give exact ids only; leave it out to search all."),
    "namespace": matching("Of which namespace."),
    "topics": matching("Labelled with these topics."),
    "entities": matching("About these people, places or things."),
    "memory_type": matching("semantic (facts), episodic (events) or message."),
    "created_at": period("When it was stored."),
    "last_accessed": period("When it was last found."),
    "event_date": period("When what it tells happened."),
}
_SEARCH = {
    **_FILTERS,
    "search_mode": choice("By meaning (semantic, the default), by words (keyword), or both (hybrid).", "semantic", "keyword", "hybrid"),
    "distance_threshold": number("With semantic search: the largest cosine distance; 0.5 is near.", 0, 2),
    "limit": integer("How many, at most.", 1, MAX_FOUND, 10),
    "offset": integer("Where the list begins: `next_offset` of the page before.", 0, 10_000, 0),
    "recency_boost": flag("Prefer newer ones among equals (the default)."),
    "as_of": text("ISO 8601: the facts as they held then; left out, as they hold now."),
}  # fmt: skip
_MEMORY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {
        "text": text("One fact or event, in a sentence that can be understood alone.", minLength=1),
        "memory_type": choice("semantic: a fact that holds; episodic: an event, with event_date.", "semantic", "episodic", "message"),
        "event_date": text("ISO 8601: when it happened."),
        "user_id": name("Whom it is about."),
        "session_id": name("Only the exact id of this conversation; never guess one."),
        "namespace": name("A part of memory of its own."),
        "topics": texts("Labels such as preferences, travel."),
        "entities": texts("People, places, things it names."),
        "id": name("Your own id; storing it again overwrites. Left out, one is made."),
        "replaces": name("Id of the memory that this one takes the place of; it is kept, as no longer true."),
        "pinned": flag("Never forgotten by itself."),
    },
}  # fmt: skip
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": name("user, assistant, system or tool."),
        "content": text("What was said.", minLength=1),
        "id": name("Its id; left out, one is made."),
        "created_at": text("ISO 8601: when it was said."),
    },
}


def tools() -> tuple[Tool, ...]:
    """They."""
    return (
        Tool(
            "get_current_datetime",
            "The time now in UTC. Use it to turn words like today, yesterday or next week into dates before you store a memory.",
            {},
            (),
            None,
            is_reading=True,
        ),
        Tool(
            "create_long_term_memories",
            "Remember facts and events beyond this conversation. Write each as one sentence that stands alone: names in place of he, she "
            "or it, dates in place of yesterday, places in place of here. semantic for what holds (preferences, skills, rules), episodic "
            "for what happened, with event_date. What says the same as an older memory is merged into it. Ids are told by a search.",
            {"memories": many("What is to be remembered.", _MEMORY, MAX_MEMORIES)},
            ("memories",),
            lambda told: Call("POST", path("long-term-memory"), body={"memories": _with_ids(told["memories"])}),
        ),
        Tool(
            "search_long_term_memory",
            "Find what is remembered: use it before you answer anything about a user's preferences, history or earlier work. An empty text "
            "lists by the filters alone, newest first. Nearest first; each with its id, for editing or deleting it.",
            {"text": text("What you want to know, as a question or statement."), **_SEARCH},
            ("text",),
            lambda told: Call("POST", path("long-term-memory", "search"), body=_search(told) | {"text": told["text"]}),
            is_reading=True,
        ),
        Tool(
            "get_long_term_memory",
            "One memory by its id, be it replaced by a newer one or not.",
            {"memory_id": name("From a search.")},
            ("memory_id",),
            lambda told: Call("GET", path("long-term-memory", told["memory_id"])),
            is_reading=True,
        ),
        Tool(
            "edit_long_term_memory",
            "Correct a memory. Only the fields you give change. For a fact that was true and is no longer, create a new memory with "
            "`replaces` instead: history is kept.",
            {
                "memory_id": name("From a search."),
                **{key: value for key, value in _MEMORY["properties"].items() if key not in ("id", "replaces")},  # type: ignore[attr-defined]
            },
            ("memory_id",),
            lambda told: Call("PATCH", path("long-term-memory", told["memory_id"]), body=_without(told, "memory_id")),
            is_destroying=True,
        ),
        Tool(
            "delete_long_term_memories",
            "Delete memories for good. Only when the user asks for it or they are wrong.",
            {"memory_ids": many("From a search.", name("An id."), 1000)},
            ("memory_ids",),
            lambda told: Call("DELETE", path("long-term-memory"), {"memory_ids": told["memory_ids"]}),
            is_destroying=True,
        ),
        Tool(
            "compact_long_term_memories",
            "Merge memories that say the same; facts that differ in a number, a name or a not are kept apart.",
            {"namespace": name("Only of this namespace."), "user_id": name("Only of this user.")},
            (),
            lambda told: Call("POST", path("long-term-memory", "compact"), given(told, "namespace", "user_id")),
            is_destroying=True,
        ),
        Tool(
            "memory_prompt",
            "A question with its context: the conversation's working memory (with session_id) and the long-term memories that bear on it, "
            "as messages ready for a model.",
            {
                "query": text("The question."),
                **(_SEARCH | {"session_id": name("The conversation whose working memory goes in; exact, never guessed.")}),
                "model_name": name("Fits the conversation into this model's window."),
                "context_window_max": integer("Or into this many tokens.", 1, 10_000_000),
                "include_long_term_search": flag("False for the conversation alone."),
            },
            ("query",),
            _prompt,
            is_reading=True,
        ),
        Tool(
            "get_working_memory",
            "A conversation's working memory: its messages, its structured memories and data, and a summary of what is no longer there.",
            {
                "session_id": name("The conversation."),
                "user_id": name("Whose."),
                "namespace": name("Of which namespace."),
                "recent_messages_limit": integer("The newest messages only.", 0, 1000),
            },
            ("session_id",),
            lambda told: Call("GET", path("working-memory", told["session_id"]), _without(told, "session_id")),
            is_reading=True,
        ),
        Tool(
            "set_working_memory",
            "Put a conversation's working memory in place of what is there: read it first with get_working_memory and give back what shall "
            "stay. Memories in it are promoted to long-term memory in the background.",
            {
                "session_id": name("The conversation."),
                "messages": {"type": "array", "items": _MESSAGE, "maxItems": 1000, "description": "The messages, oldest first."},
                "memories": {"type": "array", "items": _MEMORY, "maxItems": MAX_MEMORIES, "description": "Facts and events of it."},
                "data": record("Anything structured: a plan, a form, settings."),
                "context": text("A summary of what was said before."),
                "user_id": name("Whose."),
                "namespace": name("Of which namespace."),
                "ttl_seconds": integer("Seconds after which it is forgotten.", 1, 3_153_600_000),
            },
            ("session_id",),
            _set_working_memory,
            is_destroying=True,
        ),
    )  # fmt: skip


def _prompt(told: Arguments) -> Call:
    body: dict[str, Any] = {"query": told["query"]}
    if told.get("session_id"):
        body["session"] = {
            "session_id": told["session_id"],
            **{key: word for key in ("user_id", "namespace") if (word := _plain(told.get(key))) is not None},
            **given(told, "model_name", "context_window_max"),
        }
    if told.get("include_long_term_search", True):
        # Of the session's user and namespace, not of the session: what the session itself says stands in the prompt.
        body["long_term_search"] = _search(_without(told, "session_id"))
    return Call("POST", path("memory", "prompt"), body=body)


def _set_working_memory(told: Arguments) -> Call:
    body = _without(told, "session_id")
    if "memories" in body:
        body["memories"] = _with_ids(body["memories"])
    return Call("PUT", path("working-memory", told["session_id"]), body=body)


def _search(told: Arguments) -> dict[str, Any]:
    found = given(told, *_SEARCH)
    for key in ("user_id", "session_id", "namespace", "topics", "entities", "memory_type"):
        if key in found:
            found[key] = _filter(found[key], is_label=key in ("topics", "entities"))
    return found


def _filter(value: Any, *, is_label: bool) -> Any:
    """A filter as the route takes it; a model says `"user_id": "ada"` as often as `{"eq": "ada"}`."""
    if isinstance(value, str):
        return {"any": [value]} if is_label else {"eq": value}
    return {"any": value} if isinstance(value, list) else value


def _plain(value: Any) -> str | None:
    """The one word that a filter asks for, if it asks for one."""
    word = value.get("eq") if isinstance(value, dict) else value
    return word if isinstance(word, str) else None


def _with_ids(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"mem_{secrets.token_hex(12)}", **given(each, *each)} for each in memories]


def _without(told: Arguments, *names: str) -> dict[str, Any]:
    return given(told, *(key for key in told if key not in names))
