"""How fast agents' state, tasks, events and signals are: a real `deja serve` with its embedded Redis, measured phase by phase.

    python -m loadtest.fleet                            five runs, some ten minutes: the table of docs/reference/benchmarks.md
    python -m loadtest.fleet --short                    one run, about a minute
    python -m loadtest.fleet --only events,signals --runs 3
    python -m loadtest.fleet --json fleet.json --markdown fleet.md

State is asked for at 500 operations a second whether or not earlier ones were answered, and a call's time counts from the moment it was
meant to be sent: a server that stalls cannot make the generator wait and so look fast. Among them go calls that do next to nothing (a
bare PING, a bare HTTP 200): what they cost, the machine costs. Each number is told from best to worst run, with who used the processors
meanwhile: on a busy machine the best run is nearest to what Deja can do, and the worst tells what neighbours do to it.

"server" is from sending a request until Deja had written its answer to the socket, by the kernel's clock; the other times end when
the generator has read it. The exit status is 1 if a goal was missed in every run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadtest import fleet_phases as phases
from loadtest.fleet_host import Meter, machine, serving
from loadtest.fleet_phases import SHORT, WHOLE, Found, Run, Sizes
from loadtest.fleet_report import Measured, Report, is_met, markdown
from loadtest.fleet_signals import signals
from loadtest.fleet_wire import run as run_exactly

PHASES: dict[str, Callable[[Run], Found]] = {
    "state at the Redis client": lambda run: run_exactly(phases.state_at_redis(run)),
    "state over HTTP": lambda run: run_exactly(phases.state_over_http(run)),
    "events": lambda run: run_exactly(phases.events(run)),
    "signals": signals,
    "tasks": lambda run: run_exactly(phases.tasks(run)),
}
WORDS = {"redis": "state at the Redis client", "state": "state over HTTP"} | {
    name: name for name in ("events", "signals", "tasks")
}


def main() -> None:
    """Run as the command line says."""
    given = _arguments()
    wanted = [WORDS[word] for word in given.only]
    sizes = SHORT if given.short else WHOLE
    runs = given.runs or (1 if given.short else 5)
    report = measure(sizes, wanted, runs=runs, seed=given.seed, is_quiet=given.no_progress)
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=1) + "\n", "utf-8")
    told = markdown(report)
    if given.markdown:
        given.markdown.write_text(told, "utf-8")
    print(told)
    raise SystemExit(0 if is_met(report) else 1)


def measure(sizes: Sizes, wanted: list[str], *, runs: int, seed: int, is_quiet: bool = False) -> Report:
    """Run the phases several times, the whole round each time, so that no phase has the machine's worst minute to itself."""
    report = Report(machine(), seed, time.strftime("%Y-%m-%d", time.gmtime()), [])
    total = phases.steps(sizes) | {"signals": 2 * sizes.signals}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=2, disable=is_quiet)
    with serving() as host, nullcontext() if is_quiet else bar:
        shown = bar.add_task("", total=runs * sum(total[phase] for phase in wanted))
        for number in range(runs):
            draw = random.Random(f"{seed}/{number}")
            run = Run(host, sizes, draw, on_done=lambda: bar.advance(shown), number=number)
            for phase in wanted:
                bar.update(shown, description=f"run {number + 1}/{runs}: {phase}")
                load, meter = os.getloadavg()[0], Meter(host)
                found = PHASES[phase](run)
                seconds, shares, redis_us = meter.read()
                report.measured.append(
                    Measured(number, phase, seconds, round(load, 1), shares, redis_us, found.late_p99_ms, found.rows)
                )
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="less of everything, one run: a look, not a record")
    parser.add_argument("--runs", type=int, help="rounds of all phases (5, or 1 with --short)")
    parser.add_argument(
        "--only",
        type=lambda text: [word.strip() for word in text.split(",")],
        default=list(WORDS),
        help=f"phases, comma between: {', '.join(WORDS)}",
    )
    parser.add_argument("--seed", type=int, default=7, help="of the order of reads and writes and of pauses (7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number of every run here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables here")
    parser.add_argument("--no-progress", action="store_true", help="no bar, for logs")
    given = parser.parse_args()
    if unknown := [word for word in given.only if word not in WORDS]:
        parser.error(f"--only knows {', '.join(WORDS)}, not {', '.join(unknown)}")
    if given.runs is not None and given.runs < 1:
        parser.error("--runs is at least 1")
    return given


if __name__ == "__main__":
    main()
