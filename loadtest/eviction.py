"""What each way of choosing who goes saves under a tight cap, in money, on one seeded stream of requests.

    python -m loadtest.eviction [--requests 300000] [--seed 1]

Prompts are asked by Zipf's law; every day a share of the popular ones gives its place to new ones. Each has a model, cheap or dear, and an
answer, short or long; an entry takes what one takes in Redis. Nothing here touches Redis: `core.worth` itself ranks.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from proxy.core import worth

DAY_S = 86_400.0
PROMPTS = 100_000
ZIPF = 0.9
"""Exponent; logs of questions to search engines and assistants have 0.7 to 1."""
DAYS = 7
CHANGED_DAILY = 0.2
"""Of the popular prompts' places that go to new prompts each day."""
POPULAR = 5000
MODELS = ((0.6, 150_000, 600_000), (0.3, 2_500_000, 10_000_000), (0.1, 15_000_000, 75_000_000))
"""Share, and pico-USD of an input and of an output token: list prices of a small, a usual and a large model."""
ENTRY_BYTES = 5800
"""Of an entry without its answer: decision 0016."""
ROUND = 20
"""Entries that go together where some are looked at."""
CAPS = (0.02, 0.05, 0.1, 0.2)
"""Of what all that is ever asked would take."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A stream: prompt and moment of each request; cost in pico-USD and bytes of each prompt."""

    prompts: list[int]
    at_s: list[float]
    costs: list[int]
    sizes: list[int]


