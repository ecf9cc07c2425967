"""Streams for the simulation of the error budget: what reaches the judge, with the truth known, and how it drifts.

A candidate is a score, drawn from N(gap, 1) where the stored answer serves and from N(offset, spread) where it does not. Gaps and
spreads of each domain are those at which the verifier's measured found-at-accepted curve would arise (decision 0006, "what each
score can tell apart", at 0.5, 1, 2 and 5 % accepted). A calibration is fitted anew for each run on its own finite sample, so that its
errors are part of what is simulated. Everything is drawn from the generator handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.core.certificates import Scored, levels_for
from proxy.core.confidence import BIN_COUNT, EXACT_ONLY, FEATURES, Calibration, bin_level

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

REQUESTS = 50_000
CHANGE = 20_000
"""Request at which what changes abruptly does."""

HAS_CANDIDATE = 0.7  # of the requests; the others have no neighbour at all
_FITTED, _CERTIFIED = 20_000, 20_000  # labelled candidates per run, for the map and for the levels
_MAP_BINS = 60


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of traffic.

    Attributes:
        same: share of its candidates whose stored answer serves.
        gap: mean score of those; their spread is 1.
        spread: of the scores of the others.
        offset: mean score of the others.
    """

    same: float
    gap: float
    spread: float
    offset: float = 0.0


SUPPORT = Domain(0.7, 2.21, 0.79)  # 59 / 65 / 73 / 83 % found
EDITED = Domain(0.6, 2.71, 0.75)  # one word changed (CheckList perturbed): 79 / 84 / 88 / 93 %
CROWD = Domain(0.5, 2.43, 1.34)  # Quora: 14 / 25 / 35 / 57 %, labels as noisy as they are
BANKING = Domain(0.5, 1.45, 0.92, 0.4)  # intents apart by one word: 18 / 25 / 34 / 47 %; near misses that score higher

USUAL = ((0.55, SUPPORT), (0.35, EDITED), (0.10, CROWD))
"""The mixture that calibrations are made for."""

CHANGED = ((0.4, SUPPORT), (0.6, BANKING))


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a stream differs from what was calibrated.

    Attributes:
        name: short.
        tells: in a sentence.
        since: request from which it differs; 0 is the start, None never.
        factor: by which the odds of being wrong are multiplied then.
        factor_before: and from the start.
        until: request by which `factor` is reached, growing steadily; None for at once.
        domains: the mixture then.
        traps: share of the candidates that are wrong and score like right ones, from `since` for `trap_requests`.
        judge_error: chance that one look of the judge is mistaken, either way.
        looks: False for a judge that is asked only once.
        pool: log odds that a pool of other namespaces believes in; None for no pool.
    """

    name: str
    tells: str
    since: int | None = None
    factor: float = 1.0
    factor_before: float = 1.0
    until: int | None = None
    domains: tuple[tuple[float, Domain], ...] = USUAL
    traps: float = 0.0
    trap_requests: int = 5000
    judge_error: float = 0.0
    looks: bool = True
    pool: float | None = None


SCENARIOS = (
    Scenario("none", "traffic is like the calibration's"),
    Scenario(
        "prevalence ×3",
        "from request 20,000 the odds that a candidate differs are three times as high",
        CHANGE,
        factor=3.0,
    ),
    Scenario(
        "optimistic ×2", "from the start, twice the odds of being wrong that the calibration says", 0, factor_before=2.0
    ),
    Scenario("optimistic ×5", "from the start, five times", 0, factor_before=5.0),
    Scenario(
        "optimistic ×5, known pool",
        "the same, for a namespace whose pool knows",
        0,
        factor_before=5.0,
        pool=math.log(5),
    ),
    Scenario(
        "domain change", "from request 20,000, 60 % of the traffic are banking questions", CHANGE, domains=CHANGED
    ),
    Scenario("slow drift ×4", "the odds grow steadily from request 10,000 to 40,000", 10_000, factor=4.0, until=40_000),
    Scenario(
        "burst of traps",
        "for 5,000 requests one candidate in 20 is wrong and scores like a right one",
        CHANGE,
        traps=0.05,
    ),
    Scenario("judge 10 %", "no drift; each look of the judge errs one time in ten", judge_error=0.1),
    Scenario("judge 20 %", "no drift; one time in five", judge_error=0.2),
    Scenario(
        "judge 10 %, ×5", "five times the odds from the start, and that judge", 0, factor_before=5.0, judge_error=0.1
    ),
    Scenario(
        "judge 20 %, ×5", "five times the odds from the start, and that judge", 0, factor_before=5.0, judge_error=0.2
    ),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """One run's requests, (n,) each.

    Attributes:
        confidence: of the best candidate; -1 where there is none.
        is_wrong: whether its answer would be wrong.
        chance: the true chance of that, given its score.
    """

    confidence: Floats
    is_wrong: Bools
    chance: Floats


def calibrate(rng: np.random.Generator, budget: float) -> tuple[Calibration, Floats, Floats]:
    """Fit a map from score to confidence on one sample and certify the level on another.

    Returns:
        The calibration, and its knots: scores and confidences, for `np.interp`.
    """
    scores, is_wrong, _ = _draw(rng, _FITTED, USUAL)
    groups = np.array_split(np.argsort(scores), _MAP_BINS)
    knots = np.array([scores[group].mean() for group in groups])
    chances = _isotonic([(int(np.sum(~is_wrong[group])), len(group)) for group in groups])
    scores, is_wrong, _ = _draw(rng, _CERTIFIED, USUAL)
    confidence = np.interp(scores, knots, chances)
    labelled = [Scored(float(c), not bool(w)) for c, w in zip(confidence, is_wrong, strict=True)]
    table = levels_for(labelled, [budget])
    shares = np.bincount(bins_of(confidence), minlength=BIN_COUNT) / len(confidence)
    weights = tuple(float(name == "logit") for name in FEATURES)
    pairs = tuple((float(x), float(p)) for x, p in zip(knots, chances, strict=True))
    return (
        Calibration("simulated", 0.0, weights, {}, pairs, tuple(table.items()), tuple(shares.tolist())),
        knots,
        chances,
    )


def stream(rng: np.random.Generator, scenario: Scenario, knots: Floats, chances: Floats) -> Stream:
    """Draw a run's requests."""
    at = np.arange(REQUESTS)
    scores, is_wrong, chance = _draw(rng, REQUESTS, USUAL)
    if scenario.since is not None and scenario.domains is not USUAL:
        new = at >= scenario.since
        scores[new], is_wrong[new], chance[new] = _draw(rng, int(new.sum()), scenario.domains)
    shift = _shifts(scenario, at)
    odds = np.exp(shift) * chance / np.maximum(1e-12, 1 - chance)
    chance = odds / (1 + odds)
    is_wrong = np.where(shift == 0, is_wrong, rng.random(REQUESTS) < chance)
    if scenario.traps:
        assert scenario.since is not None
        within = (at >= scenario.since) & (at < scenario.since + scenario.trap_requests)
        traps = within & (rng.random(REQUESTS) < scenario.traps)
        likely, _, _ = _draw(rng, 4 * REQUESTS, USUAL, only_same=True)
        scores = np.where(traps, likely[:REQUESTS], scores)
        is_wrong, chance = is_wrong | traps, np.where(traps, 1.0, chance)
    confidence = np.interp(scores, knots, chances)
    confidence[rng.random(REQUESTS) >= HAS_CANDIDATE] = -1.0
    return Stream(confidence, is_wrong, chance)


