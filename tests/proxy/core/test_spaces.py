"""Names of embedders that come and go: where an entry may lie, what is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys
from proxy.core.spaces import KnownEmbedder, Progress, homes, known_from_wire, progress_of, tag_of_index

OLD, NEW = keys.embedder_tag("old"), keys.embedder_tag("new")


def test_an_entry_is_looked_for_where_it_was_first_and_then_under_every_other_embedder() -> None:
    was = keys.entry_key("old", "0a", "ent_1")
    assert homes(was, [NEW, OLD]) == (was, keys.entry_key("new", "0a", "ent_1"))
    assert homes(was, []) == (was,)


@pytest.mark.parametrize("key", [keys.exact_key("0a", "0b"), keys.embedding_key("0a", "text"), ""])
def test_what_is_no_entry_has_one_home(key: str) -> None:
    assert homes(key, [OLD, NEW]) == (key,)


@given(st.sets(st.text("0123456789abcdef", min_size=12, max_size=12), min_size=1, max_size=5), st.data())
def test_whichever_of_its_homes_names_an_entry_the_homes_are_the_same(tags: set[str], data: st.DataObject) -> None:
    first = f"deja:v1:entry:{data.draw(st.sampled_from(sorted(tags)))}:{{0a}}:ent_1"
    found = homes(first, sorted(tags))
    assert found[0] == first
    assert len(found) == len(tags)
    for place in found:
        assert set(homes(place, sorted(tags))) == set(found)


def test_a_home_is_never_in_another_room_or_of_another_entry() -> None:
    found = homes(keys.entry_key("old", "0a", "ent_1"), [OLD, NEW])
    assert all(place.endswith(":{0a}:ent_1") for place in found)


def test_an_embedder_comes_back_as_it_was_written() -> None:
    known = KnownEmbedder("model-384-int8", 384, "package", "int8")
    assert known_from_wire(known.to_wire()) == known
    assert known.tag == keys.embedder_tag("model-384-int8")


def test_an_index_tells_its_embedder() -> None:
    assert tag_of_index(f"{keys.index_name('old')}:0f0f0f0f") == OLD
    assert tag_of_index("deja:v1:memory-index:0f") is None


def test_a_migration_tells_how_far_it_is() -> None:
    assert progress_of({}) is None
    running = progress_of({"before": "a", "now": "b", "began_at": "5.0", "moved": "3"})
    assert running == Progress("a", "b", 5.0, moved=3)
    assert running.shown(left=7) == {
        "object": "cache.migration",
        "state": "running",
        "from": "a",
        "to": "b",
        "moved": 3,
        "exact_only": 0,
        "left": 7,
        "began_at": 5.0,
        "ended_at": None,
    }
    ended = progress_of({"before": "a", "now": "b", "began_at": "5.0", "moved": "3", "ended_at": "9.0"})
    assert ended is not None
    assert (ended.shown(left=7)["state"], ended.shown(left=7)["left"]) == ("ended", 0)
