"""Which acceptance level keeps a wrong-hit rate: proved on labelled pairs that nothing was fitted to.

**What is guaranteed.** Let the labelled pairs be independent draws of what reaches the judge (each the best candidate of one
question), unused in fitting the calibration. Then with chance at least 1 - `DELTA` over those draws, the level returned for a budget has
a wrong-hit rate (wrong hits / hits, in traffic of the same mixture) within the budget. No distribution is assumed; what is assumed
is that candidates do not get *worse* on average as their confidence rises. It holds for one budget at a time, for the pooled
mixture and not for each domain in it (`by_domain` shows those), and says nothing of traffic that is unlike the pairs.

**Prevalence.** A wrong-hit rate is no property of the judge alone: with twice as many different pairs among the candidates, twice the
share of the hits is wrong at the same level. The labelled pairs stand for traffic only if their mixture does, domain by domain and same
against different; `reweighted` states the mixture meant, and live audits (`core.budget`) correct what it gets wrong.

**Why it holds.** Candidates are read from the surest down. Let N of them lie above the point where the wrong-hit rate of the
population crosses the budget α. Given N, those are independent draws that are wrong with chance exactly α, and all below are
wrong with chance ≥ α.

*Equal weights*: ranks are fixed before labels are seen and tested in order, each by the exact binomial test at `DELTA`, until one fails
(fixed-sequence testing, as in Learn then Test: Angelopoulos, Bates, Candès, Jordan and Lei 2021). An error needs the first rank beyond
N to pass, where the wrong count is stochastically at least Binomial(n, α): chance ≤ `DELTA`.

*Weights*: the wealth ∏(1 - b W (wrong - α)), a bet on every candidate, has mean ≤ 1 at N and is a supermartingale beyond it, so by
Ville's inequality it reaches 1/`DELTA` anywhere beyond N with chance ≤ `DELTA`: the last candidate at which it is as large may be
chosen. Fixed counts in each domain keep this true, since ∏(1 - x_i) ≤ exp(-∑x_i). (Waudby-Smith and Ramdas 2024.) Wealth must stay
positive, and only a wrong candidate costs any: so it is the largest weight among the *different* pairs that bounds a bet. Where these are
plenty and stand for little each, the bets beat an exact test on pairs drawn by weight: of what the shipped calibration could find at a true
rate of 1 %, they certify nine tenths, the test on 17,000 pairs drawn of 58,000 less than eight.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.core.confidence import EXACT_ONLY
from proxy.core.sequences import Interval, binomial_cdf, binomial_interval, log_mean_exp

DELTA = 0.05
"""Chance that the calibration sample misleads, for one budget."""

BUDGETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1)
"""Budgets a table is made for: whoever asks for something between two of them gets the stricter one's level."""

_BETS = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)  # of the largest allowed; 1 - rate/budget is the best, and the rate is unknown
_GROWTH = 1.04  # from one tested rank to the next: finer finds no more, and each is another chance to stop early
_SPARED = 8  # wrong hits that the first rank may hold; fewer where pairs are scarce. One rank that tolerates none stops half of all tables
_START_SHARE = 0.25  # the first rank lies within this share of the pairs that are more likely right than not


class Scored(NamedTuple):
    """A labelled pair.

    Args:
        confidence: that the calibration gives it, in [0, 1].
        is_same: whether the stored answer does serve.
        weight: how much traffic it stands for, relative to the others; may depend on domain and label, on nothing else.
        domain: kind of traffic.
    """

    confidence: float
    is_same: bool
    weight: float = 1.0
    domain: str = ""


@dataclass(frozen=True, slots=True)
class DomainRow:
    """What one kind of traffic sees at a level.

    Attributes:
        pairs: labelled pairs.
        hits: of them, those at or above the level.
        wrong: of the hits, those labelled different.
        found: share of the same pairs that are hits; None without same pairs.
        rate: wrong / hits with its exact 95 % interval.
    """

    pairs: int
    hits: int
    wrong: int
    found: float | None
    rate: Interval


def levels_for(scored: Sequence[Scored], budgets: Sequence[float] = BUDGETS) -> dict[float, float]:
    """Give the lowest certified level of each budget, `EXACT_ONLY` where none is.

    Args:
        scored: labelled pairs, in any order, none used in fitting. Pairs of equal weight get the exact binomial test, others the bets.
        budgets: wrong-hit rates in (0, 1).

    Returns:
        Budget -> level, budgets rising and levels never rising: a stricter budget takes over a looser one's level where chance
        certified it a lower one, which only makes it stricter.

    Raises:
        ValueError: a confidence or a weight out of range.
    """
    ranked = sorted(scored, key=lambda pair: -pair.confidence)
    for pair in ranked:
        if not (0 <= pair.confidence <= 1 and 0 < pair.weight < math.inf):
            raise ValueError(f"a pair's confidence must be in [0, 1] and its weight positive, not {pair[0]}, {pair[2]}")
    is_plain = len({pair.weight for pair in ranked}) <= 1
    level, table = 0.0, {}
    for budget in sorted(budgets, reverse=True):
        last = _last_by_test(ranked, budget) if is_plain else _last_by_bets(ranked, budget)
        level = max(level, ranked[last - 1].confidence if last else EXACT_ONLY)
        table[budget] = level
    return dict(sorted(table.items()))


