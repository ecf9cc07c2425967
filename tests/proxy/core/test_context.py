from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.context import CHAIN_FLOOR, MAX_LINEAGE, Context, extend, from_wire, resolve, to_wire
from proxy.core.models import ContextRecord

PREFIX = "a" * 32
RECORD = ContextRecord("ent_1", 1.0)


def test_a_first_turn_stands_for_itself() -> None:
    root = resolve(None, None, about_own_words=False)
    assert (root.confidence, root.is_merged) == (1.0, False)
    assert root == resolve(None, RECORD, about_own_words=True)


def test_a_history_deja_did_not_answer_resolves_to_its_own_hash() -> None:
    raw = resolve(PREFIX, None, about_own_words=False)
    assert (raw.confidence, raw.is_merged) == (1.0, False)
    assert raw.context_id != resolve("b" * 32, None, about_own_words=False).context_id
    assert raw.context_id != resolve(None, None, about_own_words=False).context_id


def test_two_wordings_that_were_given_one_answer_share_the_next_turn() -> None:
    mine = resolve(PREFIX, RECORD, about_own_words=False)
    other = resolve("b" * 32, RECORD, about_own_words=False)
    assert mine.context_id == other.context_id
    assert mine.is_merged


def test_another_answer_is_another_context() -> None:
    other = ContextRecord("ent_2", 1.0)
    assert (
        resolve(PREFIX, RECORD, about_own_words=False).context_id
        != resolve(PREFIX, other, about_own_words=False).context_id
    )


def test_a_made_up_history_can_never_spell_an_entrys_context() -> None:
    assert (
        resolve("ent_1", None, about_own_words=False).context_id
        != resolve(PREFIX, RECORD, about_own_words=False).context_id
    )


def test_a_turn_about_the_users_own_words_uses_the_raw_prefix() -> None:
    assert resolve(PREFIX, RECORD, about_own_words=True) == resolve(PREFIX, None, about_own_words=False)


@pytest.mark.parametrize(
    ("confidence", "is_merged"), [(CHAIN_FLOOR, True), (CHAIN_FLOOR - 0.001, False), (0.01, False)]
)
def test_a_chain_below_the_floor_goes_raw(confidence: float, is_merged: bool) -> None:
    assert resolve(PREFIX, ContextRecord("ent_1", confidence), about_own_words=False).is_merged is is_merged


def test_confidence_multiplies_along_the_chain() -> None:
    first = extend(Context("c", 0.95, is_merged=True), "ent_2", merge_confidence=0.96)
    assert first.entry_id == "ent_2"
    assert first.confidence == pytest.approx(0.912)
    again = extend(resolve(PREFIX, first, about_own_words=False), "ent_3", merge_confidence=1.0)
    assert again.confidence == pytest.approx(0.912)


def test_a_chain_that_went_raw_starts_afresh() -> None:
    raw = resolve(PREFIX, ContextRecord("ent_1", 0.5), about_own_words=False)
    assert extend(raw, "ent_2", merge_confidence=1.0) == ContextRecord("ent_2", 1.0)


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_a_chain_never_grows_surer(before: float, merge: float) -> None:
    assert extend(Context("c", before, is_merged=True), "e", merge_confidence=merge).confidence <= min(before, merge)


def test_a_record_names_every_entry_it_came_through_nearest_first() -> None:
    record = extend(resolve(None, None, about_own_words=False), "ent_1", merge_confidence=1.0)
    assert record.lineage == ()
    for number in (2, 3):
        record = extend(resolve(PREFIX, record, about_own_words=False), f"ent_{number}", merge_confidence=1.0)
    assert record == ContextRecord("ent_3", 1.0, ("ent_2", "ent_1"))


def test_a_very_long_chain_goes_raw_and_begins_anew() -> None:
    record = ContextRecord("ent_x", 1.0, tuple(f"ent_{number}" for number in range(MAX_LINEAGE)))
    raw = resolve(PREFIX, record, about_own_words=False)
    assert raw == resolve(PREFIX, None, about_own_words=False)
    assert extend(raw, "ent_y", merge_confidence=1.0).lineage == ()


@given(st.floats(0.001, 1.0), st.lists(st.from_regex(r"ent_[0-9a-f]{4}", fullmatch=True), max_size=MAX_LINEAGE))
def test_a_record_survives_redis(confidence: float, lineage: list[str]) -> None:
    read = from_wire(to_wire(ContextRecord("ent_1", confidence, tuple(lineage))))
    assert read is not None
    assert (read.entry_id, read.lineage) == ("ent_1", tuple(lineage))
    assert read.confidence == pytest.approx(confidence, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"ent_1",
        b"ent_1 x",
        b"ent_1 0.9 ent_2 more",
        b"ent_1 0.9 ent_2,",
        b"ent_1 0.9 ",
        b"\xff\xfe 0.9",
        b" 0.9",
        b"ent_1 nan",
        b"ent_1 inf",
        b"ent_1 1.5",
        b"ent_1 0",
        b"ent_1 -1",
    ],
)
def test_an_unreadable_record_counts_as_absent(value: bytes | None) -> None:
    assert from_wire(value) is None
