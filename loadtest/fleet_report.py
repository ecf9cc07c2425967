"""The fleet's benchmark as tables: best and worst run of each thing, the goals, and who used the processors meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.fleet_phases import Row


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached.

    Attributes:
        field: of `Row`.
        limit: to reach.
        is_least: at least, else at most.
        told: in words.
    """

    field: str
    limit: float
    is_least: bool
    told: str

    def is_met(self, row: Row) -> bool:
        """Whether that row reaches it."""
        value = float(getattr(row, self.field))
        return value >= self.limit if self.is_least else value <= self.limit


_AT_REDIS = Goal("p99_ms", 1.0, is_least=False, told="p99 ≤ 1 ms")
_OVER_HTTP = Goal("p99_ms", 3.0, is_least=False, told="p99 ≤ 3 ms")
_TO_SOCKET = Goal("server_p99_ms", 50.0, is_least=False, told="server p99 ≤ 50 ms")
GOALS = {
    ("state at the Redis client", "read"): _AT_REDIS,
    ("state at the Redis client", "write"): _AT_REDIS,
    ("state over HTTP", "read"): _OVER_HTTP,
    ("state over HTTP", "write"): _OVER_HTTP,
    ("events", "append, 100 a batch"): Goal("per_s", 5000, is_least=True, told="≥ 5,000 a second"),
    ("signals", "server-sent events"): _TO_SOCKET,
    ("signals", "WebSocket"): _TO_SOCKET,
}
PROCESSES = ("Deja", "redis-server", "load generator", "all others")


@dataclass(frozen=True, slots=True)
class Measured:
    """A phase of a run.

    Attributes:
        run: its number.
        phase: its name.
        seconds: it took.
        load: the machine's load average of the last minute, before.
        shares: of one core, by process.
        redis_us: microseconds in Redis itself, by command.
        late_p99_ms: how late the generator sent.
        rows: what was measured.
    """

    run: int
    phase: str
    seconds: float
    load: float
    shares: dict[str, float]
    redis_us: dict[str, float]
    late_p99_ms: float
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Report:
    """Every number of every run."""

    machine: str
    seed: int
    day: str
    measured: list[Measured]


def is_met(report: Report) -> bool:
    """Whether each goal that was measured was reached in at least one run."""
    return all(
        any(goal.is_met(row) for row in rows)
        for (phase, what), goal in GOALS.items()
        if (rows := _rows(report, phase, what))
    )


def markdown(report: Report) -> str:
    """The tables."""
    runs = len({each.run for each in report.measured})
    loads = [each.load for each in report.measured]
    lines = [
        f"{report.machine}; {report.day}; {runs} run{'s' * (runs > 1)}, load average {min(loads)} to {max(loads)}. "
        "Where there are two numbers, they are the best and the worst run.",
        "",
        "| | calls | a second | p50 ms | p95 ms | p99 ms | server p50 | server p99 | goal | met |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for phase in dict.fromkeys(each.phase for each in report.measured):
        lines.append(f"| **{phase}** | | | | | | | | | |")
        firsts = next(each for each in report.measured if each.phase == phase)
        lines += [_line(report, phase, row.what) for row in firsts.rows]
    return "\n".join([*lines, "", *_processors(report)]) + "\n"


def _rows(report: Report, phase: str, what: str) -> list[Row]:
    return [row for each in report.measured if each.phase == phase for row in each.rows if row.what == what]


def _line(report: Report, phase: str, what: str) -> str:
    rows = _rows(report, phase, what)
    cells = [what, f"{rows[0].count}"]
    for field in ("per_s", "p50_ms", "p95_ms", "p99_ms", "server_p50_ms", "server_p99_ms"):
        values = [value for row in rows if (value := getattr(row, field)) is not None]
        cells.append(_span(values, is_least=field == "per_s"))
    goal = GOALS.get((phase, what))
    met = "" if goal is None else f"{sum(goal.is_met(row) for row in rows)} of {len(rows)}"
    return "| " + " | ".join([*cells, "" if goal is None else goal.told, met]) + " |"


def _processors(report: Report) -> Iterable[str]:
    yield (
        "Processors, in shares of one core; Deja's processor time for each call above; a script's time in Redis by its own count; how "
        "late the generator sent:"
    )
    yield ""
    yield f"| | {' | '.join(PROCESSES)} | Deja µs a call | a script in Redis, mean µs | p99 µs | late p99 ms |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for phase in dict.fromkeys(each.phase for each in report.measured):
        found = [each for each in report.measured if each.phase == phase]
        cells = [_span([each.shares[name] * 100 for each in found], unit=" %") for name in PROCESSES]
        cells.append(
            _span([each.shares["Deja"] * each.seconds * 1e6 / sum(row.count for row in each.rows) for each in found])
        )
        scripts = ("evalsha mean us", "evalsha p99 us")
        cells += [_span([each.redis_us[field] for each in found if field in each.redis_us]) for field in scripts]
        cells.append(_span([each.late_p99_ms for each in found if each.late_p99_ms]))
        yield f"| {phase} | {' | '.join(cells)} |"


def _span(values: list[float], *, is_least: bool = False, unit: str = "") -> str:
    """Best and worst."""
    if not values:
        return "–"
    low, high = _short(min(values)) + unit, _short(max(values)) + unit
    if low == high:
        return low
    return f"{high} … {low}" if is_least else f"{low} … {high}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"
