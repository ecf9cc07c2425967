"""What routes take and answer where no model of Python's tells: by method and path."""

from __future__ import annotations

from proxy.api.schemas.parts import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    Schema,
    array,
    either,
    listed,
    maybe,
    named,
    shape,
    word,
)

_EVENT = shape({"type": TEXT}, {"source": TEXT, "id": TEXT, "data": ANY})
_ATTRIBUTES: Schema = {"type": "object", "additionalProperties": TEXT}
_SEARCH: dict[str, Schema] = {
    "similarityThreshold": {"type": "number", "minimum": 0, "maximum": 1},
    "searchStrategies": array(word("exact", "semantic")),
    "attributes": _ATTRIBUTES,
    "maxResults": INTEGER,
}

BODIES: dict[tuple[str, str], Schema] = {
    ("PUT", "/v1/agents/{agent_id}"): OBJECT,
    ("PATCH", "/v1/agents/{agent_id}"): OBJECT,
    ("PUT", "/v1/sessions/{session_id}/data"): OBJECT,
    ("PATCH", "/v1/sessions/{session_id}/data"): OBJECT,
    ("POST", "/v1/events"): either(_EVENT, array(_EVENT, least=1), shape({"events": array(_EVENT, least=1)})),
    ("POST", "/v1/signals/{channel}"): ANY,
    ("POST", "/v1/memory/prompt"): named("PromptIn"),  # its handler names the model of a part, too
    ("POST", "/v1/caches/{cache_id}/entries"): shape(
        {"prompt": TEXT, "response": TEXT}, {"attributes": _ATTRIBUTES, "ttlMillis": INTEGER}
    ),
    ("DELETE", "/v1/caches/{cache_id}/entries"): shape({"attributes": _ATTRIBUTES}),
    ("POST", "/v1/caches/{cache_id}/entries/search"): shape({"prompt": TEXT}, _SEARCH),
    ("POST", "/v1/caches/{cache_id}/conversations/search"): shape(
        {"prompt": TEXT}, {**_SEARCH, "context": array(TEXT)}
    ),
}
"""JSON bodies that handlers read by themselves."""

_HITS = array(shape({"id": TEXT, "prompt": TEXT, "response": TEXT, "similarity": NUMBER}))

ANSWERS: dict[tuple[str, str], Schema] = {
    ("GET", "/v1/models"): named("Models"),
    ("GET", "/v1/agents"): listed(named("Agent"), next_cursor=maybe(TEXT), watch_after=TEXT),
    ("GET", "/v1/agents/{agent_id}"): named("Agent"),
    ("PUT", "/v1/agents/{agent_id}"): named("Agent"),
    ("PATCH", "/v1/agents/{agent_id}"): named("Agent"),
    ("POST", "/v1/agents/{agent_id}/heartbeat"): shape({"id": TEXT, "version": INTEGER, "alive": BOOLEAN}),
    ("GET", "/v1/agents/{agent_id}/history"): listed(OBJECT, gap=BOOLEAN, next_after=maybe(TEXT)),
    ("GET", "/v1/queues"): listed(named("Queue"), next_cursor=maybe(TEXT)),
    ("PUT", "/v1/queues/{queue}"): named("Queue"),
    ("GET", "/v1/queues/{queue}"): named("Queue"),
    ("GET", "/v1/queues/{queue}/dead"): listed(OBJECT, next_cursor=maybe(TEXT)),
    ("POST", "/v1/queues/{queue}/dead/requeue"): shape(
        {"object": word("requeued"), "requeued": INTEGER, "left": INTEGER}
    ),
    ("POST", "/v1/queues/{queue}/tasks"): either(named("Task"), listed(named("Task"), created=INTEGER)),
    ("GET", "/v1/queues/{queue}/tasks"): listed(named("Task"), next_cursor=maybe(TEXT)),
    ("POST", "/v1/queues/{queue}/tasks/claim"): listed(named("Task")),
    ("GET", "/v1/queues/{queue}/tasks/{task_id}"): named("Task"),
    **{
        ("POST", f"/v1/queues/{{queue}}/tasks/{{task_id}}/{step}"): named("Task")
        for step in ("renew", "complete", "fail", "release", "reject", "pause", "input", "cancel", "requeue")
    },
    ("POST", "/v1/events"): shape({"object": word("events.appended"), "stream": TEXT, "event_ids": array(TEXT)}),
    ("GET", "/v1/events"): listed(OBJECT, stream=TEXT, has_more=BOOLEAN),
    ("POST", "/v1/signals/{channel}"): shape({"object": word("signal"), "id": TEXT, "channel": TEXT}),
    ("POST", "/v1/sessions/{session_id}/messages"): shape(
        {"object": word("session.append"), "session": TEXT, "ids": array(TEXT), "repeated": BOOLEAN}
    ),
    **{
        (method, "/v1/sessions/{session_id}/data"): shape(
            {"object": word("session.data"), "session": TEXT, "version": INTEGER, "data": OBJECT}
        )
        for method in ("GET", "PUT", "PATCH")
    },
    ("GET", "/v1/cache/entries/{entry_id}"): shape({"id": TEXT, "object": word("cache.entry")}),
    ("POST", "/v1/caches/{cache_id}/entries"): shape({"entryId": TEXT}),
    ("DELETE", "/v1/caches/{cache_id}/entries"): shape({"deletedEntriesCount": INTEGER}),
    ("POST", "/v1/caches/{cache_id}/entries/search"): shape({"data": _HITS}),
    ("POST", "/v1/caches/{cache_id}/conversations/search"): shape({"actualPrompt": TEXT, "data": _HITS}),
    ("GET", "/v1/health"): shape({"now": INTEGER}),
}
"""What is answered with a status of 200 or 201, as JSON."""

