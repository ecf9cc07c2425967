"""Does the live error budget hold when traffic drifts? Simulated streams of 50,000 requests, with the truth known.

    python -m loadtest.budget_simulation [--runs N] [--seed S] [--budget 0.01] [--out DIR]

Writes budget-simulation.json, .md and, where matplotlib is installed, .png into DIR. Constants of `core.budget` were tuned on seeds
0 to 99; what decision 0007 publishes comes from seeds 1000 on.

Each run: a calibration of its own, a stream of `loadtest.budget_traffic`, a review every 500 requests. It is run twice on the same
requests: with live audits, and at the calibrated level all along.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from loadtest.budget_traffic import (
    CHANGE,
    REQUESTS,
    SCENARIOS,
    Floats,
    Scenario,
    Stream,
    bins_of,
    calibrate,
    oracle_level,
    stream,
)
from proxy.core.budget import Belief, Standing, audit_share, next_level, start
from proxy.core.confidence import BIN_COUNT, Calibration, bin_of
from proxy.core.sequences import JudgeError, looks_for
from proxy.core.tally import Tally, is_counted

REVIEW_EVERY = 500
BURN_IN = 10_000
BASE_SHARE = 0.03
"""Of the hits that are audited; more at the start and under suspicion, so that some 6 % are in all."""

SHADOW_SHARE = 0.5
"""Of the candidates below the level that are compared with the answer fetched anyway."""

SHADOW_BINS = 12
"""Candidates up to 12 bins (log odds of 3) below the calibrated level are worth a shadow audit."""

_JUDGED_KNOWN = 1000  # answers of each kind by which the judge's error was measured
_POOL_SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one run.

    Attributes:
        rate: wrong hits / hits after burn-in; 0 without hits.
        rate_calibrated: the same at the calibrated level all along.
        hits: hits after burn-in, a share of the requests.
        hits_oracle: of one who knows the true chances and keeps the budget in every stretch of 5,000 requests.
        audited: audited hits / hits, all requests.
        delay: requests from the change to the first stricter level; None if there was no change or it was never seen.
        is_covered: the interval shown, looked at every 5,000 requests, held the mean true chance of the hits so far.
        levels: level in force at each review.
    """

    rate: float
    rate_calibrated: float
    hits: float
    hits_oracle: float
    audited: float
    delay: int | None
    is_covered: bool
    levels: Floats


