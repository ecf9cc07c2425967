"""The schemas that are named in the document: errors, and what the routes of models take and answer.

Of what providers say, only what Deja itself reads is required; they may send more.
"""

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

_TOLD = {"type": TEXT, "message": TEXT}

ERRORS: dict[str, Schema] = {
    "Error": shape({"error": shape({**_TOLD, "param": maybe(TEXT), "code": maybe(either(TEXT, INTEGER))})}),
    "AnthropicError": shape({"type": word("error"), "error": shape(_TOLD)}),
    "LangCacheProblem": shape(
        {"type": TEXT, "title": TEXT, "status": INTEGER}, {"detail": TEXT, "fields": array(OBJECT)}
    ),
    "MemoryError": shape({"detail": either(TEXT, array(OBJECT))}, {"code": maybe(TEXT)}),
}

_MESSAGE = shape({"role": TEXT}, {"content": maybe(either(TEXT, array(OBJECT))), "tool_calls": array(OBJECT)})
_SAMPLING: dict[str, Schema] = {"temperature": maybe(NUMBER), "top_p": maybe(NUMBER), "stream": maybe(BOOLEAN)}
_DEJA: dict[str, Schema] = {"deja": maybe(OBJECT)}

REQUESTS: dict[str, Schema] = {
    "ChatRequest": shape(
        {"model": TEXT, "messages": array(_MESSAGE, least=1)},
        {**_SAMPLING, "n": maybe(INTEGER), "tools": array(OBJECT), "user": TEXT, **_DEJA},
    ),
    "CompletionRequest": shape(
        {"model": TEXT, "prompt": either(TEXT, array(ANY))}, {**_SAMPLING, "n": maybe(INTEGER), "user": TEXT, **_DEJA}
    ),
    "ResponseRequest": shape(
        {"model": TEXT, "input": either(TEXT, array(OBJECT))},
        {
            **_SAMPLING,
            "instructions": maybe(TEXT),
            "previous_response_id": maybe(TEXT),
            "tools": array(OBJECT),
            "user": TEXT,
            **_DEJA,
        },
    ),
    "MessagesRequest": shape(
        {"model": TEXT, "messages": array(_MESSAGE, least=1), "max_tokens": INTEGER},
        {**_SAMPLING, "system": either(TEXT, array(OBJECT)), "tools": array(OBJECT), "metadata": OBJECT, **_DEJA},
    ),
    "EmbeddingsRequest": shape(
        {"model": TEXT, "input": either(TEXT, array(ANY, least=1))},
        {"encoding_format": word("float", "base64"), "dimensions": INTEGER, "user": TEXT, **_DEJA},
    ),
}

_USAGE = shape({"prompt_tokens": INTEGER, "total_tokens": INTEGER}, {"completion_tokens": INTEGER})

ANSWERS: dict[str, Schema] = {
    "ChatCompletion": shape(
        {
            "id": TEXT,
            "object": word("chat.completion"),
            "created": INTEGER,
            "model": TEXT,
            "choices": array(shape({"index": INTEGER, "message": _MESSAGE, "finish_reason": maybe(TEXT)})),
        },
        {"usage": maybe(_USAGE)},
    ),
    "TextCompletion": shape(
        {
            "id": TEXT,
            "object": word("text_completion"),
            "created": INTEGER,
            "model": TEXT,
            "choices": array(shape({"index": INTEGER, "text": TEXT, "finish_reason": maybe(TEXT)})),
        },
        {"usage": maybe(_USAGE)},
    ),
    "Response": shape(
        {"id": TEXT, "object": word("response"), "model": TEXT, "output": array(OBJECT)},
        {"status": TEXT, "usage": maybe(shape({"input_tokens": INTEGER, "output_tokens": INTEGER}))},
    ),
    "Message": shape(
        {
            "id": TEXT,
            "type": word("message"),
            "role": word("assistant"),
            "model": TEXT,
            "content": array(shape({"type": TEXT})),
            "stop_reason": maybe(TEXT),
            "usage": shape({"input_tokens": INTEGER, "output_tokens": INTEGER}),
        }
    ),
    "Embeddings": shape(
        {
            "object": word("list"),
            "data": array(
                shape({"object": word("embedding"), "index": INTEGER, "embedding": either(TEXT, array(NUMBER))})
            ),
            "model": TEXT,
        },
        {"usage": shape({"prompt_tokens": INTEGER, "total_tokens": INTEGER})},
    ),
    "Models": listed(shape({"id": TEXT, "object": word("model")})),
    "Agent": shape(
        {
            "id": TEXT,
            "object": word("agent", "agent.summary"),
            "version": INTEGER,
            "alive": maybe(BOOLEAN),
            "alive_until": maybe(either(NUMBER, TEXT)),
        }
    ),
    "Queue": shape({"object": word("queue")}),
    "Task": shape({"id": TEXT, "object": word("task"), "state": TEXT}),
}

COMPONENTS: dict[str, Schema] = {**ERRORS, **REQUESTS, **ANSWERS}


def error_of(path: str) -> Schema:
    """The shape of a path's errors."""
    if path == "/v1/messages":
        return named("AnthropicError")
    if path.startswith("/v1/caches/"):
        return either(named("LangCacheProblem"), named("Error"))  # the latter from the door
    if path.startswith(("/v1/working-memory", "/v1/long-term-memory", "/v1/memory", "/v1/summary-views", "/v1/tasks")):
        return either(named("MemoryError"), named("Error"))
    return named("Error")
