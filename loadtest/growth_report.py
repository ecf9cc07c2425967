"""What `loadtest.growth` measured: kept as JSON, told as Markdown, drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

GOAL_RATIO, GOAL_RECALL = 2.0, 0.98
"""p50 at a million against 10,000, and recall@3 there."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A layout, filled: milliseconds an insert (batches in a pipeline, from the size before), bytes an entry in all of Redis."""

    layout: str
    entries: int
    insert_ms: float
    bytes_each: float


@dataclass(frozen=True, slots=True)
class Looked:
    """Look-ups in one partition, one at a time.

    Attributes:
        layout: one, or small.
        entries: in the index.
        partition: its name.
        held: entries in it.
        what: "Deja" for our own look-up, else the policy of a bare query.
        p50_ms, p99_ms: of it.
        recall: share of the three nearest that were found.
        near_recall: the same of those near enough to be served.
        floor_ms: a PING in the same minute.
    """

    layout: str
    entries: int
    partition: str
    held: int
    what: str
    p50_ms: float
    p99_ms: float
    recall: float
    near_recall: float
    floor_ms: float


@dataclass(frozen=True, slots=True)
class Built:
    """Another index over all entries: milliseconds and bytes for each, and [p50 ms, recall@3] by the candidates held while searching."""

    graph: str
    entries: int
    build_ms: float
    bytes_each: float
    floor_ms: float
    looks: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Restarted:
    """Redis killed and started again: seconds until it answers and until the index is whole; how long a GET waits between the two."""

    entries: int
    answers_s: float
    whole_s: float
    wait_p50_ms: float
    wait_p99_ms: float
    wait_most_ms: float


Row = TypeVar("Row", Filled, Looked, Built, Restarted)
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Filled, Looked, Built, Restarted)}


@dataclass(slots=True)
class Results:
    """All rows of a run."""

    machine: str
    rows: list[Any] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, machine: str) -> Results:
        """What an earlier run has left, or nothing."""
        if not path.exists():
            return cls(machine)
        kept = json.loads(path.read_text())
        rows = [_KINDS[row.pop("kind")](**row) for row in kept["rows"]]
        return cls(kept["machine"], rows)

    def of(self, kind: type[Row], **wanted: Any) -> list[Row]:
        """Rows of one kind whose fields are these."""
        rows = (row for row in self.rows if isinstance(row, kind))
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def has(self, kind: type[Row], **wanted: Any) -> bool:
        """Whether there is such a row."""
        return bool(self.of(kind, **wanted))


def keep(results: Results, folder: Path) -> None:
    """Write growth.json."""
    rows = [{"kind": type(row).__name__, **asdict(row)} for row in results.rows]
    (folder / "growth.json").write_text(json.dumps({"machine": results.machine, "rows": rows}, indent=1) + "\n")


def write(results: Results, folder: Path) -> None:
    """Write growth.md and, where matplotlib is installed, growth.png."""
    (folder / "growth.md").write_text("\n".join(markdown(results)) + "\n")
    draw(results, folder / "growth.png")


def markdown(results: Results) -> Iterator[str]:
    """Everything as tables."""
    yield f"{results.machine}. Times in ms; a PING took {_floors(results)}."
    yield from _table("One partition, our look-up", ("entries", "p50", "p99", "recall@3"), [
        (f"{row.entries:,}", row.p50_ms, row.p99_ms, row.recall) for row in results.of(Looked, what="Deja", partition="all")
    ])  # fmt: skip
    yield from _goal(results)
    yield from _table("Small partitions, our look-up", ("entries", "partitions", "p50", "p99", "recall@3"), [
        (f"{row.entries:,}", row.partition, row.p50_ms, row.p99_ms, row.recall) for row in results.of(Looked, layout="small")
    ])  # fmt: skip
    yield from _table("Inserts and memory", ("layout", "entries", "ms an insert", "bytes an entry"), [
        (row.layout, f"{row.entries:,}", row.insert_ms, f"{row.bytes_each:,.0f}") for row in results.of(Filled)
    ])  # fmt: skip
    head = ("entries", "answers after s", "index whole after s", "GET p50", "p99", "most")
    yield from _table("Redis killed and started again", head, [
        (f"{row.entries:,}", row.answers_s, row.whole_s, row.wait_p50_ms, row.wait_p99_ms, row.wait_most_ms)
        for row in results.of(Restarted)
    ])  # fmt: skip
    yield from _table("Other indexes, walked", ("index", "entries", "build", "bytes", "ef: p50, recall@3"), [
        (row.graph, f"{row.entries:,}", row.build_ms, f"{row.bytes_each:,.0f}", _looks(row)) for row in results.of(Built)
    ])  # fmt: skip
    yield from _table("Policies", ("entries", "partition", "holds", "how", "p50", "p99", "recall@3", "of near ones"), [
        (f"{row.entries:,}", row.partition, f"{row.held:,}", row.what, row.p50_ms, row.p99_ms, row.recall, row.near_recall)
        for row in results.of(Looked, layout="one")
    ])  # fmt: skip


def _goal(results: Results) -> Iterator[str]:
    found = {row.entries: row for row in results.of(Looked, what="Deja", partition="all")}
    if 10_000 in found and 1_000_000 in found:
        ratio, share = found[1_000_000].p50_ms / found[10_000].p50_ms, found[1_000_000].recall
        is_met = ratio <= GOAL_RATIO and share >= GOAL_RECALL
        yield ""
        goals = f"{ratio:.2f} × (goal {GOAL_RATIO}), recall@3 {share:.3f} (goal {GOAL_RECALL})"
        yield f"A million against 10,000: {goals}: {'met' if is_met else 'missed'}."


def _looks(row: Built) -> str:
    return "; ".join(f"{ef}: {p50:.2f}, {share:.3f}" for ef, (p50, share) in row.looks.items())


def _floors(results: Results) -> str:
    floors = [row.floor_ms for row in results.of(Looked)]
    return f"{min(floors):.2f} to {max(floors):.2f}" if floors else "?"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|")
        yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def draw(results: Results, path: Path) -> None:
    """Look-ups in one partition by size: ours, and RediSearch's own choice, compared-all and walk."""
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (times, shares) = plt.subplots(1, 2, figsize=(10, 4))
    for what, label in (
        ("Deja", "Deja's look-up"),
        ("own choice", "RediSearch's own choice"),
        ("ADHOC_BF", "every vector compared"),
        ("BATCHES", "a walk, ef 32"),
    ):
        rows = sorted(results.of(Looked, what=what, partition="all"), key=lambda row: row.entries)
        style = {"marker": "o", "linewidth": 2.5 if what == "Deja" else 1.2}
        times.plot([row.entries for row in rows], [row.p50_ms for row in rows], label=label, **style)
        shares.plot([row.entries for row in rows], [row.recall for row in rows], label=label, **style)
    small = sorted(results.of(Looked, layout="small"), key=lambda row: row.entries)
    times.plot([row.entries for row in small], [row.p50_ms for row in small], "s--", label="Deja, partitions of three")
    times.set(xscale="log", yscale="log", xlabel="entries in the index", ylabel="p50, ms", title="One look-up")
    shares.set(
        xscale="log",
        xlabel="entries in the index",
        ylabel="recall@3",
        title="Found of the three nearest",
        ylim=(0.9, 1.002),
    )
    shares.axhline(GOAL_RECALL, color="grey", linestyle=":")
    times.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
