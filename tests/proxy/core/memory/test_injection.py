from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory.injection import injection_of, question_in, with_memories
from proxy.core.memory.records import FoundMemory, Memory
from tests.proxy.core.memory.builders import NOW, memory

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip)


def found(*memories: Memory) -> list[FoundMemory]:
    return [FoundMemory(each, 0.3, 0.7) for each in memories]


def lines_of(block: str) -> list[Any]:
    return [json.loads(line) for line in block.split("\n") if line.startswith("{")]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([user("Hi"), {"role": "assistant", "content": "Hello"}, user(" And? ")], "And?"),
        ([user("Hi"), {"role": "tool", "tool_call_id": "c", "content": "7"}], "Hi"),
        ([user([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What is it?"}])], "What is it?"),
        ([user([{"type": "image_url", "image_url": {"url": "x"}}])], None),
        ([user("")], None),
        ([user(None)], None),
        ([{"role": "system", "content": "Be brief."}], None),
    ],
)  # fmt: skip
def test_memories_are_looked_for_by_the_words_of_the_last_user_turn(
    messages: list[dict[str, Any]], question: str | None
) -> None:
    assert question_in(messages) == question


def test_of_nothing_found_nothing_is_told() -> None:
    assert injection_of([], max_tokens=1000) is None


def test_the_best_that_fit_are_told() -> None:
    best, long, last = memory("a", "Anna has a parrot"), memory("b", "word " * 500), memory("c", "Anna has a tortoise")
    injection = injection_of(found(best, long, last), max_tokens=200)
    assert injection is not None
    assert injection.count == 2
    assert {line["memory"] for line in lines_of(injection.block)} == {best.text, last.text}


def test_where_not_even_one_fits_nothing_is_told() -> None:
    assert injection_of(found(memory("b", "word " * 500)), max_tokens=200) is None


def test_the_order_of_rank_makes_no_difference() -> None:
    one, two = memory("a", "Anna has a parrot"), memory("b", "Anna has a tortoise", created_at=NOW - 90_000)
    injection = injection_of(found(one, two), max_tokens=1000)
    assert injection == injection_of(found(two, one), max_tokens=1000)
    assert injection is not None
    assert [line["memory"] for line in lines_of(injection.block)] == [two.text, one.text]


@pytest.mark.parametrize(
    "other",
    [
        memory("b", "Anna has a parrot"),
        memory("a", "Anna has a carrot"),
        memory("a", "Anna has a parrot", event_at=NOW),
        memory("a", "Anna has a parrot", created_at=NOW - 90_000),
    ],
    ids=["id", "text", "event", "day"],
)
def test_another_memory_or_another_version_of_it_is_another_digest(other: Memory) -> None:
    one, another = (
        injection_of(found(each), max_tokens=1000) for each in (memory("a", "Anna has a parrot", event_at=None), other)
    )
    assert one is not None
    assert another is not None
    assert one.version != another.version


def test_being_found_more_often_changes_nothing() -> None:
    one = injection_of(found(memory("a", "Anna has a parrot")), max_tokens=1000)
    again = injection_of(found(memory("a", "Anna has a parrot", times_found=9, accessed_at=NOW + 9)), max_tokens=1000)
    assert one == again


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_no_text_can_end_the_block_or_begin_a_line(texts: list[str]) -> None:
    injection = injection_of(found(*(memory(f"m{n}", text) for n, text in enumerate(texts))), max_tokens=100_000)
    assert injection is not None
    assert injection.block.count("<memories>") == injection.block.count("</memories>") == 1
    assert injection.block.endswith("\n</memories>")
    assert len(lines_of(injection.block)) == len(texts)
    assert sorted(line["memory"] for line in lines_of(injection.block)) == sorted(
        " ".join(each.split()) for each in texts
    )


def test_they_stand_behind_the_last_user_turn_and_nothing_else_changes() -> None:
    parts = [{"type": "text", "text": "And?"}]
    messages = [user("Hi"), {"role": "assistant", "content": "Hello"}, user(parts), {"role": "tool", "content": "7"}]
    told = with_memories(messages, "BLOCK")
    assert told == [*messages[:2], user([*parts, {"type": "text", "text": "BLOCK"}]), messages[3]]
    assert messages[2]["content"] is parts
    assert len(parts) == 1
    assert with_memories([user("Hi")], "BLOCK") == [user("Hi\n\nBLOCK")]


@given(st.integers(0, 253_370_764_799))
def test_a_memory_is_told_with_its_day(at: int) -> None:
    injection = injection_of(found(memory("a", "Anna has a parrot", at=float(at))), max_tokens=1000)
    assert injection is not None
    assert lines_of(injection.block)[0]["noted"] == datetime.fromtimestamp(at, UTC).date().isoformat()


@pytest.mark.parametrize("at", [-1.0, 1e12, 1e300])
def test_a_time_that_is_none_is_unknown(at: float) -> None:
    injection = injection_of(found(memory("a", "Anna has a parrot", event_at=at)), max_tokens=1000)
    assert injection is not None
    assert lines_of(injection.block)[0]["happened"] == "unknown"
