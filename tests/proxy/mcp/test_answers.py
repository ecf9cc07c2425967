"""What a model is told: bounded, and an error as a sentence."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mcp import answers
from proxy.mcp.answers import MAX_CHARS, MAX_TEXT_CHARS, failure, shown
from proxy.mcp.calls import Answer


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (200, {"error": "is a field here"}, None),
        (204, None, None),
        (
            409,
            {"error": {"message": "Read it again.", "code": "version_conflict"}},
            "Read it again. (version_conflict)",
        ),
        (404, {"detail": "Memory with ID m not found"}, "Memory with ID m not found"),
        (422, {"detail": [{"loc": ["body", "limit"], "msg": "too large"}]}, "`body.limit` cannot be used: too large."),
        (500, None, "Deja answered with status 500."),
        (500, ["?"], "Deja answered with status 500."),
        (422, {"detail": []}, "Deja answered with status 422."),
    ],
)
def test_a_failure_is_told_as_a_sentence(status: int, value: Any, expected: str | None) -> None:
    assert failure(Answer(status, value)) == expected


def test_what_fits_is_shown_as_it_is() -> None:
    value = {"data": [1, 2], "next_cursor": "c"}
    assert shown(value, is_whole=False) == value
    assert shown([1, 2], is_whole=False) == {"result": [1, 2]}


def test_a_long_list_is_cut_and_leads_nowhere() -> None:
    rows = [{"text": "x" * 1000} for _ in range(100)]
    told = shown({"data": rows, "next_cursor": "c", "has_more": True}, is_whole=False)
    assert told["data"] == rows[: len(told["data"])]
    assert 0 < len(told["data"]) < 100
    assert f"{len(told['data'])} of 100" in told["cut"]
    assert not {"next_cursor", "has_more"} & told.keys()


def test_long_texts_are_shortened_where_cutting_a_list_is_not_enough() -> None:
    told = shown({"data": ["x" * (2 * MAX_CHARS)], "id": "s"}, is_whole=False)
    assert told["id"] == "s"
    assert told["data"][0].startswith("x" * MAX_TEXT_CHARS + "… [")
    assert "shortened" in told["cut"]


def test_what_is_whole_is_never_cut() -> None:
    value = {"data": ["x" * (2 * MAX_CHARS)]}
    assert shown(value, is_whole=True) == value


JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text("ab\n", max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("kl", max_size=3), inner, max_size=5),
    max_leaves=30,
)


@given(JSON, st.integers(120, 400))
def test_an_answer_is_as_it_is_or_within_its_bound_and_says_so(value: Any, bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "MAX_CHARS", bound)
        patch.setattr(answers, "MAX_TEXT_CHARS", 20)
        told = shown(value, is_whole=False)
    assert len(orjson.dumps(told)) <= bound
    assert "cut" in told or told == (value if isinstance(value, dict) else {"result": value})
