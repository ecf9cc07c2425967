"""Which requests for embeddings can be taken apart, and what keeps their vectors apart."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys
from proxy.core.embedding_requests import MAX_INPUTS, Input, body_for, embedding_keys, read_request

TENANT, UPSTREAM = "0a", ("https://provider/v1",)
inputs = st.one_of(st.text(max_size=20), st.lists(st.integers(0, 10_000), min_size=1, max_size=5))


def body(given_input: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": given_input, **fields}


def room(**fields: Any) -> str:
    request = read_request(body(**fields))
    assert request is not None
    return keys.embedding_room(TENANT, "", UPSTREAM, request.keyed)


@pytest.mark.parametrize(
    ("sent", "expected", "is_batch"),
    [
        ("hello", ("hello",), False),
        (["hello"], ("hello",), True),
        (["a", "b", "a"], ("a", "b", "a"), True),
        ([1, 2, 3], ([1, 2, 3],), False),
        ([[1, 2], [3]], ([1, 2], [3]), True),
        ("", ("",), False),
    ],
    ids=["text", "list of one", "texts", "tokens", "lists of tokens", "empty text"],
)
def test_each_input_is_a_question_of_its_own(sent: Any, expected: tuple[Input, ...], is_batch: bool) -> None:
    request = read_request(body(sent))
    assert request is not None
    assert (request.inputs, request.is_batch) == (expected, is_batch)


@pytest.mark.parametrize(
    "sent",
    [
        {"input": "no model"},
        {"model": 7, "input": "x"},
        {"model": "m"},
        body([]),
        body([True, 1]),
        body([1.5]),
        body([[]]),
        body([["nested"]]),
        body([{"image": "…"}]),
        body(None),
        body("x", encoding_format="int8"),
        body(["x"] * (MAX_INPUTS + 1)),
    ],
    ids=str,
)
def test_what_deja_does_not_understand_is_left_to_the_provider(sent: dict[str, Any]) -> None:
    assert read_request(sent) is None


def test_the_format_and_the_inputs_keep_nothing_apart_and_everything_else_does() -> None:
    plain = room()
    assert room(encoding_format="base64") == plain
    assert room(given_input=["other"]) == plain
    assert room(metadata={"a": "b"}, deja={"tags": ["x"]}) == plain
    for fields in ({"dimensions": 256}, {"user": "ada"}, {"input_type": "query"}, {"model": "other"}):
        assert room(**fields) != plain, fields


def test_a_user_keeps_nothing_apart_where_the_setting_says_so() -> None:
    with_user = read_request(body(user="ada"), key_user=False)
    assert with_user is not None
    assert "user" not in with_user.keyed


@given(inputs, inputs)
def test_different_inputs_have_different_keys(one: Input, other: Input) -> None:
    first, second = embedding_keys("0b", (one, other))
    assert (first == second) == (one == other)


def test_tokens_are_not_the_text_that_reads_like_them() -> None:
    first, second = embedding_keys("0b", ([1, 2], "[1,2]"))
    assert first != second


def test_the_request_for_some_inputs_says_all_else_as_it_was_sent() -> None:
    sent = body(["a", "b", "c"], dimensions=8, deja={"mode": "exact"}, cache={"ttl": 5})
    assert orjson.loads(body_for(sent, [0, 2])) == body(["a", "c"], dimensions=8)
