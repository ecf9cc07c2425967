"""Two that say the same, one stored again, and when a replaced fact ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from proxy.core.memory import merging
from proxy.core.memory.merging import invalid_from, merged, overwritten
from tests.proxy.core.memory.builders import DAY, NOW, memories, memory


def test_the_kept_one_keeps_id_and_wording_and_takes_labels_and_times() -> None:
    kept = memory("a", "User likes tea", topics=("Tea",), accessed_at=NOW - DAY, times_found=2, extracted_from=("1",))
    other = memory(
        "b", "The user likes tea", topics=("tea", "drinks"), is_pinned=True, times_found=1, extracted_from=("2",)
    )
    result = merged(kept, other, now=NOW + 5)
    assert (result.memory_id, result.text) == ("a", "User likes tea")
    assert result.topics == ("Tea", "drinks")
    assert (result.accessed_at, result.updated_at, result.times_found) == (NOW, NOW + 5, 3)
    assert result.is_pinned
    assert result.extracted_from == ("1", "2")


@given(memories(), memories())
def test_merging_again_changes_no_label_and_no_time(one: Any, other: Any) -> None:
    once = merged(one, other, now=NOW)
    twice = merged(once, other, now=NOW)
    assert (twice.topics, twice.entities, twice.created_at, twice.accessed_at, twice.extracted_from, twice.event_at) == (
        once.topics, once.entities, once.created_at, once.accessed_at, once.extracted_from, once.event_at,
    )  # fmt: skip


def test_sources_are_bounded() -> None:
    sources = tuple(f"message {number}" for number in range(150))
    result = merged(
        memory(extracted_from=sources), memory(extracted_from=tuple(reversed(sources)) + sources[:0]), now=NOW
    )
    assert len(result.extracted_from) == 150
    more = merged(result, memory(extracted_from=tuple(f"later {number}" for number in range(150))), now=NOW)
    assert len(more.extracted_from) == merging.MAX_SOURCES


def test_storing_an_id_again_keeps_its_age_and_its_count() -> None:
    stored = memory(created_at=NOW - DAY, times_found=4)
    again = overwritten(stored, memory(text="User likes black tea", created_at=NOW), now=NOW)
    assert (again.text, again.created_at, again.times_found) == ("User likes black tea", NOW - DAY, 4)


def test_a_repeated_write_does_not_bring_a_replaced_fact_back() -> None:
    stored = memory(text="User lives in Paris", invalid_at=NOW, replaced_by="b")
    assert overwritten(stored, memory(text="User lives in  Paris."), now=NOW).invalid_at == NOW
    assert overwritten(stored, memory(text="User lives in Rome"), now=NOW).invalid_at is None


def test_a_fact_ends_when_its_successor_begins_but_not_before_itself() -> None:
    older = memory(created_at=NOW - 10 * DAY)
    assert invalid_from(older, memory(created_at=NOW)) == NOW
    assert invalid_from(older, memory(created_at=NOW, event_at=NOW - 3 * DAY)) == NOW - 3 * DAY
    assert invalid_from(older, memory(created_at=NOW, event_at=NOW - 30 * DAY)) == NOW - 10 * DAY