def traffic(requests: int, seed: int) -> Traffic:
    """The same stream for a seed."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, PROMPTS + 1) ** -ZIPF
    ranks = rng.choice(PROMPTS, size=requests, p=share / share.sum())
    at_s = np.sort(rng.uniform(0, DAYS * DAY_S, requests))
    who = np.arange(PROMPTS)
    known, prompts = PROMPTS, np.empty(requests, dtype=np.int64)
    for day in range(DAYS):
        today = (at_s // DAY_S) == day
        prompts[today] = who[ranks[today]]
        leaving = rng.choice(POPULAR, size=int(POPULAR * CHANGED_DAILY), replace=False)
        who[leaving] = np.arange(known, known + len(leaving))
        known += len(leaving)
    kinds = rng.choice(len(MODELS), size=known, p=[share for share, _, _ in MODELS])
    inputs, outputs = rng.lognormal(np.log(400), 1.0, known), rng.lognormal(np.log(250), 0.9, known)
    costs = [
        int(asked * MODELS[kind][1] + said * MODELS[kind][2])
        for kind, asked, said in zip(kinds, inputs, outputs, strict=True)
    ]
    return Traffic(prompts.tolist(), at_s.tolist(), costs, (ENTRY_BYTES + 4 * outputs).astype(int).tolist())


@dataclass(slots=True)
class Kept:
    """An entry; `score` says who goes first."""

    prompt: int
    cost: int
    size: int
    stored_at: float
    used_at: float
    uses: int = 1
    hits: float | None = None
    score: float = 0.0
    place: int = field(default=-1)


Rank = Callable[[Kept, "Cache"], float]


class Cache:
    """A cache of so many bytes that removes what has the lowest score, of all or of some that it looks at."""

    def __init__(self, cap_bytes: float, rank: Rank, *, looks: int | None, seed: int) -> None:
        self._cap, self._rank, self._looks = cap_bytes, rank, looks
        self._random = random.Random(seed)
        self._kept: dict[int, Kept] = {}
        self._order: list[Kept] = []
        self._heap: list[tuple[float, int]] = []
        self._size = 0
        self.floor = 0.0
        """Score of the last that went: what greedy-dual adds to those that come."""

    def asked(self, prompt: int, cost: int, size: int, now_s: float) -> bool:
        """Whether it was there; it is now."""
        kept = self._kept.get(prompt)
        if kept is not None:
            kept.uses, kept.used_at = kept.uses + 1, now_s
            earned = worth.earned(cost, at_s=now_s)
            kept.hits = earned if kept.hits is None else worth.together(kept.hits, earned)
            self._score(kept)
            return True
        kept = self._kept[prompt] = Kept(prompt, cost, size, now_s, now_s, place=len(self._order))
        self._order.append(kept)
        self._size += size
        self._score(kept)
        while self._size > self._cap:
            for each in self._lowest():
                self._drop(each)
        return False

    def _score(self, kept: Kept) -> None:
        kept.score = self._rank(kept, self)
        if self._looks is None:
            heapq.heappush(self._heap, (kept.score, kept.prompt))

    def _lowest(self) -> list[Kept]:
        if self._looks is not None:
            looked_at = self._random.sample(self._order, min(len(self._order), ROUND * self._looks))
            return heapq.nsmallest(ROUND, looked_at, key=lambda one: one.score)
        while True:
            score, prompt = heapq.heappop(self._heap)
            kept = self._kept.get(prompt)
            if kept is not None and kept.score == score:
                return [kept]

    def _drop(self, kept: Kept) -> None:
        self.floor = max(self.floor, kept.score)
        del self._kept[kept.prompt]
        last = self._order.pop()
        if last is not kept:
            self._order[kept.place], last.place = last, kept.place
        self._size -= kept.size


def _worth(kept: Kept, _: Cache) -> float:
    return worth.worth(kept.cost, created_at=kept.stored_at, hits=kept.hits, size_bytes=kept.size)


WAYS: dict[str, tuple[Rank, int | None]] = {
    "first stored (what it was until now)": (lambda kept, _: kept.stored_at, None),
    "least recently used": (lambda kept, _: kept.used_at, None),
    "least often used": (lambda kept, _: kept.uses + kept.used_at * 1e-9, None),
    "greedy-dual by size and frequency": (lambda kept, all_: all_.floor + kept.uses * kept.cost / kept.size, None),
    "worth, the least of all": (_worth, None),
    "worth, half of those looked at": (_worth, 2),
    "**worth, a fifth of them (as built)**": (_worth, 5),
    "worth, a tenth of them": (_worth, 10),
}


def saved(stream: Traffic, rank: Rank, looks: int | None, cap: float) -> tuple[float, float]:
    """Shares that were saved, of the money and of the calls that a cache without a cap saves."""
    asked = set(stream.prompts)
    cache = Cache(cap * sum(stream.sizes[prompt] for prompt in asked), rank, looks=looks, seed=1)
    money = hits = 0
    for prompt, now_s in zip(stream.prompts, stream.at_s, strict=True):
        cost = stream.costs[prompt]
        if cache.asked(prompt, cost, stream.sizes[prompt], now_s):
            money, hits = money + cost, hits + 1
    every = sum(stream.costs[prompt] for prompt in stream.prompts) - sum(stream.costs[prompt] for prompt in asked)
    return money / every, hits / (len(stream.prompts) - len(asked))


@contextmanager
def constants(half_life_s: float, hope: float) -> Iterator[None]:
    """Other values of `core.worth`, for a while."""
    before = worth.HALF_LIFE_S, worth.HOPE
    worth.HALF_LIFE_S, worth.HOPE = half_life_s, hope
    try:
        yield
    finally:
        worth.HALF_LIFE_S, worth.HOPE = before


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    stream = traffic(given.requests, given.seed)
    print("Share of the money (and of the calls) that a cache without a cap saves, by cap:\n")
    print(f"| what goes first | {' | '.join(f'{cap:.0%}' for cap in CAPS)} |\n|---|{'---|' * len(CAPS)}")
    for name, (rank, looks) in WAYS.items():
        found = [saved(stream, rank, looks, cap) for cap in CAPS]
        print(f"| {name} | {' | '.join(f'{money:.1%} ({calls:.1%})' for money, calls in found)} |", flush=True)
    hopes = (0.03, 0.3, 1.0)
    print(f"\nMoney at a cap of 5 %, by half-life and hope:\n\n| | {' | '.join(map(str, hopes))} |\n|---|---|---|---|")
    for hours in (1, 6, 24, 168):
        row = []
        for hope in hopes:
            with constants(hours * 3600.0, hope):
                row.append(f"{saved(stream, _worth, 5, 0.05)[0]:.1%}")
        print(f"| {hours} h | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
