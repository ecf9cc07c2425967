"""How `deja tune` and `deja eval` talk on a terminal: bars on standard error, tables on standard output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import JustifyMethod

_TEXT_CHARS = 160  # of a pair's text on the terminal; reports hold the whole


class Bars:
    """Progress of named steps, one bar each; a step that begins anew under its name starts over.

    Args:
        progress: rich's.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""
        if step not in self._tasks:
            for task in self._tasks.values():
                self._progress.update(task, visible=False)
            self._tasks[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._tasks[step], completed=done, total=total, visible=True)

    def models(self, done: int, total: int) -> None:
        """Show how far a scorer is: it embeds all texts first and asks the verifier then, each from nothing to all."""
        task = self._tasks.get("embedding")
        embedded = task is not None and self._progress.tasks[self._progress.task_ids.index(task)].finished
        self("verifying" if embedded else "embedding", done, total)


@contextmanager
def bars() -> Iterator[Bars]:
    """Draw bars while the block runs; nothing where nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(progress)


def show_table(title: str, heading: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None) -> None:
    """Print a table; the first column to the left, the others to the right.

    Args:
        title: above it.
        heading: of the columns.
        rows: plain text, cell by cell.
        chosen: a row to point out.
    """
    table = Table(title=Text(title), title_justify="left")  # Text: nothing in it is markup
    for number, name in enumerate(heading):
        justify: JustifyMethod = "left" if number == 0 else "right"
        table.add_column(Text(name), justify=justify, overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style="bold" if number == chosen else None)
    _out().print(table)


def show(text: str, style: str = "") -> None:
    """Print a paragraph, wrapped to the terminal; nothing in it is taken for markup."""
    _out().print(Text(text, style=style))
    _out().print()


def show_pairs(title: str, pairs: Sequence[tuple[str, str, str]]) -> None:
    """Print pairs of texts with a remark, shortened."""
    if not pairs:
        return
    out = _out()
    out.print(Text(title, style="bold"))
    for one, other, remark in pairs:
        out.print(Text(f"  {_short(one)}\n  {_short(other)}"))
        out.print(Text(f"    {remark}", style="dim"))
    out.print()


def _short(text: str) -> str:
    line = " ".join(
        "".join(char if char.isprintable() else " " for char in text).split()
    )  # no escape codes from a file
    return line if len(line) <= _TEXT_CHARS else f"{line[: _TEXT_CHARS - 1]}…"


def _out() -> Console:
    return Console(highlight=False, soft_wrap=False)