def main() -> None:
    """Parse the command line, simulate, write."""
    parser = argparse.ArgumentParser(description="Simulate the live error budget under drift.")
    parser.add_argument("--runs", type=int, default=40, help="runs of each scenario (default 40)")
    parser.add_argument("--seed", type=int, default=1000, help="of the first run (default 1000)")
    parser.add_argument("--budget", type=float, default=0.01, help="max_wrong_hit_rate (default 0.01)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the results")
    args = parser.parse_args()
    began = time.perf_counter()
    results, seeds = {}, range(args.seed, args.seed + args.runs)
    with ProcessPoolExecutor(args.jobs) as workers:
        for scenario in SCENARIOS:
            one = partial(simulate, scenario, budget=args.budget)
            results[scenario.name] = list(workers.map(one, seeds))
            print(row(scenario, results[scenario.name], args.budget), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    setup = {"runs": args.runs, "seed": args.seed, "budget": args.budget, "requests": REQUESTS, "burn_in": BURN_IN}
    summaries = {name: summary(runs, args.budget) for name, runs in results.items()}
    report = {"setup": setup, "scenarios": [asdict(s) for s in SCENARIOS], "results": summaries}
    (args.out / "budget-simulation.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (args.out / "budget-simulation.md").write_text(table(results, args.budget), "utf-8")
    print(
        f"{time.perf_counter() - began:.0f} s; plot: {plot(results, args.budget, args.out / 'budget-simulation.png')}"
    )


def simulate(scenario: Scenario, seed: int, budget: float) -> Run:
    """Run one stream, reviewing every `REVIEW_EVERY` requests."""
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    calibration, knots, chances = calibrate(rng, budget)
    requests = stream(rng, scenario, knots, chances)
    auditor = Auditor(rng, scenario, calibration, budget)
    standing, levels, covered = start(calibration, budget), [], True
    hits = np.zeros(REQUESTS, bool)
    for begin in range(0, REQUESTS, REVIEW_EVERY):
        stretch = slice(begin, begin + REVIEW_EVERY)
        levels.append(standing.level)
        hits[stretch] = requests.confidence[stretch] >= standing.level
        auditor.audit(standing, requests.confidence[stretch], requests.is_wrong[stretch])
        standing = auditor.review(standing)
        if begin % (10 * REVIEW_EVERY) == 0 and hits.any():
            shown = auditor.tally.interval(auditor.judge)
            covered &= shown.low <= float(requests.chance[hits].mean()) <= shown.high
    return _run(requests, hits, np.array(levels), calibration.level_for(budget), auditor, scenario, covered, budget)


class Auditor:
    """Draws audits, tallies them, and reviews."""

    def __init__(self, rng: np.random.Generator, scenario: Scenario, calibration: Calibration, budget: float) -> None:
        self._rng, self._calibration, self._budget = rng, calibration, budget
        measured = _measured(rng, scenario.judge_error)
        self._looks = looks_for(measured, budget) if scenario.looks else 1
        self.judge = measured.confirmed(self._looks)
        self._alarm = scenario.judge_error**self._looks
        self._miss = 1 - (1 - scenario.judge_error) ** self._looks
        self._pool = None if scenario.pool is None else Belief(scenario.pool, _POOL_SPREAD)
        self._lowest = bin_of(calibration.level_for(budget)) - SHADOW_BINS
        self.tally = Tally()

    def audit(self, standing: Standing, confidence: Floats, is_wrong: np.ndarray) -> None:
        """Audit some of these requests."""
        there = confidence >= 0
        bins = bins_of(confidence)
        draws = self._rng.random(len(confidence))
        hits = there & (confidence >= standing.level)
        audited = hits & (draws < audit_share(standing, self.tally, BASE_SHARE))
        shadowed = there & ~hits & (bins >= self._lowest) & (draws < SHADOW_SHARE)
        called = self._rng.random(len(confidence)) < np.where(is_wrong, 1 - self._miss, self._alarm)
        counted = audited & np.array([is_counted(draw, BASE_SHARE) for draw in draws.tolist()])

        def count(which: np.ndarray) -> tuple[int, ...]:
            return tuple(np.bincount(bins[which], minlength=BIN_COUNT).tolist())

        self.tally += Tally(
            seen=count(there),
            right=count(audited & ~called),
            wrong=count(audited & called),
            shadow_right=count(shadowed & ~called),
            shadow_wrong=count(shadowed & called),
            counted=int(counted.sum()),
            counted_wrong=int((counted & called).sum()),
        )

    def review(self, standing: Standing) -> Standing:
        """Let the policy decide."""
        return next_level(
            standing,
            self.tally,
            calibration=self._calibration,
            max_wrong_hit_rate=self._budget,
            judge=self.judge,
            pool=self._pool,
        )


def _measured(rng: np.random.Generator, error: float) -> JudgeError:
    """Measure one look of the judge on answers whose truth is known."""
    if not error:
        return JudgeError()
    alarms, misses = rng.binomial(_JUDGED_KNOWN, error, 2).tolist()
    return JudgeError.measured(false_alarms=alarms, right=_JUDGED_KNOWN, misses=misses, wrong=_JUDGED_KNOWN)


def _run(
    requests: Stream,
    hits: np.ndarray,
    levels: Floats,
    calibrated: float,
    auditor: Auditor,
    scenario: Scenario,
    is_covered: bool,
    budget: float,
) -> Run:
    after = np.arange(REQUESTS) >= BURN_IN
    fixed = (requests.confidence >= calibrated) & after
    oracle = np.zeros(REQUESTS, bool)
    for begin in range(0, REQUESTS, 5000):
        confidence, chance = (values[begin : begin + 5000] for values in (requests.confidence, requests.chance))
        level = oracle_level(confidence[confidence >= 0], chance[confidence >= 0], budget)
        oracle[begin : begin + 5000] = confidence >= max(level, calibrated)
    return Run(
        rate=_share(requests.is_wrong[hits & after]),
        rate_calibrated=_share(requests.is_wrong[fixed]),
        hits=_share(hits[after]),
        hits_oracle=_share(oracle[after]),
        audited=auditor.tally.audited / max(1, int(hits.sum())),
        delay=_delay(levels, scenario),
        is_covered=is_covered,
        levels=levels,
    )


def _delay(levels: Floats, scenario: Scenario) -> int | None:
    if scenario.since is None:
        return None
    first = scenario.since // REVIEW_EVERY
    stricter = np.nonzero(levels[first:] > levels[first])[0]
    return int(stricter[0]) * REVIEW_EVERY if len(stricter) else None


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


# ── the report ────────────────────────────────────────────────────────────────────────────────────────────────────

HEADER = (
    "| scenario | runs within budget | wrong-hit rate, median (95th) | at the calibrated level | within, there "
    "| detected in, median (95th) | hits | oracle's hits | audited |"
)


def summary(runs: Sequence[Run], budget: float) -> dict[str, float | None]:
    """Boil the runs of a scenario down."""
    rates = np.array([run.rate for run in runs])
    fixed = np.array([run.rate_calibrated for run in runs])
    delays = [run.delay for run in runs if run.delay is not None]
    return {
        "within": float((rates <= budget).mean()),
        "rate_median": float(np.median(rates)),
        "rate_95": float(np.quantile(rates, 0.95)),
        "within_calibrated": float((fixed <= budget).mean()),
        "rate_calibrated_median": float(np.median(fixed)),
        "detected": len(delays) / len(runs),
        "delay_median": float(np.median(delays)) if delays else None,
        "delay_95": float(np.quantile(delays, 0.95)) if delays else None,
        "hits": float(np.mean([run.hits for run in runs])),
        "hits_oracle": float(np.mean([run.hits_oracle for run in runs])),
        "audited": float(np.mean([run.audited for run in runs])),
        "covered": float(np.mean([run.is_covered for run in runs])),
    }


def row(scenario: Scenario, runs: Sequence[Run], budget: float) -> str:
    """One line of the table."""
    s = {name: math.nan if value is None else value for name, value in summary(runs, budget).items()}
    delay = "–" if scenario.since is None or not s["detected"] else f"{s['delay_median']:,.0f} ({s['delay_95']:,.0f})"
    return (
        f"| {scenario.name} | {s['within']:.1%} | {s['rate_median']:.2%} ({s['rate_95']:.2%}) | {s['rate_calibrated_median']:.2%} "
        f"| {s['within_calibrated']:.1%} | {delay} | {s['hits']:.1%} | {s['hits_oracle']:.1%} | {s['audited']:.1%} |"
    )


def table(results: dict[str, list[Run]], budget: float) -> str:
    """Everything as Markdown."""
    rows = [row(scenario, results[scenario.name], budget) for scenario in SCENARIOS]
    return "\n".join([HEADER, "|---" * (HEADER.count("|") - 1) + "|", *rows]) + "\n"


def plot(results: dict[str, list[Run]], budget: float, path: Path) -> str:
    """Draw wrong-hit rates and levels over time; says what was done."""
    try:
        import matplotlib as mpl
        from matplotlib import pyplot
    except ImportError:
        return "not drawn, matplotlib is not installed"
    mpl.use("agg")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.5), width_ratios=(3, 2))
    names = [scenario.name for scenario in SCENARIOS]
    for at, name in enumerate(names):
        height = len(names) - at
        for rates, colour, dy in (
            ([run.rate for run in results[name]], "tab:blue", 0.15),
            ([run.rate_calibrated for run in results[name]], "tab:orange", -0.15),
        ):
            left.plot([100 * rate for rate in rates], [height + dy] * len(rates), "|", color=colour, alpha=0.7)
    left.axvline(100 * budget, color="black", linewidth=1)
    left.set_yticks(range(len(names), 0, -1), names)
    left.set_xlabel("wrong hits / hits after burn-in, %; blue: live, orange: calibrated level all along; line: budget")
    for name in ("none", "prevalence ×3", "domain change", "burst of traps"):
        levels = np.array([run.levels for run in results[name]])
        served = np.mean(np.where(levels > 1, 1.0, levels), axis=0)
        right.plot(np.arange(len(served)) * REVIEW_EVERY, served, label=name)
    right.axvline(CHANGE, color="grey", linewidth=0.8, linestyle=":")
    right.set_xlabel("request (dotted: the change)")
    right.set_ylabel("mean level; 1 is exact hits only")
    right.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return str(path)


if __name__ == "__main__":
    main()