EVENT_STREAM = "text/event-stream"
OTHER_KINDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/metrics"): ("text/plain",),
    ("GET", "/v1/cache/entries/export"): ("application/x-ndjson",),
    ("GET", "/v1/events"): ("application/json", EVENT_STREAM),
    ("GET", "/v1/events/tail"): (EVENT_STREAM,),
    ("GET", "/v1/cache/decisions/tail"): (EVENT_STREAM,),
    ("GET", "/v1/agents/watch"): (EVENT_STREAM,),
    ("GET", "/v1/agents/{agent_id}/watch"): (EVENT_STREAM,),
    ("GET", "/v1/queues/{queue}/watch"): (EVENT_STREAM,),
    ("GET", "/v1/queues/{queue}/tasks/{task_id}/watch"): (EVENT_STREAM,),
    ("GET", "/v1/signals/{channel}"): (EVENT_STREAM,),
    ("GET", "/v1/sessions/{session_id}/timeline"): ("application/json", EVENT_STREAM),
}
"""Routes that answer with something else than JSON, or not with JSON alone."""

OPTIONAL_BODIES = {
    ("PUT", "/v1/queues/{queue}"),
    ("POST", "/v1/queues/{queue}/dead/requeue"),
    ("POST", "/v1/queues/{queue}/tasks/{task_id}/cancel"),
    ("POST", "/v1/queues/{queue}/tasks/{task_id}/requeue"),
    ("POST", "/v1/summary-views/{view_id}/run"),
}
"""Bodies that may be left out."""

TAKES_LINES = {("POST", "/v1/cache/entries/import")}
"""Routes whose body is no JSON document but lines of them."""

STATUSES: dict[tuple[str, str], tuple[int, ...]] = {
    ("PUT", "/v1/agents/{agent_id}"): (200, 201),
    ("DELETE", "/v1/agents/{agent_id}"): (204,),
    ("PUT", "/v1/queues/{queue}"): (200, 201),
    ("PUT", "/v1/sessions/{session_id}"): (200, 201),
    ("PUT", "/v1/events/groups/{group}"): (200, 201),
    ("POST", "/v1/queues/{queue}/tasks"): (200, 201),
    ("POST", "/v1/sessions/{session_id}/messages"): (200, 201),
    ("POST", "/admin/keys"): (201,),
    ("POST", "/mcp"): (200, 202),
}
"""Statuses of success where FastAPI does not know them all; 204 has no body."""

CACHED: dict[str, tuple[str, str]] = {
    "/v1/chat/completions": ("ChatRequest", "ChatCompletion"),
    "/v1/completions": ("CompletionRequest", "TextCompletion"),
    "/v1/responses": ("ResponseRequest", "Response"),
    "/v1/messages": ("MessagesRequest", "Message"),
    "/v1/embeddings": ("EmbeddingsRequest", "Embeddings"),
}
"""Routes through the cache: what they take, and what they answer where they do not stream."""
