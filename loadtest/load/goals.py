"""What is to be reached beside the rival, and whether it was. Pure.

A goal that is a ratio is taken round by round, and the median round counts: what another process did to the machine in one round happened
to both contenders.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.load.contest import BYPASS, EXACT, MISS, POPULAR, PROVIDER, SEMANTIC, STREAMED_MISS, Contest

DEJA, RIVAL = "deja", "litellm"
FROM_REDIS = "deja, from Redis"
"""Deja without the exact answers that it keeps in its own memory."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table.

    Attributes:
        told: in words.
        value: what was found; None where it was not measured.
        limit: to reach.
        is_least: at least, else at most.
        unit: of both.
    """

    told: str
    value: float | None
    limit: float
    is_least: bool
    unit: str

    @property
    def is_met(self) -> bool | None:
        """Whether it was reached; None where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.is_least else self.value <= self.limit


def goals(contest: Contest) -> list[Goal]:
    """Every goal, with what was found."""
    return [
        Goal("exact hits, beside the rival's", ratio(contest, EXACT), 100, is_least=True, unit="×"),
        Goal("exact hits, each from Redis", ratio(contest, EXACT, FROM_REDIS), 60, is_least=True, unit="×"),
        Goal("exact hit, p50 at one connection", alone_ms(contest, EXACT), 0.6, is_least=False, unit=" ms"),
        Goal(
            "exact hit from Redis, p50 at one connection",
            alone_ms(contest, EXACT, FROM_REDIS),
            0.6,
            is_least=False,
            unit=" ms",
        ),
        Goal("semantic hits, all texts distinct", ratio(contest, SEMANTIC), 6, is_least=True, unit="×"),
        Goal(
            "semantic hits, all texts distinct, of the bare model work", of_bare(contest), 80, is_least=True, unit=" %"
        ),
        Goal("semantic hit, p50 at one connection", alone_ms(contest, SEMANTIC), 5, is_least=False, unit=" ms"),
        Goal("semantic hits, texts by popularity", ratio(contest, POPULAR), 12, is_least=True, unit="×"),
        Goal(
            "semantic hit by popularity, p50 at one connection",
            alone_ms(contest, POPULAR),
            2,
            is_least=False,
            unit=" ms",
        ),
        Goal("added by a miss, p50", added_ms(contest, MISS), 4, is_least=False, unit=" ms"),
        Goal("added by a bypass, p50", added_ms(contest, BYPASS), 1, is_least=False, unit=" ms"),
        Goal(
            "streaming: first byte, added, p50",
            first_byte_ms(contest),
            added_ms(contest, MISS) or 4,
            is_least=False,
            unit=" ms",
        ),
        Goal("streaming: added for each chunk", chunk_us(contest), 50, is_least=False, unit=" µs"),
        Goal("memory of the worker", memory_mb(contest, DEJA), 250, is_least=False, unit=" MB"),
        Goal("start", contest.starts.get(DEJA), 2, is_least=False, unit=" s"),
    ]


def ratio(contest: Contest, kind: str, name: str = DEJA) -> float | None:
    """Deja's throughput of a kind, as a multiple of the rival's: the median round."""
    return _median_round(
        contest,
        lambda at: (
            contest.rounds[at][kind][name].per_s / contest.rounds[at][kind][RIVAL].per_s
            if {name, RIVAL} <= contest.rounds[at].get(kind, {}).keys() and contest.rounds[at][kind][RIVAL].per_s
            else None
        ),
    )


def of_bare(contest: Contest) -> float | None:
    """Deja's semantic hits as a share of the bare model work, in percent: the median round."""
    return _median_round(
        contest,
        lambda at: (
            contest.rounds[at][SEMANTIC][DEJA].per_s / contest.bare[at].per_s * 100
            if at < len(contest.bare) and DEJA in contest.rounds[at].get(SEMANTIC, {})
            else None
        ),
    )


def alone_ms(contest: Contest, kind: str, name: str = DEJA) -> float | None:
    """Median of a kind at one connection."""
    found = contest.alone.get(kind, {}).get(name)
    return found.took.p50_ms if found else None


def added_ms(contest: Contest, kind: str, name: str = DEJA) -> float | None:
    """What a proxy adds to the provider's own median."""
    whole, direct = alone_ms(contest, kind, name), alone_ms(contest, kind, PROVIDER)
    return whole - direct if whole is not None and direct is not None else None


def first_byte_ms(contest: Contest, name: str = DEJA) -> float | None:
    """What a proxy adds to the provider's median first byte of a stream."""
    of_kind = contest.alone.get(STREAMED_MISS, {})
    if not {name, PROVIDER} <= of_kind.keys():
        return None
    through, direct = of_kind[name].first_byte.p50_ms, of_kind[PROVIDER].first_byte.p50_ms
    return through - direct if through is not None and direct is not None else None


def chunk_us(contest: Contest, name: str = DEJA) -> float | None:
    """What a proxy adds between two events of a stream, at most: with an instant provider, several travel together."""
    of_kind = contest.alone.get(STREAMED_MISS, {})
    if not {name, PROVIDER} <= of_kind.keys():
        return None
    through, direct = of_kind[name].event_us, of_kind[PROVIDER].event_us
    return max(0.0, through - direct) if through is not None and direct is not None else None


def memory_mb(contest: Contest, name: str) -> float | None:
    """The most resident memory of a process at the end of any phase."""
    found = [
        result.used.rss_mb[name]
        for round_ in contest.rounds
        for kind in round_.values()
        for result in kind.values()
        if name in result.used.rss_mb
    ]
    return max(found, default=None)


def _median_round(contest: Contest, of: Callable[[int], float | None]) -> float | None:
    found = [value for at in range(len(contest.rounds)) if (value := of(at)) is not None]
    return statistics.median(found) if found else None
