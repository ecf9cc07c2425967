"""What one server did under load, as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.load.contest_report import ms, short
from loadtest.load.figures import Latency, Prices, Summary
from loadtest.load.meters import Shares
from loadtest.load.saturation import Saturation
from loadtest.load.soak import Verdict, Window


@dataclass(slots=True)
class Report:
    """Every number of a run; what was not measured is None or empty.

    Attributes:
        machine, commit, day: of it.
        asked: how it was asked: the arguments.
        summary: of a fixed rate.
        used: who used the machine meanwhile.
        saturation: of a search.
        windows, verdict: of a soak.
    """

    machine: str
    commit: str
    day: str
    asked: dict[str, Any]
    prices: Prices = field(default_factory=Prices)
    summary: Summary | None = None
    used: Shares | None = None
    saturation: Saturation | None = None
    windows: list[Window] = field(default_factory=list)
    verdict: Verdict | None = None


def write(report: Report, folder: Path, name: str) -> None:
    """Write `<name>.json` and `<name>.md`, and `<name>.png` where matplotlib is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(asdict(report), indent=1, default=str) + "\n", "utf-8")
    (folder / f"{name}.md").write_text(markdown(report), "utf-8")
    try:
        from loadtest.load import plots
    except ImportError:
        return
    plots.report(report, folder / f"{name}.png")


def markdown(report: Report) -> str:
    """All tables."""
    asked = ", ".join(f"{name} {value}" for name, value in report.asked.items())
    lines = [f"{report.machine}; commit {report.commit}; {report.day}; {asked}.", ""]
    if report.saturation is not None:
        lines += [*_saturation(report.saturation), ""]
    if report.summary is not None:
        lines += [*_summary(report.summary, report.prices), ""]
    if report.verdict is not None:
        lines += [*_soak(report.windows, report.verdict), ""]
    if report.used is not None:
        lines += [*_used(report.used), ""]
    return "\n".join(lines)


def _summary(summary: Summary, prices: Prices) -> Iterator[str]:
    yield f"{summary.requests:,} requests, {short(summary.per_s)} answered a second, {summary.failed} failed."
    yield ""
    for failure, count in summary.failures.items():
        yield f"- {count} ×: {' '.join(failure.split())[:200]}"
    yield ""
    yield "| | answers | p50 ms | p95 ms | p99 ms | p99.9 ms |"
    yield "|---|---|---|---|---|---|"
    for name, took in summary.took.items():
        yield _latency(name, took)
    if summary.first_byte.count:
        yield _latency("first byte of a stream", summary.first_byte)
    yield _latency("how late the generator sent", summary.late)
    yield ""
    yield "| asked | answered | hits | wrong hits |"
    yield "|---|---|---|---|"
    for name, hits in summary.hits.items():
        told = f"{hits.hits} ({hits.share:.1%})", f"{hits.wrong} ({hits.wrong_share:.1%} of hits)"
        yield f"| {'of all, by meaning' if name == 'semantic' else name} | {hits.asked} | {told[0]} | {told[1]} |"
    for asked, answered in summary.wrong[:10]:
        yield f"\nAsked “{asked}”, served the answer to “{answered}”."
    yield ""
    whole = summary.saved_usd + summary.spent_usd
    yield (
        f"Saved ${summary.saved_usd:.4f} of ${whole:.4f} at {prices.model}'s list price "
        f"(${prices.input_usd} and ${prices.output_usd} for a million tokens in and out)."
    )


def _saturation(found: Saturation) -> Iterator[str]:
    yield (
        f"At most {short(found.most_per_s)} answers a second; {short(found.sustained_per_s)} a second are sustained "
        f"with p99 ≤ {short(found.limit_ms)} ms."
    )
    yield ""
    yield "| a second | p99 ms | failed | sustained |"
    yield "|---|---|---|---|"
    for step in sorted(found.steps, key=lambda step: step.rate):
        yield f"| {short(step.rate)} | {short(step.p99_ms)} | {step.failed} | {'yes' if step.is_sustained else 'no'} |"


def _soak(windows: list[Window], verdict: Verdict) -> Iterator[str]:
    p99 = sorted(window.p99_ms for window in windows)
    yield (
        f"{verdict.requests:,} requests in {windows[-1].at_s:,.0f} s; {verdict.failed} failed; {verdict.hits:,} hits, "
        f"{verdict.wrong} of them wrong; p99 of {len(windows)} windows {short(p99[0])} to {short(p99[-1])} ms, "
        f"median {short(p99[len(p99) // 2])}; drift of p99 {verdict.drift:+.0%}."
    )
    yield ""
    yield "| | memory grew after settling |"
    yield "|---|---|"
    for name, grown in verdict.growth_mb.items():
        yield f"| {name} | {grown:+.1f} MB |"
    yield ""
    yield "Passed." if not verdict.complaints else f"**Not passed**: {'; '.join(verdict.complaints)}."


def _used(used: Shares) -> Iterator[str]:
    yield "| process | share of one core | memory MB |"
    yield "|---|---|---|"
    for name, share in used.cpu.items():
        yield f"| {name} | {share:.0%} | {ms(used.rss_mb.get(name))} |"


def _latency(name: str, took: Latency) -> str:
    cells = map(ms, (took.p50_ms, took.p95_ms, took.p99_ms, took.p999_ms))
    return f"| {name} | {took.count} | {' | '.join(cells)} |"
