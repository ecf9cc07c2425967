"""The same load for long: windows of it, and whether memory grew, p99 drifted or anything failed. Pure, but for `Windows`' meter."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtest.load import figures
from loadtest.load.answers import HITS, Source
from loadtest.load.meters import Shares
from loadtest.load.samples import Sample

WINDOW_S = 10.0
SETTLING_S = 300.0
"""Caches, pools and allocators fill during the first minutes; of a shorter soak, the first third is left out."""
GROWTH_SHARE = 0.02
GROWTH_MB = 5.0
"""Memory may grow by the larger of the two after settling: allocators breathe."""
DRIFT_SHARE = 0.25
"""p99 of the last third of the windows may lie this much above the first third's: p99 of ten seconds is a noisy number."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds of a soak.

    Attributes:
        at_s: its end, after the begin.
        requests: answered in it.
        failed: without an answer.
        hits: answered from the cache.
        wrong: of these, wrong ones.
        p50_ms, p99_ms: from the moment each was due.
        used: who used the machine.
    """

    at_s: float
    requests: int
    failed: int
    hits: int
    wrong: int
    p50_ms: float
    p99_ms: float
    used: Shares


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a soak showed.

    Attributes:
        requests, failed, hits, wrong: of all windows.
        growth_mb: of memory after settling, by process: the trend over that time.
        drift: of p99 after settling, as a share.
        complaints: why it is not passed; empty if it is.
    """

    requests: int
    failed: int
    hits: int
    wrong: int
    growth_mb: dict[str, float]
    drift: float
    complaints: tuple[str, ...]


@dataclass(slots=True)
class Windows:
    """Takes samples as they come and makes windows of them.

    Attributes:
        read: gives who used the machine since it was called last.
        on_window: told of each.
        found: so far.
    """

    read: Callable[[], Shares]
    on_window: Callable[[Window], None] = lambda _: None
    found: list[Window] = field(default_factory=list)
    _samples: list[Sample] = field(default_factory=list)
    _begin: float | None = None
    _ends: float = 0.0

    def add(self, sample: Sample) -> None:
        """Take a sample; the windows are told apart by when answers came."""
        if self._begin is None:
            self._begin = sample.intended_at
            self._ends = self._begin + WINDOW_S
        if sample.done_at >= self._ends and self._samples:
            self._close(self._ends - self._begin)
            self._ends += WINDOW_S * (1 + (sample.done_at - self._ends) // WINDOW_S)
        self._samples.append(sample)

    def end(self) -> list[Window]:
        """Close the last window if it is at least half full, and give all."""
        if self._begin is not None and self._samples and self._samples[-1].done_at > self._ends - WINDOW_S / 2:
            self._close(self._samples[-1].done_at - self._begin)
        return self.found

    def _close(self, at_s: float) -> None:
        samples, self._samples = self._samples, []
        took = sorted(sample.took_ms for sample in samples)
        hits = [sample for sample in samples if sample.source in HITS]
        window = Window(
            at_s=at_s,
            requests=len(samples),
            failed=sum(sample.source is Source.FAILED for sample in samples),
            hits=len(hits),
            wrong=sum(sample.is_right is False for sample in hits),
            p50_ms=figures.percentile(took, 50),
            p99_ms=figures.percentile(took, 99),
            used=self.read(),
        )
        self.found.append(window)
        self.on_window(window)


def verdict(windows: Sequence[Window], judged: Sequence[str] = ("deja",)) -> Verdict:
    """Judge a soak.

    Args:
        windows: in order of time, at least one.
        judged: processes whose memory may not grow. A Redis that stores what is asked does.
    """
    settled_at = min(SETTLING_S, windows[-1].at_s / 3)
    settled = [window for window in windows if window.at_s > settled_at]
    seconds = settled[-1].at_s - settled[0].at_s
    growth: dict[str, float] = {}
    complaints = []
    for name in settled[-1].used.rss_mb:
        points = [(window.at_s, window.used.rss_mb[name]) for window in settled]
        growth[name] = round(figures.slope(points) * seconds, 2)
        allowed = max(GROWTH_MB, GROWTH_SHARE * statistics.median(rss for _, rss in points))
        if name in judged and growth[name] > allowed:
            complaints.append(
                f"memory of {name} grew by {growth[name]:.1f} MB in {seconds:.0f} s, more than {allowed:.1f}"
            )
    drift = figures.drift([window.p99_ms for window in settled])
    if drift > DRIFT_SHARE:
        complaints.append(f"p99 rose by {drift:.0%}, more than {DRIFT_SHARE:.0%}")
    if failed := sum(window.failed for window in windows):
        complaints.append(f"{failed} requests failed")
    return Verdict(
        sum(window.requests for window in windows),
        failed,
        sum(window.hits for window in windows),
        sum(window.wrong for window in windows),
        growth,
        round(drift, 3),
        tuple(complaints),
    )
