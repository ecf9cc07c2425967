"""Values in a hash: readable where they can be, and every type comes back, whoever reads it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.coordination.stored_values import from_stored, to_stored
from proxy.errors import RequestError

texts = st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates cannot arrive: JSON in UTF-8 has none
json_texts = st.recursive(
    st.sampled_from(
        ["0", "-1", "1e5", "NaN", "-Infinity", "null", "true", '"x"', '"\\ud800"', "{}", " 7 ", "1Infinity"]
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts | json_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def as_documented(text: str) -> Any:
    """The reader of the guide, with Python's own lenient parser."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@given(values)
@example("5")
@example("")
@example("[NaN]")
@example('"\\ud800"')
@example("Infinity")
def test_every_value_comes_back_with_its_type(value: Any) -> None:
    assert orjson.dumps(from_stored(to_stored(value))) == orjson.dumps(value)


@given(values)
def test_a_plain_json_reader_reads_the_same(value: Any) -> None:
    assert as_documented(to_stored(value)) == value


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("working", "working"),
        ("2 apples", "2 apples"),
        ("", ""),
        ("two\nlines", "two\nlines"),
        ("5", '"5"'),
        (" true", '" true"'),
        ("[draft]", '"[draft]"'),
        (5, "5"),
        (5.0, "5.0"),
        (True, "true"),
        ([1, "a"], '[1,"a"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_what_cannot_be_mistaken_is_stored_as_it_stands(value: Any, stored: str) -> None:
    assert to_stored(value) == stored


def test_what_could_not_be_shown_again_is_refused() -> None:
    deep: Any = 1
    for _ in range(260):
        deep = [deep]
    with pytest.raises(RequestError) as caught:
        to_stored(deep)
    assert caught.value.code == "nesting_too_deep"
    shallower = deep
    for _ in range(60):
        shallower = shallower[0]
    assert orjson.dumps({"data": [from_stored(to_stored(shallower))]})
