"""Two caches asked the same things in the same minutes: Deja and a rival, in turns, so that both see the same machine.

Each is asked its own copy of the same feed of requests, and goes on in it from phase to phase: what should be distinct stays distinct.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from loadtest.load import arrivals, driver, figures, meters, texts, wire, workload
from loadtest.load.answers import Source
from loadtest.load.bare import Bare
from loadtest.load.driver import Target
from loadtest.load.figures import Latency, Summary
from loadtest.load.hammer import hammer
from loadtest.load.hosts import Running
from loadtest.load.meters import Shares
from loadtest.load.samples import Sample
from loadtest.load.texts import Topic
from loadtest.load.workload import Ask, Mix

ZIPF = 0.9
EXACT, SEMANTIC, POPULAR = "exact hit", "semantic hit", "semantic hit, Zipf"
MISS, BYPASS = "miss", "bypass"
STREAMED_MISS, STREAMED_HIT = "miss, streamed", "exact hit, streamed"
EXPECTED = {
    EXACT: Source.EXACT,
    SEMANTIC: Source.SEMANTIC,
    POPULAR: Source.SEMANTIC,
    MISS: Source.MISS,
    STREAMED_MISS: Source.MISS,
    STREAMED_HIT: Source.EXACT,
}
"""Kind -> where its answers should come from; a bypass is told in several ways."""

PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured.

    Attributes:
        name: for people.
        targets: by kind of request.
        running: its processes.
        feeds: by kind of request; moved on by each phase.
    """

    name: str
    targets: dict[str, Target]
    running: tuple[Running, ...]
    feeds: dict[str, Iterator[Ask]]


@dataclass(frozen=True, slots=True)
class Through:
    """One contender, asked by many connections at once.

    Attributes:
        per_s: answers of the expected source a second.
        share: of all answers, those of the expected source.
        failed: requests without an answer.
        latency: of all.
        used: who used the machine.
    """

    per_s: float
    share: float
    failed: int
    latency: Latency
    used: Shares


@dataclass(frozen=True, slots=True)
class AtRate:
    """One contender at a fixed rate.

    Attributes:
        name: whose.
        rate: requests a second.
        summary: what came of it.
        used: who used the machine.
    """

    name: str
    rate: float
    summary: Summary
    used: Shares


@dataclass(frozen=True, slots=True)
class Alone:
    """One contender at one connection.

    Attributes:
        took: whole answers.
        first_byte: of streams.
        event_us: of streams, median microseconds from one event to the next; None for others.
        share: of all answers, those of the expected source.
    """

    took: Latency
    first_byte: Latency
    event_us: float | None
    share: float


@dataclass(slots=True)
class Contest:
    """Every number of a run.

    Attributes:
        machine, commit, day, seed: of it.
        loads: the machine's load average before each round.
        starts: seconds from starting to serving, by process.
        alone: kind -> contender -> numbers at one connection.
        rounds: for each round, kind -> contender -> numbers at many connections.
        bare: for each round.
        rates: at fixed rates.
        connections: of the rounds.
        topics: stored in each cache.
    """

    machine: str
    commit: str
    day: str
    seed: int
    connections: int
    topics: int
    loads: list[float] = field(default_factory=list)
    starts: dict[str, float] = field(default_factory=dict)
    alone: dict[str, dict[str, Alone]] = field(default_factory=dict)
    rounds: list[dict[str, dict[str, Through]]] = field(default_factory=list)
    bare: list[Bare] = field(default_factory=list)
    rates: list[AtRate] = field(default_factory=list)


def feeds(topics: Sequence[Topic], seed: int) -> dict[str, Iterator[Ask]]:
    """What is asked of each kind."""
    new = texts.fresh(seed)
    half = len(new) // 2
    return {
        EXACT: workload.repeated(topics),
        SEMANTIC: workload.reworded(topics, seed),
        POPULAR: workload.popular(topics, ZIPF, seed),
        MISS: workload.fresh(new[:half]),
        BYPASS: workload.repeated(topics),
        STREAMED_MISS: workload.fresh(new[half:], is_streamed=True),
        STREAMED_HIT: workload.repeated(topics, is_streamed=True),
    }


