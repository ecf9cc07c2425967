"""Numbers made of samples: percentiles, shares, costs, and whether something has drifted. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.load.answers import HITS, Source
from loadtest.load.samples import Sample
from loadtest.load.workload import Kind

_WRONG_SHOWN = 50
_FAILURES_SHOWN = 5
PERCENTS = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a provider asks for.

    Attributes:
        model: whose list price it is.
        input_usd, output_usd: for a million tokens.
    """

    model: str = "gpt-4o-mini"
    input_usd: float = 0.15
    output_usd: float = 0.60


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds, by nearest rank; None where fewer than two samples lie above it, for then it is chance.

    Attributes:
        count: of samples.
    """

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


@dataclass(frozen=True, slots=True)
class Hits:
    """What the cache did with one kind of request.

    Attributes:
        asked: requests that were answered.
        hits: answered from the cache.
        wrong: hits that do not answer what was asked.
    """

    asked: int
    hits: int
    wrong: int

    @property
    def share(self) -> float:
        """Hits among requests."""
        return self.hits / self.asked if self.asked else 0.0

    @property
    def wrong_share(self) -> float:
        """Wrong ones among hits."""
        return self.wrong / self.hits if self.hits else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers.

    Attributes:
        seconds: from the first intended moment to the last answer.
        requests: sent.
        failed: of them, without an answer or with an error.
        per_s: answered a second.
        failures: what came instead of an answer, and how often; the most frequent ones.
        took: what callers waited, from the intended moment, all kinds; and by source.
        first_byte: of streams, from the intended moment.
        late: how late the generator sent.
        sources: answers by where they came from.
        hits: by kind of request, and of all ("all"); `semantic` counts hits by meaning alone.
        wrong: of the first wrong hits, what was asked and whose answer was served.
        saved_usd: list price of the tokens that hits answered.
        spent_usd: list price of the others.
    """

    seconds: float
    requests: int
    failed: int
    per_s: float
    failures: dict[str, int]
    took: dict[str, Latency]
    first_byte: Latency
    late: Latency
    sources: dict[str, int]
    hits: dict[str, Hits]
    wrong: list[tuple[str, str]]
    saved_usd: float
    spent_usd: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sorted values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def latency(values_ms: Iterable[float]) -> Latency:
    """Percentiles of milliseconds."""
    ordered = sorted(values_ms)
    found = [
        round(percentile(ordered, percent), 3) if len(ordered) * (100 - percent) >= 200 else None
        for percent in PERCENTS
    ]
    return Latency(len(ordered), *found)


def summary(samples: Sequence[Sample], prices: Prices = Prices()) -> Summary:
    """A run in numbers.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("nothing was measured: the run was too short for a single request")
    answered = [sample for sample in samples if sample.source is not Source.FAILED]
    seconds = max(sample.done_at for sample in samples) - min(sample.intended_at for sample in samples)
    took = {"all": latency(sample.took_ms for sample in answered)}
    for source in Source:
        if of_it := [sample.took_ms for sample in answered if sample.source is source]:
            took[source.value] = latency(of_it)
    saved = [sample for sample in answered if sample.source in HITS]
    return Summary(
        seconds=seconds,
        requests=len(samples),
        failed=len(samples) - len(answered),
        per_s=len(answered) / seconds if seconds else 0.0,
        failures=dict(Counter(s.failure for s in samples if s.source is Source.FAILED).most_common(_FAILURES_SHOWN)),
        took=took,
        first_byte=latency(sample.first_ms for sample in answered if sample.is_streamed),
        late=latency(sample.late_ms for sample in samples),
        sources={source.value: count for source, count in Counter(sample.source for sample in samples).items()},
        hits=_hits(answered),
        wrong=[sample.wrong for sample in answered if sample.wrong is not None][:_WRONG_SHOWN],
        saved_usd=_cost(saved, prices),
        spent_usd=_cost([sample for sample in answered if sample.source not in HITS], prices),
    )


def drift(windows: Sequence[float]) -> float:
    """How much the last third of some windows lies above the first third, as a share: medians, so that one bad window is not a trend.

    Args:
        windows: one value each, in order of time; fewer than six give 0.
    """
    if len(windows) < 6:
        return 0.0
    third = len(windows) // 3
    before, after = statistics.median(windows[:third]), statistics.median(windows[-third:])
    return after / before - 1 if before else 0.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Median of the slopes between all pairs of points (Theil-Sen): what a trend is, whatever single points do.

    Args:
        points: (time, value), at least two times apart; thinned to 200.
    """
    thinned = points[:: max(1, math.ceil(len(points) / 200))]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(thinned)
        for later in thinned[place + 1 :]
        if later[0] > earlier[0]
    ]
    return statistics.median(slopes) if slopes else 0.0


def _hits(answered: Sequence[Sample]) -> dict[str, Hits]:
    groups: dict[str, list[Sample]] = {"all": list(answered)}
    for kind in Kind:
        if of_it := [sample for sample in answered if sample.kind is kind]:
            groups[kind.value] = of_it
    found = {name: _counted(samples, HITS) for name, samples in groups.items()}
    found["semantic"] = _counted(answered, frozenset((Source.SEMANTIC,)))
    return found


def _counted(samples: Sequence[Sample], sources: frozenset[Source]) -> Hits:
    hits = [sample for sample in samples if sample.source in sources]
    return Hits(len(samples), len(hits), sum(sample.is_right is False for sample in hits))


def _cost(samples: Sequence[Sample], prices: Prices) -> float:
    tokens_in = sum(sample.input_tokens for sample in samples)
    tokens_out = sum(sample.output_tokens for sample in samples)
    return round((tokens_in * prices.input_usd + tokens_out * prices.output_usd) / 1e6, 6)
