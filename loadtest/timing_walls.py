"""Can time tell what another tenant asked? Misses with and without another tenant's matching entry, compared by a two-sample KS test.

    python -m loadtest.timing_walls                    10,000 calls against a `deja serve` of its own; exits 1 where p <= 0.01
    python -m loadtest.timing_walls --calls 1000       a first look

In each round the victim asks a question, and the attacker, on one connection, asks either the same one or another of the same form, drawn
by lot; both are new to the attacker, so both are misses, and near to what it has stored itself, so that they are read, compared and judged.
It asks with `only-if-cached`, which is the sharpest: no provider's time blurs the cache's. Were anything remembered across tenants (an
embedding, a score, how a text reads, a parsed body), the first kind would be quicker. To see that the test sees it, run it with
`--same-tenant`, where the attacker has the victim's key: its calls are then hits, and p is next to nothing.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

OWN = 50
"""Questions of the attacker's own that have been answered: neighbours, without which nothing would be read, compared or judged."""
WARM_UP = 100
"""Rounds that are not counted: first calls of a model, of a connection, of a page of memory."""
P_MIN = 0.01
_WHAT = (
    "boiler",
    "violin",
    "router",
    "garden",
    "lease",
    "engine",
    "visa",
    "mortgage",
    "parcel",
    "printer",
    "kettle",
    "roof",
    "passport",
    "bicycle",
)
_DONE = (
    "repair",
    "insure",
    "replace",
    "clean",
    "sell",
    "register",
    "cancel",
    "describe",
    "transport",
    "store",
    "measure",
    "paint",
)
_WHERE = (
    "Oslo",
    "Lima",
    "Accra",
    "Hanoi",
    "Quito",
    "Turin",
    "Perth",
    "Leeds",
    "Izmir",
    "Porto",
    "Malmo",
    "Tampa",
    "Delhi",
    "Cairo",
)
_WHO = (
    "a tenant",
    "my aunt",
    "the school",
    "a farmer",
    "our club",
    "the museum",
    "a nurse",
    "two students",
    "the baker",
    "a pilot",
)
_HOW = (
    "quietly",
    "by hand",
    "without tools",
    "in winter",
    "for little money",
    "at night",
    "with a friend",
    "step by step",
)


def questions(seed: int) -> Iterator[str]:
    """Questions of one form, each once, in an order of chance; 188,160 of them."""
    every = list(itertools.product(_DONE, _WHAT, _WHO, _WHERE, _HOW))
    random.Random(seed).shuffle(every)
    for done, what, who, where, how in every:
        yield f"How can {who} in {where} {done} the {what} {how}?"


def ks_p(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov: the statistic, and the probability of one as large by chance.

    Source: Press et al., Numerical Recipes, 14.3.3, with Stephens' correction for finite samples.
    """
    first, second = sorted(one), sorted(other)
    i = j = 0
    statistic = 0.0
    while i < len(first) and j < len(second):
        value = min(first[i], second[j])
        while i < len(first) and first[i] <= value:
            i += 1
        while j < len(second) and second[j] <= value:
            j += 1
        statistic = max(statistic, abs(i / len(first) - j / len(second)))
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    if scaled < 0.2:
        return statistic, 1.0  # the series converges too slowly to tell it from 1
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return statistic, min(1.0, max(0.0, sum(terms)))


def measure(root: str, victim: str, attacker: str, *, calls: int, seed: int) -> tuple[list[float], list[float]]:
    """Seconds of the attacker's calls: where the victim had asked the same, and where it had asked something else."""
    fresh, lot = questions(seed), random.Random(seed)
    same: list[float] = []
    other: list[float] = []
    with httpx.Client(base_url=root, timeout=30) as theirs, httpx.Client(base_url=root, timeout=30) as mine:
        for question in itertools.islice(fresh, OWN):
            _ask(mine, attacker, question, {})
        for number in range(WARM_UP + calls):
            question = next(fresh)
            _ask(theirs, victim, question, {})
            is_same = lot.random() < 0.5
            asked = question if is_same else next(fresh)
            began = time.perf_counter()
            _ask(mine, attacker, asked, {"cache-control": "only-if-cached"})
            took_s = time.perf_counter() - began
            if number >= WARM_UP:
                (same if is_same else other).append(took_s)
    return same, other


def _ask(client: httpx.Client, key: str, question: str, headers: dict[str, str]) -> None:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": question}]}
    told = client.post("/v1/chat/completions", json=body, headers=headers | {"authorization": f"Bearer {key}"})
    assert told.status_code in (200, 504), told.text


def main() -> int:
    """Measure a Deja of its own; 1 where the two can be told apart."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--same-tenant", action="store_true")
    given = parser.parse_args()
    from tests.deja_process import running_deja

    with running_deja() as deja:
        attacker = "victim" if given.same_tenant else "attacker"
        same, other = measure(deja.root, "victim", attacker, calls=given.calls, seed=given.seed)
    statistic, p = ks_p(same, other)
    for name, sample in (("the same question", same), ("another question", other)):
        quartiles = " ".join(f"{each * 1000:.3f}" for each in statistics.quantiles(sample, n=4))
        print(f"victim had asked {name:18} {len(sample):6} calls, quartiles {quartiles} ms")
    print(f"KS statistic {statistic:.4f}, p = {p:.4g}: {'indistinguishable' if p > P_MIN else 'DISTINGUISHABLE'}")
    return 0 if p > P_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