def reweighted(
    scored: Sequence[Scored], shares: Mapping[str, float], same: Mapping[str, float] | None = None
) -> list[Scored]:
    """Weigh labelled pairs as a mixture of traffic.

    Args:
        scored: labelled pairs.
        shares: domain -> its share of the candidates that reach the judge, relative; domains left out are dropped.
        same: domain -> share of its candidates whose stored answer serves, in (0, 1); as labelled where it says nothing.

    Returns:
        The pairs of those domains; weights have a mean of 1.

    Raises:
        ValueError: a domain has no pairs, or none of a label that it must have.
    """
    counts = Counter((pair.domain, pair.is_same) for pair in scored)
    weights: dict[tuple[str, bool], float] = {}
    for domain, share in shares.items():
        total = counts[domain, True] + counts[domain, False]
        if not total:
            raise ValueError(f"the mixture needs pairs of {domain!r}, and there are none")
        wanted = (same or {}).get(domain)
        for label in (True, False):
            part = (
                counts[domain, label] / total
                if wanted is None and total
                else (wanted or 0)
                if label
                else 1 - (wanted or 0)
            )
            if part and not counts[domain, label]:
                raise ValueError(f"the mixture needs pairs of {domain!r} labelled {'same' if label else 'different'}")
            weights[domain, label] = share * part / max(1, counts[domain, label])
    kept = [pair for pair in scored if weights.get((pair.domain, pair.is_same), 0) > 0]
    scale = len(kept) / math.fsum(weights[pair.domain, pair.is_same] for pair in kept)
    return [pair._replace(weight=scale * weights[pair.domain, pair.is_same]) for pair in kept]


def by_domain(scored: Sequence[Scored], level: float) -> dict[str, DomainRow]:
    """Give what each kind of traffic sees at a level; counts of pairs, weights left aside. Domains in alphabetical order."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for pair in scored:
        groups[pair.domain].append(pair)
    rows = {}
    for domain, pairs in sorted(groups.items()):
        hits = [pair for pair in pairs if pair.confidence >= level]
        wrong, same = sum(not pair.is_same for pair in hits), sum(pair.is_same for pair in pairs)
        found = (len(hits) - wrong) / same if same else None
        rows[domain] = DomainRow(len(pairs), len(hits), wrong, found, binomial_interval(wrong, len(hits), 0.05))
    return rows


def _last_by_test(ranked: Sequence[Scored], budget: float) -> int:
    """How many of the ranked pairs pass the exact tests in sequence; 0 for none."""
    last, done, wrong = 0, 0, 0
    for rank in _ranks(ranked, budget):
        wrong += sum(not pair.is_same for pair in ranked[done:rank])
        done = rank
        if binomial_cdf(wrong, rank, budget) > DELTA:
            break
        last = rank
    return last


def _ranks(ranked: Sequence[Scored], budget: float) -> Iterator[int]:
    """Ranks to test, rising, each at the end of its ties; they depend on confidences and never on labels."""
    likely = sum(pair.confidence >= 0.5 for pair in ranked)
    starts = [_smallest(spared, budget) for spared in range(_SPARED + 1)]
    rank = float(max((start for start in starts if start <= likely * _START_SHARE), default=starts[0]))
    tested = 0
    while rank <= len(ranked):
        end = max(int(rank), tested + 1)
        while end < len(ranked) and ranked[end].confidence == ranked[end - 1].confidence:
            end += 1
        if end > len(ranked):
            return
        yield end
        tested = end
        rank = max(rank * _GROWTH, end + 1)


def _smallest(wrong: int, budget: float) -> int:
    """How many hits, `wrong` of them wrong, are enough to pass the test."""
    low, high = wrong, math.ceil(8 * (wrong + 3) / budget)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if binomial_cdf(wrong, middle, budget) <= DELTA else (middle, high)
    return high


def _last_by_bets(ranked: Sequence[Scored], budget: float) -> int:
    """How many of the ranked pairs can be accepted by the wealth of bets; 0 for none."""
    largest = max((pair.weight for pair in ranked if not pair.is_same), default=1.0)
    stakes = [bet / ((1 - budget) * largest) for bet in _BETS]
    wealth, last = [0.0] * len(stakes), 0
    for rank, pair in enumerate(ranked, 1):
        gain = pair.weight * (budget if pair.is_same else budget - 1)
        wealth = [log + math.log1p(stake * gain) for log, stake in zip(wealth, stakes, strict=True)]
        is_last_of_ties = rank == len(ranked) or ranked[rank].confidence < pair.confidence
        if is_last_of_ties and log_mean_exp(wealth) >= -math.log(DELTA):
            last = rank
    return last