def fill(contender: Contender, topics: Sequence[Topic], kind: str) -> None:
    """Store every topic in the cache that answers a kind.

    Raises:
        SystemExit: an answer failed.
    """
    samples: list[Sample] = []
    asks = workload.stored(topics)
    wire.fast(
        driver.closed_loop(contender.targets[kind], asks, seconds=math.inf, connections=8, on_sample=samples.append)
    )
    _check(contender.name, "storing", samples)


def alone(
    contenders: Sequence[Contender], kind: str, *, blocks: int, each: int, on_block: Callable[[], None]
) -> dict[str, Alone]:
    """Ask each contender at one connection, in alternating blocks.

    Args:
        contenders: to be asked.
        kind: of request.
        blocks: for each contender.
        each: requests of a block.
        on_block: told after each.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for block in range(blocks):
        for contender in contenders if block % 2 else reversed(contenders):
            asks = list(islice(contender.feeds[kind], each))
            wire.fast(
                driver.closed_loop(
                    contender.targets[kind],
                    asks,
                    seconds=math.inf,
                    connections=1,
                    on_sample=samples[contender.name].append,
                )
            )
            on_block()
    return {name: _alone(name, kind, found) for name, found in samples.items()}


def through(contender: Contender, kind: str, *, seconds: float, connections: int) -> Through:
    """Ask a contender with many connections, as fast as it answers.

    Raises:
        SystemExit: an answer failed.
    """
    target, meter = contender.targets[kind], meters.Meter(contender.running)
    raws = (target.raw(ask) for ask in contender.feeds[kind])
    blows = hammer(target.port, raws, seconds=seconds, connections=connections)
    if blows.failure or not blows.took_ms:
        raise SystemExit(f"load: {contender.name} failed at {kind!r}: {blows.failure[:500].decode(errors='replace')}")
    share = blows.share(EXPECTED[kind]) if kind in EXPECTED else 1.0
    return Through(blows.per_s * share, share, blows.sources[Source.FAILED], blows.latency, meter.read())


def at_rate(contender: Contender, rate: float, *, seconds: float, seed: int, headers: Mapping[str, str]) -> AtRate:
    """Send the mixed workload of people's wordings at a fixed mean rate; answers are read, and wrong hits counted.

    Args:
        contender: to be asked.
        rate: requests a second.
        seconds: it lasts.
        seed: of the workload and its moments.
        headers: on top of the contender's own.
    """
    target = contender.targets[SEMANTIC]
    asks = workload.mixed(texts.authored(), Mix(), seed)
    samples: list[Sample] = []
    meter = meters.Meter(contender.running)
    wire.exact(
        driver.open_loop(
            replace(target, headers={**target.headers, **headers}),
            asks,
            arrivals.poisson(rate, seed),
            seconds=seconds,
            on_sample=samples.append,
        )
    )
    return AtRate(contender.name, rate, figures.summary(samples), meter.read())


def load() -> float:
    """The machine's load average of the last minute."""
    return round(os.getloadavg()[0], 1)


def _alone(name: str, kind: str, samples: Sequence[Sample]) -> Alone:
    _check(name, f"asked for: {kind}", samples)
    gaps = sorted(
        (sample.done_at - sample.first_at) / (sample.events - 1) * 1e6 for sample in samples if sample.events > 1
    )
    expected = EXPECTED.get(kind) if name != PROVIDER else None
    return Alone(
        figures.latency(sample.took_ms for sample in samples),
        figures.latency(sample.first_ms for sample in samples if sample.is_streamed),
        round(gaps[len(gaps) // 2], 1) if gaps else None,
        sum(sample.source is expected for sample in samples) / len(samples) if expected else 1.0,
    )


def _check(name: str, doing: str, samples: Sequence[Sample]) -> None:
    failed = [sample.failure for sample in samples if sample.source is Source.FAILED]
    if failed or not samples:
        told = failed[0] if failed else "there was nothing to ask"
        raise SystemExit(f"load: {name} failed {len(failed)} of {len(samples)} requests while {doing}: {told}")
