"""A contest as Markdown: goals, throughput, latency, what the caches answered, who used the machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from loadtest.load import goals
from loadtest.load.contest import Contest
from loadtest.load.goals import RIVAL, Goal
from loadtest.load.meters import Shares


def markdown(contest: Contest) -> str:
    """All tables."""
    loads = f"load average before each round {min(contest.loads)} to {max(contest.loads)}" if contest.loads else ""
    lines = [
        f"{contest.machine}; commit {contest.commit}; {contest.day}; seed {contest.seed}; {len(contest.rounds)} rounds; {loads}.",
        "",
        *_goals(goals.goals(contest)),
        "",
        *_through(contest),
        "",
        *_alone(contest),
        "",
        *(_rates(contest) if contest.rates else ()),
        "",
        *_starts(contest),
    ]
    return "\n".join(lines) + "\n"


def _goals(found: Iterable[Goal]) -> Iterator[str]:
    yield "| goal | | found | met |"
    yield "|---|---|---|---|"
    for goal in found:
        sign = "≥" if goal.is_least else "≤"
        value = "–" if goal.value is None else short(goal.value) + goal.unit
        met = {None: "–", True: "yes", False: "**no**"}[goal.is_met]
        yield f"| {goal.told} | {sign} {short(goal.limit)}{goal.unit} | {value} | {met} |"


def _through(contest: Contest) -> Iterator[str]:
    yield f"At {contest.connections} connections, as fast as answers come; {contest.topics:,} topics stored. Median round (worst … best):"
    yield ""
    yield "| | answers a second | beside LiteLLM | p50 ms | p99 ms | as expected | its processor | Redis' |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind in contest.rounds[0] if contest.rounds else ():
        for name in contest.rounds[0][kind]:
            results = [round_[kind][name] for round_ in contest.rounds]
            last, ratio = results[-1], goals.ratio(contest, kind, name) if name != RIVAL else None
            cells = [f"{kind}, {name}", _spread([result.per_s for result in results])]
            cells += ["–" if ratio is None else f"{short(ratio)}×", ms(last.latency.p50_ms), ms(last.latency.p99_ms)]
            cells += [f"{last.share:.0%}", f"{_cpu(name, last.used):.0%}", f"{last.used.cpu.get('redis', 0):.0%}"]
            yield f"| {' | '.join(cells)} |"
    if contest.bare:
        rates = _spread([bare.per_s for bare in contest.bare])
        yield f"| the same model work, no proxy | {rates} | | | | | | |"


def _alone(contest: Contest) -> Iterator[str]:
    yield "At one connection:"
    yield ""
    yield "| | calls | p50 ms | p95 ms | p99 ms | added p50 ms | first byte p50 ms | event µs | as expected |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind, of_kind in contest.alone.items():
        for name, found in of_kind.items():
            took = found.took
            added = goals.added_ms(contest, kind, name) if name != "provider" else None
            cells = [f"{kind}, {name}", f"{took.count}", *map(ms, (took.p50_ms, took.p95_ms, took.p99_ms, added))]
            cells += [ms(found.first_byte.p50_ms), "–" if found.event_us is None else short(found.event_us)]
            yield f"| {' | '.join([*cells, f'{found.share:.0%}'])} |"


def _rates(contest: Contest) -> Iterator[str]:
    yield "Mixed workload of people's wordings, open loop (a request's time counts from the moment it was due):"
    yield ""
    yield "| | a second | p50 ms | p95 ms | p99 ms | p99.9 ms | hits | of them by meaning | wrong hits | failed | saved | processor |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for each in contest.rates:
        summary, took = each.summary, each.summary.took["all"]
        every, semantic = summary.hits["all"], summary.hits["semantic"]
        cells = [each.name, short(each.rate), *map(ms, (took.p50_ms, took.p95_ms, took.p99_ms, took.p999_ms))]
        cells += [f"{every.share:.0%}", f"{semantic.hits}", f"{every.wrong} ({every.wrong_share:.1%})"]
        cells += [f"{summary.failed}", _saved(summary.saved_usd, summary.spent_usd)]
        yield f"| {' | '.join([*cells, f'{_cpu(each.name, each.used):.0%}'])} |"


def _starts(contest: Contest) -> Iterator[str]:
    yield "| | serving after | memory, most |"
    yield "|---|---|---|"
    for name, seconds in contest.starts.items():
        memory = goals.memory_mb(contest, name)
        yield f"| {name} | {short(seconds)} s | {'–' if memory is None else short(memory) + ' MB'} |"


def _cpu(name: str, used: Shares) -> float:
    """Share of one core that a contender's processes took, those for other kinds of request among them, which idle."""
    first = name.partition(",")[0]
    return sum(share for process, share in used.cpu.items() if process.startswith(first))


def ms(value: float | None) -> str:
    """Milliseconds, or a dash."""
    return "–" if value is None else short(value)


def short(value: float) -> str:
    """A number with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}"


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({short(min(values))} … {short(max(values))})"


def _saved(saved: float, spent: float) -> str:
    return f"{saved / (saved + spent):.0%}" if saved + spent else "–"
