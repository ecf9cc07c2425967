"""Whose task is whose child: references, ancestors, and no circles.

A parent is named "<queue>/<task>". A task's record keeps its whole line of ancestors, the root first, so that a circle is seen without
walking: it would need a task to be its own ancestor. A parent never changes, so what was checked once stays true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from proxy.core import names
from proxy.errors import RequestError

MAX_DEPTH = 32
"""Ancestors of a task, at most: a line of delegation that is longer is a loop in somebody's program."""
_MEND = "use 1 to 128 letters, digits or _ . : @ - and begin with a letter or digit"


def checked_name(value: object, param: str) -> str:
    """The name of a queue or a task: as others, but without `/`, which parts the two in paths and references.

    Raises:
        RequestError: 400 naming `param`.
    """
    if not names.is_name(value) or "/" in str(value):
        raise RequestError(f"`{param}` cannot be used: {_MEND}.", param=param, code="invalid_name")
    return str(value)


def reference(queue: str, parent: str, param: str = "parent") -> str:
    """`<queue>/<task>` for a parent given so, or by its id alone where it is in the same queue.

    Raises:
        RequestError: 400 naming `param`.
    """
    at, slash, task = parent.rpartition("/")
    return f"{checked_name(at, param) if slash else queue}/{checked_name(task, param)}"


def ancestors_of(
    batch: Sequence[tuple[str, str | None]], known: Mapping[str, Sequence[str]], params: Sequence[str]
) -> list[tuple[str, ...]]:
    """The ancestors of each task of a batch, root first.

    Args:
        batch: (reference of the task, reference of its parent or None), in the order submitted; parents may be in the batch.
        known: ancestors of the parents that exist already.
        params: what each task's field `parent` is called in the request.

    Raises:
        RequestError: 404, a parent does not exist; 422, a task would be its own ancestor, or the line is too long.
    """
    parents = dict(batch)
    return [_line(task, parents, known, param) for (task, _), param in zip(batch, params, strict=True)]


def _line(
    task: str, parents: Mapping[str, str | None], known: Mapping[str, Sequence[str]], param: str
) -> tuple[str, ...]:
    line: list[str] = []
    above = parents[task]
    while above is not None:
        if above == task or above in line or task in known.get(above, ()):
            raise RequestError(
                f"The task {task} would be its own ancestor: give it another parent, or none.",
                status=422,
                code="cyclic_parent",
                param=param,
            )
        line.insert(0, above)
        if above in known:
            line[:0] = known[above]
            break
        if above not in parents:
            raise RequestError(
                f"The parent {above} does not exist: submit it first, or in the same batch.",
                status=404,
                code="parent_not_found",
                param=param,
            )
        above = parents[above]
    if len(line) > MAX_DEPTH:
        raise RequestError(
            f"A task has {MAX_DEPTH} ancestors at most: give it one further up as its parent.",
            status=422,
            code="too_deep",
            param=param,
        )
    return tuple(line)


def outside(batch: Iterable[tuple[str, str | None]]) -> set[str]:
    """The parents that have to be looked up: even one that is in the batch may have been there before."""
    return {parent for _, parent in batch if parent is not None}