def bins_of(confidence: Floats) -> NDArray[np.int64]:
    """`core.confidence.bin_of` for arrays."""
    edges = np.array([bin_level(i) for i in range(1, BIN_COUNT)])
    return np.searchsorted(edges, confidence, side="right").astype(np.int64)


def oracle_level(confidence: Floats, chance: Floats, budget: float) -> float:
    """Give the lowest level that keeps the budget, for one who knows the true chances; `EXACT_ONLY` if none does."""
    order = np.argsort(-confidence, kind="stable")
    rate = np.cumsum(chance[order]) / np.arange(1, len(order) + 1)
    within = np.nonzero(rate <= budget)[0]
    return float(confidence[order[within[-1]]]) if len(within) else EXACT_ONLY


def _draw(
    rng: np.random.Generator, count: int, mixture: tuple[tuple[float, Domain], ...], *, only_same: bool = False
) -> tuple[Floats, Bools, Floats]:
    """Scores, whether wrong, and the true chance of that given score and mixture."""
    which = rng.choice(len(mixture), count, p=[share for share, _ in mixture])
    same, gap, spread, offset = (
        np.array([getattr(domain, name) for _, domain in mixture])[which]
        for name in ("same", "gap", "spread", "offset")
    )
    is_wrong = np.zeros(count, bool) if only_same else rng.random(count) >= same
    noise = rng.standard_normal(count)
    scores = np.where(is_wrong, offset + spread * noise, gap + noise)
    right_density, wrong_density = np.zeros(count), np.zeros(count)
    for share, domain in mixture:
        right_density += share * domain.same * np.exp(-0.5 * (scores - domain.gap) ** 2)
        scaled = (scores - domain.offset) / domain.spread
        wrong_density += share * (1 - domain.same) * np.exp(-0.5 * scaled**2) / domain.spread
    return scores, is_wrong, wrong_density / (right_density + wrong_density)


def _shifts(scenario: Scenario, at: NDArray[np.int64]) -> Floats:
    """Log of the factor on the odds of being wrong, for each request."""
    before, after = math.log(scenario.factor_before), math.log(scenario.factor)
    if not scenario.since:
        return np.full(len(at), before)
    length = 1 if scenario.until is None else scenario.until - scenario.since
    return before + (after - before) * np.clip((at - scenario.since + 1) / length, 0.0, 1.0)


def _isotonic(counts: Sequence[tuple[int, int]]) -> Floats:
    """Pool neighbours that are out of order: (right, of how many) from low scores to high -> chance of each to be right.

    Half a wrong one is added to each pool, and not before pooling, so that a few thousand right answers in a row say more than a few
    hundred, and none say certain.
    """
    pools: list[tuple[float, int, int]] = []
    for right, size in counts:
        pools.append((right, size, 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            (a, n, i), (b, m, j) = pools[-2:]
            pools[-2:] = [(a + b, n + m, i + j)]
    chances = np.concatenate([np.full(width, (right + 0.5) / (size + 1)) for right, size, width in pools])
    return np.maximum.accumulate(chances)
