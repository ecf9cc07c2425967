"""Which TAGs and exact keys an entry of a named cache leaves, and which searches they answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys, named_caches
from proxy.core.named_caches import Content, conversation, folded, from_body, prints, subsets, tags, to_body
from tests.builders import chat_body, place

ROOM = keys.cache_room("t", "faq")
names = st.sampled_from(["a", "b", "A", "a-b", "language"])
attributes = st.dictionaries(names, st.text(min_size=1, max_size=5), max_size=5)


def finds(asked: dict[str, str], stored: dict[str, str]) -> tuple[bool, bool]:
    """Whether a search by these attributes finds an entry with those: by meaning, by the same text."""
    content = Content("q", "r", stored)
    by_meaning = keys.attributes_tag(ROOM, asked) in tags(ROOM, stored).split(",")
    return by_meaning, named_caches.repeat_print(ROOM, "q", asked) in prints(ROOM, "ent_1", content)


@given(attributes, attributes)
def test_a_search_finds_exactly_what_has_all_its_attributes(asked: dict[str, str], stored: dict[str, str]) -> None:
    has_all = asked.items() <= stored.items()
    assert finds(asked, stored) == (has_all, has_all)


@given(attributes)
def test_an_entry_is_found_by_every_part_of_its_attributes_and_each_has_a_tag_of_its_own(
    stored: dict[str, str],
) -> None:
    assert len(subsets(stored)) == len(set(tags(ROOM, stored).split(","))) == 2 ** len(stored)
    assert all(finds(part, stored) == (True, True) for part in subsets(stored))
    assert len(set(prints(ROOM, "ent_1", Content("q", "r", stored)))) == 2 * 2 ** len(stored) + 1


def test_names_and_values_cannot_be_shifted_into_each_other() -> None:
    assert finds({"a": "b"}, {"b": "a"}) == (False, False)
    assert finds({"a": "b,c"}, {"a": "b", "c": "x"}) == (False, False)
    assert keys.attributes_tag(ROOM, {"a": "1"}) != keys.attributes_tag(ROOM, {"a": "1", "b": ""})


def test_the_order_of_attributes_makes_no_difference() -> None:
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert tags(ROOM, one) == tags(ROOM, other)
    assert prints(ROOM, "ent_1", Content("q", "r", one)) == prints(ROOM, "ent_1", Content("q", "r", other))


def test_the_first_fingerprint_is_of_the_text_and_all_attributes() -> None:
    stored = {"a": "1", "b": "2"}
    assert prints(ROOM, "ent_1", Content("q", "r", stored))[0] == named_caches.repeat_print(ROOM, "q", stored)


@pytest.mark.parametrize(
    ("tenant", "cache_id"),
    [("u", "faq"), ("t", "faq2"), ("tf", "aq"), ("t", "")],
    ids=["tenant", "cache", "shifted", "none"],
)
def test_another_tenants_or_another_cache_shares_no_name(tenant: str, cache_id: str) -> None:
    other, content = keys.cache_room(tenant, cache_id), Content("q", "r", {"a": "1"})
    assert other != ROOM
    assert not set(tags(other, content.attributes).split(",")) & set(tags(ROOM, content.attributes).split(","))
    assert not set(prints(other, "ent_1", content)) & set(prints(ROOM, "ent_1", content))


def test_no_room_of_a_completion_is_a_named_caches() -> None:
    body: dict[str, Any] = chat_body()
    for family in ("chat", "langcache"):
        room = place(body, tenant="t", namespace="faq", upstream=(), family=family).room
        assert room != ROOM


@given(st.text(), st.text())
def test_texts_share_a_fingerprint_if_they_differ_in_outer_space_and_composition_alone(one: str, other: str) -> None:
    same = named_caches.canonical(one) == named_caches.canonical(other)
    assert (named_caches.repeat_print(ROOM, one, {}) == named_caches.repeat_print(ROOM, other, {})) == same
    assert (named_caches.folded_print(ROOM, one, {}) == named_caches.folded_print(ROOM, other, {})) == (
        folded(one) == folded(other)
    )


@given(st.text())
def test_folding_forgets_case_and_nothing_twice(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(text.casefold()) == folded(text)


def test_a_fingerprint_of_a_text_is_none_without_case_and_none_of_an_id() -> None:
    made = [
        named_caches.repeat_print(ROOM, "q", {}),
        named_caches.folded_print(ROOM, "q", {}),
        named_caches.id_print(ROOM, "q"),
    ]
    assert len(set(made)) == 3


@given(st.builds(Content, st.text(), st.text(), attributes))
def test_a_body_holds_the_content(content: Content) -> None:
    assert from_body(to_body(content)) == content


def test_ids_are_written_as_langcache_writes_them() -> None:
    public = "0123456789abcdef0123456789abcdef"
    assert named_caches.public_id(f"ent_{public}") == public
    assert named_caches.entry_id_of(public) == f"ent_{public}"


def test_a_conversation_is_all_of_its_turns() -> None:
    assert conversation(("How do I travel to Rome?",), "And back?") == "How do I travel to Rome?\nAnd back?"


def test_a_rooms_pattern_matches_its_entries_whichever_embedder_made_them() -> None:
    from fnmatch import fnmatchcase

    pattern = keys.room_pattern(ROOM).replace("[", "[[]")
    for fingerprint in ("one", "none", "a much longer fingerprint"):
        assert fnmatchcase(keys.entry_key(fingerprint, ROOM, "ent_1"), pattern)
        assert not fnmatchcase(keys.entry_key(fingerprint, keys.cache_room("t", "x"), "ent_1"), pattern)


def test_a_flushed_cache_lies_in_another_room_and_counts_its_flushes_in_one_place() -> None:
    rooms = [keys.cache_room("t", "faq", flushes) for flushes in range(3)]
    assert len(set(rooms)) == 3
    assert rooms[0] == ROOM
    made = {keys.flushes_key(tenant, cache_id) for tenant in "tu" for cache_id in ("faq", "shop")}
    assert len(made) == 4
