"""What a memory may be: sizes and shapes, each with an error that says how to mend it."""

from __future__ import annotations

import math

from proxy.core.memory.records import Memory, Search
from proxy.errors import RequestError

MAX_TEXT_BYTES = 16_384
"""Of one memory: some 4,000 tokens, ten times what any embedder here reads. What is longer is a document."""
MAX_NAME_CHARS = 256
"""Of an id, a user, a session, a namespace, a topic, an entity, a message id."""
MAX_LABELS = 64
"""Topics, and entities, of one memory."""
MAX_SOURCES = 1_000
MAX_BATCH = 500
"""Memories stored by one call: some 2 s of embedding."""
MAX_LIMIT = 1_000
MAX_OFFSET = 10_000
"""A ranked list is made anew for each page of it."""
MAX_QUERY_BYTES = 65_536


def checked(memory: Memory) -> Memory:
    """The memory, if it can be stored.

    Raises:
        RequestError: 400 naming the field, 413 where it is too long.
    """
    _name(memory.memory_id, "id")
    _text(memory.text)
    for value, field in (
        (memory.user, "user"), (memory.session, "session"), (memory.namespace, "namespace"), (memory.replaces, "replaces"),
    ):  # fmt: skip
        if value is not None:
            _name(value, field)
    for labels, field, most in (
        (memory.topics, "topics", MAX_LABELS), (memory.entities, "entities", MAX_LABELS),
        (memory.extracted_from, "extracted_from", MAX_SOURCES),
    ):  # fmt: skip
        if len(labels) > most:
            raise _refused(f"`{field}` has {len(labels)} members; send {most} at most.", field)
        for label in labels:
            _name(label, field)
    for at, field in (
        (memory.created_at, "created_at"), (memory.updated_at, "updated_at"), (memory.accessed_at, "accessed_at"),
        (memory.event_at, "event_at"), (memory.invalid_at, "invalid_at"),
    ):  # fmt: skip
        if at is not None and not math.isfinite(at):
            raise _refused(f"`{field}` must be a time in unix seconds.", field)
    if memory.replaces == memory.memory_id:
        raise _refused("`replaces` names the memory itself; name the one whose place it takes.", "replaces")
    return memory


def checked_search(wanted: Search) -> Search:
    """The search, if it can be made.

    Raises:
        RequestError: 400 naming the field.
    """
    if not 1 <= wanted.limit <= MAX_LIMIT:
        raise _refused(f"`limit` must lie between 1 and {MAX_LIMIT}.", "limit")
    if not 0 <= wanted.offset <= MAX_OFFSET:
        raise _refused(f"`offset` must lie between 0 and {MAX_OFFSET}; narrow the search by conditions.", "offset")
    if not 0.0 <= wanted.semantic_share <= 1.0:
        raise _refused("`semantic_share` must lie between 0 and 1.", "semantic_share")
    if len(_encoded(wanted.text, "text")) > MAX_QUERY_BYTES:
        raise _refused(f"`text` is longer than {MAX_QUERY_BYTES} bytes; ask in fewer words.", "text", status=413)
    if wanted.as_of is not None and not math.isfinite(wanted.as_of):
        raise _refused("`as_of` must be a time in unix seconds.", "as_of")
    return wanted


def _text(text: str) -> None:
    if not text.strip():
        raise _refused("`text` is empty; send what is to be remembered.", "text")
    size = len(_encoded(text, "text"))
    if size > MAX_TEXT_BYTES:
        raise _refused(
            f"`text` is {size} bytes long; a memory holds {MAX_TEXT_BYTES} at most: split it.", "text", status=413
        )


def _name(value: str, field: str) -> None:
    if not 1 <= len(value) <= MAX_NAME_CHARS:
        raise _refused(f"`{field}` must hold 1 to {MAX_NAME_CHARS} characters.", field)
    _encoded(value, field)


def _encoded(value: str, field: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise _refused(f"`{field}` holds half a character, which cannot be written as UTF-8.", field) from error


def _refused(message: str, field: str, *, status: int = 400) -> RequestError:
    return RequestError(
        message, status=status, param=field, code="invalid_memory" if status == 400 else "memory_too_large"
    )
