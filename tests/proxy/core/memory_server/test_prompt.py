"""A prompt with memory in it."""

from __future__ import annotations

from proxy.core.memory.records import FoundMemory, Memory, MemoryType
from proxy.core.memory_server.prompt import prompt_of
from proxy.core.memory_server.working import Message

MEMORY = Memory(
    memory_id="m1", text="User likes tea", memory_type=MemoryType.SEMANTIC, user=None, session=None, namespace=None, topics=(),
    entities=(), created_at=1.0, updated_at=1.0, accessed_at=1.0,
)  # fmt: skip


def lines(prompt: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(each["role"], each["content"]["text"]) for each in prompt]  # type: ignore[index]


def test_summary_messages_memories_and_question_stand_in_this_order() -> None:
    said = [Message("1", "user", "Hi", 1.0), Message("2", "assistant", "Hello", 2.0), Message("3", "tool", "42", 3.0)]
    prompt = prompt_of("Tea?", context="They met.", messages=said, found=[FoundMemory(MEMORY, 0.1, 0.9)])
    assert lines(prompt) == [
        ("system", "## A summary of the conversation so far:\nThey met."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("assistant", "42"),
        ("system", "## Long term memories related to the user's query\n - User likes tea (ID: m1)"),
        ("user", "Tea?"),
    ]


def test_a_search_without_finds_says_so_and_none_says_nothing() -> None:
    assert lines(prompt_of("Tea?", found=[]))[0] == (
        "system",
        "## Long term memories related to the user's query\n No relevant long-term memories found.",
    )
    assert lines(prompt_of("Tea?")) == [("user", "Tea?")]
