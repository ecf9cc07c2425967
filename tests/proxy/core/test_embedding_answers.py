"""Embeddings are kept and given back without losing a bit, in the format they came in and, where that is possible, in the other."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import embedding_answers as answers
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector, read_answer, read_vector, share_tokens

singles = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8)
doubles = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8)
inputs = st.one_of(st.text(max_size=9), st.lists(st.integers(0, 9), min_size=1, max_size=9))


def base64_of(numbers: list[float]) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def stored(vector: Vector, **fields: Any) -> StoredEmbedding:
    usual = {"model": "m", "tokens": 3, "is_estimated": False, "created_at": 100.0, "ttl_s": 60}
    return StoredEmbedding("emb_1", vector, **{**usual, **fields})


def kept(value: Any, *, as_base64: bool = False) -> Vector:
    vector = read_vector(value, as_base64=as_base64)
    assert vector is not None
    return vector


def replayed(vector: Vector, *, as_base64: bool) -> Any:
    return orjson.loads(answers.render([stored(vector)], as_base64=as_base64))["data"][0]["embedding"]


def bits(numbers: list[float]) -> bytes:
    return np.array(numbers, dtype=np.float64).tobytes()


@given(doubles)
def test_decimals_come_back_bit_for_bit_whatever_they_are(numbers: list[float]) -> None:
    assert bits(replayed(kept(numbers), as_base64=False)) == bits(numbers)


@given(singles)
def test_base64_comes_back_byte_for_byte_and_as_decimals_means_the_same(numbers: list[float]) -> None:
    vector = kept(base64_of(numbers), as_base64=True)
    assert replayed(vector, as_base64=True) == base64_of(numbers)
    assert bits(replayed(vector, as_base64=False)) == bits(numbers)


@given(singles)
def test_a_float32_in_either_spelling_answers_as_base64(numbers: list[float]) -> None:
    shortest = orjson.loads(orjson.dumps(np.array(numbers, dtype=np.float32), option=orjson.OPT_SERIALIZE_NUMPY))
    for spelling in (numbers, shortest):
        vector = kept(spelling)
        assert vector.can_answer(as_base64=True)
        assert replayed(vector, as_base64=True) == base64_of(numbers)
        assert bits(replayed(vector, as_base64=False)) == bits(spelling)


def test_decimals_that_say_more_than_a_float32_answer_no_wish_for_base64() -> None:
    vector = kept([0.1234567890123456, 0.5])
    assert vector.form is Form.FLOAT64
    assert not vector.can_answer(as_base64=True)
    assert vector.can_answer(as_base64=False)


def test_a_provider_that_answers_base64_with_decimals_is_replayed_as_it_is() -> None:
    vector = kept([0.1234567890123456, 0.5], as_base64=True)
    assert vector.can_answer(as_base64=True)
    assert replayed(vector, as_base64=True) == [0.1234567890123456, 0.5]


def test_whole_numbers_and_a_negative_zero_are_numbers_too() -> None:
    assert bits(replayed(kept([1, 0, -0.0, 3]), as_base64=False)) == bits([1.0, 0.0, -0.0, 3.0])


@pytest.mark.parametrize(
    "value",
    [
        [],
        "",
        "not base64!",
        "AAA=",
        [None],
        ["1"],
        [[1.0]],
        [[1.0], 2.0],
        [True],
        7,
        None,
        base64_of([float("nan")]),
        [10**400],
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_vector_is_not_kept(value: Any) -> None:
    assert read_vector(value, as_base64=False) is None


def test_length_is_counted_in_numbers() -> None:
    assert kept([0.5, 0.25]).dims == kept([0.1234567890123456, 0.5]).dims == kept(base64_of([1, 2])).dims == 2


def answered(*items: dict[str, Any], **fields: Any) -> bytes:
    return orjson.dumps({"object": "list", "data": items, "model": "m", "usage": {"prompt_tokens": 5}, **fields})


def item(index: int, value: Any = (0.5,), **fields: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": list(value), **fields}


def test_an_answer_is_read_in_the_order_of_its_inputs() -> None:
    answer = read_answer(answered(item(1, [1.0]), item(0, [0.0])), 2)
    assert answer is not None
    assert answer.values == ([0.0], [1.0])
    assert (answer.model, answer.tokens, answer.is_whole) == ("m", 5, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"no JSON",
        b"[]",
        b"{}",
        answered(item(0)),
        answered(item(0), item(0)),
        answered(item(0), item(2)),
        answered(item(0), {"index": 1}),
        answered(item(0), item(1), model=None),
    ],
    ids=["no JSON", "a list", "empty", "too few", "twice", "beyond", "no vector", "no model"],
)
def test_what_is_no_answer_to_so_many_inputs_is_not_read(raw: bytes) -> None:
    assert read_answer(raw, 2) is None


@pytest.mark.parametrize("raw", [answered(item(0, sparse={})), answered(item(0), warnings=[])], ids=["item", "answer"])
def test_an_answer_with_more_in_it_than_is_kept_is_not_whole(raw: bytes) -> None:
    answer = read_answer(raw, 1)
    assert answer is not None
    assert not answer.is_whole


@given(st.integers(0, 10_000), st.lists(inputs, min_size=1, max_size=9))
def test_shares_of_a_batchs_tokens_add_up(total: int, batch: list[Any]) -> None:
    shares, _ = share_tokens(total, batch)
    assert sum(shares) == total
    assert min(shares) >= 0


def test_what_one_input_cost_is_known_and_of_texts_in_a_batch_it_is_reckoned() -> None:
    assert share_tokens(7, ["a text"]) == ([7], False)
    assert share_tokens(9, ["aa", "aaaa"]) == ([3, 6], True)
    assert share_tokens(3, [[1, 2], [3]]) == ([2, 1], False)
    assert share_tokens(5, [[1, 2], [3]])[1], "the provider counts otherwise"
    assert share_tokens(None, [[1, 2]]) == ([2], True)
    assert share_tokens(None, ["hello there"])[0][0] > 0


def test_vectors_of_two_models_are_never_handed_out_side_by_side() -> None:
    vector, longer = kept([0.5]), kept([0.5, 0.5])
    old, new, other = stored(vector), stored(vector, model="m-2", created_at=200.0), stored(longer, model="m-2")
    assert answers.kin([old, None, new, other]) == [None, None, new, None]
    assert answers.kin([None]) == [None]


def test_an_answer_is_completed_in_the_places_of_the_missing() -> None:
    answer = read_answer(answered(item(0, [9.0]), id="embd-1"), 1)
    assert answer is not None
    found = [stored(kept([1.0])), None, stored(kept([3.0]))]
    whole = orjson.loads(answers.complete(answer, found, tokens=5, as_base64=False))
    assert [(one["index"], one["embedding"]) for one in whole["data"]] == [(0, [1.0]), (1, [9.0]), (2, [3.0])]
    assert whole["usage"] == {"prompt_tokens": 11, "total_tokens": 11}
    assert (whole["id"], whole["model"]) == ("embd-1", "m")


def test_an_answer_of_stored_vectors_tells_what_they_cost_once() -> None:
    whole = orjson.loads(answers.render([stored(kept([1.0]), tokens=4), stored(kept([2.0]), tokens=6)], as_base64=True))
    assert whole["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert [one["embedding"] for one in whole["data"]] == [base64_of([1.0]), base64_of([2.0])]


def test_age_and_what_remains_are_whole_seconds() -> None:
    one = stored(kept([1.0]), created_at=100.0, ttl_s=60)
    assert (one.age_s(110.9), one.remaining_s(110.9), one.remaining_s(161.0), one.age_s(90.0)) == (10, 50, 0, 0)
