"""Parents: who exists, no circles, no endless lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.coordination.task_lineage import MAX_DEPTH, ancestors_of, checked_name, reference
from proxy.errors import RequestError


def lines(
    batch: list[tuple[str, str | None]], known: dict[str, tuple[str, ...]] | None = None
) -> list[tuple[str, ...]]:
    return ancestors_of(batch, known or {}, [f"tasks.{number}.parent" for number in range(len(batch))])


def refusal(
    batch: list[tuple[str, str | None]], known: dict[str, tuple[str, ...]] | None = None
) -> tuple[int, str, str | None]:
    with pytest.raises(RequestError) as caught:
        lines(batch, known)
    return caught.value.status, caught.value.code, caught.value.param


def test_a_line_goes_from_the_root_to_the_parent() -> None:
    assert lines([("q/c", "q/b")], {"q/b": ("q/root", "q/a")}) == [("q/root", "q/a", "q/b")]


def test_parents_may_stand_anywhere_in_the_batch() -> None:
    assert lines([("q/c", "q/b"), ("q/b", "q/a"), ("q/a", None)]) == [("q/a", "q/b"), ("q/a",), ()]


@pytest.mark.parametrize(
    ("batch", "known"),
    [
        ([("q/a", "q/a")], {}),
        ([("q/a", "q/b"), ("q/b", "q/a")], {}),
        ([("q/a", "q/b"), ("q/b", "q/c"), ("q/c", "q/b")], {}),
        ([("q/a", "q/c")], {"q/c": ("q/a", "q/b")}),
        ([("q/a", "q/a")], {"q/a": ()}),
    ],
    ids=["itself", "two", "into a circle", "an ancestor that is there already", "itself, there already"],
)
def test_no_task_is_its_own_ancestor(batch: list[tuple[str, str | None]], known: dict[str, tuple[str, ...]]) -> None:
    assert refusal(batch, known) == (422, "cyclic_parent", "tasks.0.parent")


def test_a_parent_has_to_exist() -> None:
    assert refusal([("q/a", None), ("q/b", "other/a")]) == (404, "parent_not_found", "tasks.1.parent")


def test_a_line_has_a_bound() -> None:
    deepest = tuple(f"q/{number}" for number in range(MAX_DEPTH - 1))
    assert len(lines([("q/x", "q/p")], {"q/p": deepest})[0]) == MAX_DEPTH
    assert refusal([("q/x", "q/p")], {"q/p": (*deepest, "q/one more")}) == (422, "too_deep", "tasks.0.parent")


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 9)), unique_by=lambda pair: pair[0]))
def test_a_batch_is_taken_exactly_if_it_is_a_forest(pairs: list[tuple[int, int | None]]) -> None:
    batch = [(f"q/{task}", None if parent is None else f"q/{parent}") for task, parent in pairs]
    parents = dict(batch)

    def ends(task: str | None, steps: int = 0) -> bool:
        return task is None or (task in parents and steps <= len(batch) and ends(parents[task], steps + 1))

    try:
        found = lines(batch)
    except RequestError:
        assert not all(ends(task) for task in parents)
        return
    for (task, parent), line in zip(batch, found, strict=True):
        assert ends(task)
        assert task not in line
        assert line[-1:] == (() if parent is None else (parent,))


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "ä", "a" * 129, None, 3, "a\n"])
def test_what_cannot_be_a_name_is_refused(name: object) -> None:
    with pytest.raises(RequestError) as caught:
        checked_name(name, "queue")
    assert (caught.value.code, caught.value.param) == ("invalid_name", "queue")


def test_a_parent_may_be_in_another_queue() -> None:
    assert reference("q", "t1") == "q/t1"
    assert reference("q", "other/t1") == "other/t1"
    for wrong in ("a/b/c", "/t", "q/", "/"):
        with pytest.raises(RequestError):
            reference("q", wrong)
