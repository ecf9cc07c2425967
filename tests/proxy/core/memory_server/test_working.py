"""Working memory as it is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory.records import Memory, MemoryType
from proxy.core.memory_server import keys
from proxy.core.memory_server.working import (
    KeptMemory,
    Message,
    SessionName,
    WorkingMemory,
    from_stored,
    to_stored,
)
from proxy.errors import RequestError

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
TIMES = st.floats(0, 4e9)
MEMORIES = st.builds(
    Memory,
    memory_id=WORDS,
    text=WORDS,
    memory_type=st.sampled_from(MemoryType),
    user=st.none() | WORDS,
    session=st.none() | WORDS,
    namespace=st.none() | WORDS,
    topics=st.lists(WORDS, max_size=3).map(tuple),
    entities=st.lists(WORDS, max_size=3).map(tuple),
    created_at=TIMES,
    updated_at=TIMES,
    accessed_at=TIMES,
    event_at=st.none() | TIMES,
)
WORKING = st.builds(
    WorkingMemory,
    name=st.builds(SessionName, session=WORDS, user=st.none() | WORDS, namespace=st.none() | WORDS),
    messages=st.lists(
        st.builds(
            Message,
            message_id=WORDS,
            role=WORDS,
            content=WORDS,
            created_at=TIMES,
            persisted_at=st.none() | TIMES,
            is_extracted=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    memories=st.lists(st.builds(KeptMemory, MEMORIES, st.none() | TIMES), max_size=3).map(tuple),
    data=st.dictionaries(WORDS, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS, max_size=3),
    context=st.none() | WORDS,
    tokens=st.integers(0, 10**9),
    ttl_s=st.none() | st.integers(1, 10**9),
    created_at=TIMES,
    updated_at=TIMES,
    accessed_at=TIMES,
    version=st.integers(1, 100),
)


@given(WORKING)
def test_what_is_stored_is_what_is_read(memory: WorkingMemory) -> None:
    times = {"created_at": memory.created_at, "updated_at": memory.updated_at, "version": memory.version}
    stored: dict[str, Any] = to_stored(memory) | {name: repr(value) for name, value in times.items()}
    raw = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in stored.items()}
    assert from_stored(raw) == memory


@given(WORKING, WORKING)
def test_sessions_share_a_key_only_if_they_are_one(one: WorkingMemory, other: WorkingMemory) -> None:
    same = keys.memory_tag(one.name) == keys.memory_tag(other.name)
    assert same == (one.name == other.name)


def test_a_user_is_no_namespace() -> None:
    assert keys.memory_tag(SessionName("s", user="a")) != keys.memory_tag(SessionName("s", namespace="a"))
    assert keys.list_tag(user="a") != keys.list_tag(namespace="a")


def test_data_nested_beyond_what_can_be_written_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(RequestError, match="nested"):
        to_stored(WorkingMemory(SessionName("s"), data=deep))


def test_a_memory_is_its_sessions_where_it_does_not_say_whose() -> None:
    plain = Memory(
        memory_id="m", text="t", memory_type=MemoryType.SEMANTIC, user=None, session=None, namespace=None, topics=(),
        entities=(), created_at=1.0, updated_at=1.0, accessed_at=1.0,
    )  # fmt: skip
    owned = replace(plain, memory_id="n", user="ann")
    done = replace(plain, memory_id="o")
    memory = WorkingMemory(
        SessionName("s", "bob", "work"), memories=(KeptMemory(plain), KeptMemory(owned), KeptMemory(done, 5.0))
    )
    memory = memory.owned()
    assert [(each.memory_id, each.user, each.session, each.namespace) for each in memory.to_promote()] == [
        ("m", "bob", "s", "work"),
        ("n", "ann", "s", "work"),
    ]
    promoted = memory.promoted(9.0)
    assert promoted.to_promote() == []
    assert [kept.persisted_at for kept in promoted.memories] == [9.0, 9.0, 5.0]
