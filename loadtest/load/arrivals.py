"""When requests come: moments in seconds after the begin, rising, without end. Pure and seeded.

Poisson is what many independent users make: the gaps vary, so some requests come close together, and a server that is fine at the mean
rate queues now and then. Bursts are what a fleet of agents makes that is started by the same event.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

BURST = 20
"""Requests of a burst: about what a fan-out of agents sends at once."""


def constant(rate: float, seed: int = 0) -> Iterator[float]:
    """Every 1/rate seconds; the seed changes nothing."""
    del seed
    return (number / rate for number in itertools.count())


def poisson(rate: float, seed: int = 0) -> Iterator[float]:
    """Gaps drawn from an exponential distribution of mean 1/rate seconds."""
    draw = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += draw.expovariate(rate)
        yield at_s


def bursts(rate: float, seed: int = 0) -> Iterator[float]:
    """`BURST` at the same moment, the bursts themselves as Poisson has them, so that the mean is the rate."""
    for at_s in poisson(rate / BURST, seed):
        yield from itertools.repeat(at_s, BURST)


ARRIVALS: dict[str, Callable[[float, int], Iterator[float]]] = {
    "poisson": poisson,
    "constant": constant,
    "bursts": bursts,
}
"""By name; called with the mean rate per second, above 0, and a seed."""
