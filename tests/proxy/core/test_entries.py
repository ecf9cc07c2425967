"""Which entries are wanted, where a page of them ends, and what a removal has to present."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.entries import SHOWN, Cursor, Listed, Wanted, cursor_from_wire, listed
from tests.builders import NOW_S

FIELDS: dict[str, bytes | None] = {
    "entry_id": b"ent_1",
    "family": b"chat",
    "namespace": b"faq",
    "model": b"gpt-4o",
    "question": "Wie heißt du?".encode(),
    "tags": b"prompt:v3,doc:faq@7",
    "created_at": b"1700000000.5",
    "ttl_s": b"60",
    "fingerprint": b"0f",
}


def entry(**fields: Any) -> Listed:
    found = listed("deja:v1:entry:0e:{0a}:ent_1", {**FIELDS, **fields})
    assert found is not None
    return found


def test_the_fields_read_are_those_a_list_is_made_of() -> None:
    assert set(FIELDS) == set(SHOWN)
    one = entry()
    assert (one.room, one.tags, one.created_at, one.is_vector) == ("0a", ("prompt:v3", "doc:faq@7"), NOW_S + 0.5, False)
    assert one.shown()["tier"] == "semantic"
    assert entry(question=b"").shown()["tier"] == "exact"
    assert entry(question=None, family=b"embeddings").is_vector


@pytest.mark.parametrize("missing", ["entry_id", "created_at", "ttl_s"])
def test_an_entry_that_is_gone_is_on_no_list(missing: str) -> None:
    assert listed("key", {**FIELDS, missing: None}) is None


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Wanted(), True),
        (Wanted(namespace="faq"), True),
        (Wanted(namespace=""), False),
        (Wanted(model="gpt-4o"), True),
        (Wanted(model="gpt-4"), False),
        (Wanted(family="embeddings"), False),
        (Wanted(tags=("doc:faq@7",)), True),
        (Wanted(tags=("doc:faq@7", "prompt:v3")), True),
        (Wanted(tags=("doc:faq@7", "prompt:v4")), False),
        (Wanted(tags=("doc:faq",)), False),
        (Wanted(text="HEISST"), True),
        (Wanted(text="how"), False),
        (Wanted(is_semantic=True), True),
        (Wanted(is_semantic=False), False),
        (Wanted(created_before=NOW_S + 1), True),
        (Wanted(created_before=NOW_S), False),
        (Wanted(namespace="faq", model="other"), False),
    ],
    ids=repr,
)
def test_all_conditions_must_hold(wanted: Wanted, is_wanted: bool) -> None:
    assert entry().is_wanted(wanted) is is_wanted


def test_a_token_is_of_one_tenant_and_exactly_these_conditions() -> None:
    wanted = Wanted(tags=("b", "a"), namespace="faq")
    assert wanted.token("0a") == Wanted(tags=("a", "b"), namespace="faq").token("0a")
    others = [Wanted(), Wanted(tags=("a",)), Wanted(namespace="faq"), Wanted(tags=("a", "b"), namespace="")]
    assert len({wanted.token("0a"), wanted.token("0b"), *(other.token("0a") for other in others)}) == 6


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(1, 5))
def test_a_walk_in_pages_meets_everything_once(scores: list[int], size: int) -> None:
    everything = sorted(((float(score), index) for index, score in enumerate(scores)), reverse=True)
    met, cursor = [], Cursor()
    while True:
        rest = [one for one in everything if cursor.score is None or one[0] <= cursor.score]
        page = rest[cursor.skip : cursor.skip + size]
        met += page
        if len(page) < size:
            break
        cursor = cursor.after([score for score, _ in page])
    assert met == everything


@given(st.floats(0, 1e12), st.integers(0, 10**6))
def test_a_cursor_is_read_as_it_was_written(score: float, skip: int) -> None:
    score = round(score, 6)
    if score >= 1e-4 or score == 0:
        assert cursor_from_wire(Cursor(score, skip).to_wire()) == Cursor(score, skip)


@pytest.mark.parametrize("text", ["", "x", "1", "-1-2", "1.5-", "inf-0", "1e5-0", "1-2-3"])
def test_what_is_no_cursor_is_told_apart(text: str) -> None:
    assert cursor_from_wire(text) is None


def test_no_cursor_is_the_beginning() -> None:
    assert cursor_from_wire(None) == Cursor()
