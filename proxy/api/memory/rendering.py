"""Answers of the Agent Memory Server, with some fields of Deja's own: its clients ignore those."""

from __future__ import annotations

from typing import Any

from proxy.api.memory.shapes import STRATEGY
from proxy.api.memory.times import iso, iso_or_none
from proxy.core.memory.records import FoundMemories, FoundMemory, Memory, SearchMode
from proxy.core.memory_server.views import Partition, Task, View
from proxy.core.memory_server.working import Message
from proxy.services.working_memory import Shown

LEFT_OUT = b"x-deja-left-out"
SUMMARY = b"x-deja-summary"

TASK_TYPE = "summary_view_full_run"
EMPTY = "no_matching_memories"


def record(memory: Memory, *, persisted_at: float | None) -> dict[str, Any]:
    """A memory."""
    return {
        "id": memory.memory_id,
        "text": memory.text,
        "session_id": memory.session,
        "user_id": memory.user,
        "namespace": memory.namespace,
        "last_accessed": iso(memory.accessed_at),
        "created_at": iso(memory.created_at),
        "updated_at": iso(memory.updated_at),
        "pinned": memory.is_pinned,
        "access_count": memory.times_found,
        "topics": list(memory.topics),
        "entities": list(memory.entities),
        "memory_hash": None,
        "discrete_memory_extracted": "t",
        "memory_type": memory.memory_type.value,
        "persisted_at": iso_or_none(persisted_at),
        "extracted_from": list(memory.extracted_from) or None,
        "event_date": iso_or_none(memory.event_at),
        "extraction_strategy": STRATEGY,
        "extraction_strategy_config": {},
        "metadata": {},
        "invalid_at": iso_or_none(memory.invalid_at),
        "replaces": memory.replaces,
        "replaced_by": memory.replaced_by,
    }


def kept(memory: Memory) -> dict[str, Any]:
    """A memory of long-term memory: it went there when it was last written."""
    return record(memory, persisted_at=memory.updated_at)


def result(found: FoundMemory, mode: SearchMode) -> dict[str, Any]:
    """A memory that was found."""
    return kept(found.memory) | {"dist": found.distance, "score": found.score, "score_type": mode.value}


def results(found: FoundMemories, mode: SearchMode) -> dict[str, Any]:
    """What was found."""
    return {
        "memories": [result(each, mode) for each in found.found],
        "total": found.total,
        "next_offset": found.next_offset,
    }


def working_memory(shown: Shown, *, is_new: bool) -> dict[str, Any]:
    """A session's working memory."""
    memory = shown.memory
    used, until_summary = shown.use
    return {
        "messages": [message(each) for each in memory.messages],
        "memories": [record(each.memory, persisted_at=each.persisted_at) for each in memory.memories],
        "data": dict(memory.data),
        "context": memory.context,
        "user_id": memory.name.user,
        "tokens": memory.tokens,
        "session_id": memory.name.session,
        "namespace": memory.name.namespace,
        "long_term_memory_strategy": {"strategy": memory.strategy, "config": dict(memory.strategy_config)},
        "ttl_seconds": memory.ttl_s,
        "last_accessed": iso(memory.accessed_at),
        "created_at": iso(memory.created_at or memory.updated_at),
        "updated_at": iso(memory.updated_at),
        "context_percentage_total_used": used,
        "context_percentage_until_summarization": until_summary,
        "new_session": is_new,
    }


def headers_of(shown: Shown) -> dict[str, str]:
    """What the server has no field for: messages that are kept and not shown, and what became of a summary that was due."""
    told: dict[str, str] = {}
    if shown.left_out:
        told[LEFT_OUT.decode()] = str(shown.left_out)
    if shown.summarised is not None:
        told[SUMMARY.decode()] = shown.summarised.value
    return told


def message(one: Message) -> dict[str, Any]:
    """A message."""
    return {
        "role": one.role,
        "content": one.content,
        "id": one.message_id,
        "created_at": iso(one.created_at),
        "persisted_at": iso_or_none(one.persisted_at),
        "discrete_memory_extracted": "t" if one.is_extracted else "f",
    }


def view(one: View) -> dict[str, Any]:
    """A summary view."""
    return {
        "id": one.view_id,
        "name": one.name,
        "source": "long_term",
        "group_by": list(one.group_by),
        "filters": dict(one.filters),
        "time_window_days": one.time_window_days,
        "continuous": one.is_continuous,
        "prompt": one.prompt,
        "model_name": one.model,
    }


def partition(one: Partition) -> dict[str, Any]:
    """What came of a view's partition."""
    return {
        "view_id": one.view_id,
        "group": one.group,
        "summary": one.summary,
        "memory_count": one.memory_count,
        "empty": not one.memory_count,
        "empty_reason": None if one.memory_count else EMPTY,
        "computed_at": iso(one.computed_at),
    }


def task(one: Task) -> dict[str, Any]:
    """How a run of a view stands."""
    return {
        "id": one.task_id,
        "type": TASK_TYPE,
        "status": one.status.value,
        "view_id": one.view_id,
        "created_at": iso(one.created_at),
        "started_at": iso_or_none(one.started_at),
        "completed_at": iso_or_none(one.completed_at),
        "error_message": one.error,
    }
