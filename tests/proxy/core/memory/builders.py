"""Valid memories, so that a test shows only what matters to it; and any memories and conditions, for laws."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from proxy.core.memory.records import Conditions, Labels, Match, Memory, MemoryType, Owner, Period

NOW = 1_800_000_000.0
DAY = 86_400.0


def memory(memory_id: str = "m1", text: str = "User likes green tea", **changes: Any) -> Memory:
    at = changes.pop("at", NOW)
    values: dict[str, Any] = {
        "memory_type": MemoryType.SEMANTIC, "user": "anna", "session": None, "namespace": None, "topics": (), "entities": (),
        "created_at": at, "updated_at": at, "accessed_at": at,
    }  # fmt: skip
    return Memory(memory_id=memory_id, text=text, **(values | changes))


# Few words of each kind, so that conditions meet memories; among them what RediSearch's query language reads as syntax.
WORDS = (
    "a",
    "A",
    "ab",
    "a b",
    "{a|b}",
    "*",
    "-a",
    '"',
    "@tag_user:{x}",
    "\\",
    "ä",
    "日本",
    "a,b",
    "%",
    "'",
    "(",
    "~",
    "$v",
    "=>",
    "\n",
    "",
)
NAMES = st.sampled_from([word for word in WORDS if word])
TIMES = st.sampled_from([NOW - 2 * DAY, NOW - 0.25, NOW, NOW + 0.000001, NOW + DAY, 0.0, -5.0])
LABELS = st.lists(NAMES, max_size=3, unique=True).map(tuple)


def optional(strategy: Any) -> Any:
    return st.none() | strategy


def memories() -> Any:
    return st.builds(
        memory,
        st.uuids().map(str),
        st.sampled_from(["User likes tea", "Nothing of note", "a b c"]),
        memory_type=st.sampled_from(MemoryType),
        user=optional(NAMES),
        session=optional(NAMES),
        namespace=optional(NAMES),
        topics=LABELS,
        entities=LABELS,
        created_at=TIMES,
        accessed_at=TIMES,
        event_at=optional(TIMES),
        invalid_at=optional(TIMES),
    )


def matches() -> Any:
    return st.builds(
        Match,
        one_of=optional(LABELS),
        none_of=st.just(()) | LABELS,
        starts_with=st.none() | st.sampled_from(["a", "A", "{", "*", "日", "a "]),
    )


def labels() -> Any:
    return st.builds(Labels, any_of=optional(LABELS), all_of=st.just(()) | LABELS, none_of=st.just(()) | LABELS)


def periods() -> Any:
    end = st.none() | TIMES
    return st.builds(Period, since=end, until=end, after=end, before=end)


def conditions() -> Any:
    """Two kinds of conditions at a time at most: with more, nothing ever fulfils them."""
    parts = {
        "user": matches(), "session": matches(), "namespace": matches(), "topics": labels(), "entities": labels(),
        "owner": st.builds(Owner, optional(NAMES), optional(NAMES)),
        "created": periods(), "accessed": periods(), "event": periods(),
        "memory_type": st.builds(Match, one_of=optional(st.lists(st.sampled_from([each.value for each in MemoryType])).map(tuple))),
    }  # fmt: skip
    return st.lists(st.sampled_from(sorted(parts)), max_size=2, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: parts[name] for name in chosen}).map(
            lambda given: Conditions(**given)
        )
    )
