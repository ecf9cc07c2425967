from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from embeddings.training.pairs import Pair
from loadtest.rivals import streams
from loadtest.rivals.streams import NOTHING, from_groups, from_pairs


def pair(stored: str, asked: str, *, same: bool) -> Pair:
    return Pair(stored, asked, same, "test")


def test_a_chain_of_same_pairs_has_one_answer_and_a_different_pair_two() -> None:
    pairs = [pair("a", "b", same=True), pair("b", "c", same=True), pair("c", "d", same=False)]
    halves = from_pairs("chain", pairs, most=10)
    (whole,) = (half for half in halves if half.steps)
    answer = dict(zip(whole.texts, whole.answer.tolist(), strict=True))
    assert answer["a"] == answer["b"] == answer["c"] != answer["d"]
    assert [(whole.texts[first], whole.texts[asked]) for first, asked in whole.steps] == [
        ("a", "b"),
        ("b", "c"),
        ("c", "d"),
    ]


def test_what_pairs_connect_lies_in_one_half_even_if_they_are_labelled_different() -> None:
    pairs = [pair(f"{n}", f"{n}'", same=bool(n % 2)) for n in range(40)] + [
        pair(f"{n}'", f"{n}''", same=False) for n in range(40)
    ]
    first, second = from_pairs("halves", pairs, most=1000)
    assert first.texts
    assert second.texts
    assert not set(first.texts) & set(second.texts)
    assert {text.rstrip("'") for text in first.texts}.isdisjoint(text.rstrip("'") for text in second.texts)


def test_what_nobody_compared_is_neither_the_same_nor_different() -> None:
    pairs = [pair("a", "b", same=True), pair("b", "c", same=False), pair("c", "d", same=False)]
    halves = from_pairs("chain", pairs, most=10, only_compared=True)
    (whole,) = (half for half in halves if half.steps)
    place = {text: at for at, text in enumerate(whole.texts)}
    assert whole.are_different(place["a"], place["b"]) is False
    assert whole.are_different(place["a"], place["c"]) is True, "a is as b, which differs from c"
    assert whole.are_different(place["a"], place["d"]) is None


def test_a_group_is_asked_in_one_half_and_nothing_is_stored_first() -> None:
    rows = [(f"{group} {n}", group) for group in range(30) for n in range(3)]
    halves = from_groups("groups", rows, lambda at: str(rows[at][1]), most=1000)
    assert sum(len(half.texts) for half in halves) == 90
    for half in halves:
        assert {first for first, _ in half.steps} == {NOTHING}
        groups = [text.split()[0] for text in half.texts]
        assert (
            len(set(half.answer.tolist()))
            == len(set(groups))
            == len(set(zip(groups, half.answer.tolist(), strict=True)))
        )


def test_orders_are_shuffles_that_the_seed_repeats() -> None:
    rows = [(f"text {n}", n) for n in range(50)]
    half = from_groups("orders", rows, str, most=1000)[0]
    orders = half.orders(3, seed=1)
    assert orders == half.orders(3, seed=1)
    assert orders != half.orders(3, seed=2)
    assert all(sorted(order) == sorted(half.steps) for order in orders)
    assert orders[0] != orders[1]


def test_no_more_steps_are_taken_than_asked_for() -> None:
    rows = [(f"text {n}", n) for n in range(100)]
    assert all(len(half.steps) == 7 for half in from_groups("few", rows, str, most=7))


def test_the_same_request_about_another_order_is_another_question(tmp_path: Path) -> None:
    group = next(name for name in (f"intent {n}" for n in range(50)) if streams.recipe.is_held_out_group(name))
    rows = [
        {"text": f"{word} {entity}", "group": group, "entity": entity}
        for word in ("cancel", "stop")
        for entity in ("1", "2")
    ]
    with gzip.open(tmp_path / "support_utterances.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    ((first, second),) = streams.read(tmp_path, 100, ["support"])
    whole = first if first.texts else second
    answer = dict(zip(whole.texts, whole.answer.tolist(), strict=True))
    assert answer["cancel 1"] == answer["stop 1"] != answer["cancel 2"] == answer["stop 2"]


def test_an_unknown_stream_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no stream.*quora"):
        list(streams.read(tmp_path, 100, ["quora"]))
