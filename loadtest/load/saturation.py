"""How much is too much: the most a server answers, and the highest rate at which its callers still wait no longer than they accept.

The two differ. At the most, every connection waits its turn; what can be promised is below it. The search is pure: it is given a probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PRECISION = 0.05
"""The search ends when the rates it lies between differ by less than this share."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, tried.

    Attributes:
        rate: requests a second.
        p99_ms: from the moment each was due.
        failed: requests without an answer.
        is_sustained: whether none failed and p99 was within the limit.
    """

    rate: float
    p99_ms: float
    failed: int
    is_sustained: bool


@dataclass(frozen=True, slots=True)
class Saturation:
    """What was found.

    Attributes:
        most_per_s: answers a second at most, whatever the wait.
        sustained_per_s: highest rate that was sustained; 0 where none was.
        limit_ms: on p99.
        steps: all that were tried.
    """

    most_per_s: float
    sustained_per_s: float
    limit_ms: float
    steps: tuple[Step, ...]


def search(probe: Callable[[float], Step], most_per_s: float, limit_ms: float) -> Saturation:
    """Find the highest sustained rate.

    Args:
        probe: tries a rate.
        most_per_s: what the server answers at most, above 0; rates are tried up to it.
        limit_ms: on p99; told on, the probe judges.
    """
    steps = [probe(most_per_s / 2)]
    low, high = (most_per_s / 2, most_per_s) if steps[0].is_sustained else (0.0, most_per_s / 2)
    while (high - low) > PRECISION * most_per_s:
        middle = (low + high) / 2
        steps.append(probe(middle))
        low, high = (middle, high) if steps[-1].is_sustained else (low, middle)
    return Saturation(most_per_s, low, limit_ms, tuple(steps))
