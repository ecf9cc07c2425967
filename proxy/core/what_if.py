"""What another error budget would have done with traffic that was recorded: which hits would go, which would come, how many be wrong.

A replay asks the recorded candidates again, at another level. What refuses by itself (a hard gate, feedback) refuses at every level, so a
level can only move the line that confidence has to cross. What it cannot know: a candidate whose confidence was not computed because it
could not matter then (`undecided`), and that another hit rate would have stored other answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.core.decision_log import DecisionRecord, Seen

CHANCE = 0.05
"""That the count of wrong hits lies outside the interval, if the confidences are right: half of it at each end."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two wordings whose hit would change.

    Attributes:
        asked: what was asked.
        question: the stored question.
        confidence: probability that the stored answer serves.
        similarity: cosine, in [-1, 1].
        count: how often they met.
        request_id: of the latest of these.
    """

    asked: str
    question: str
    confidence: float
    similarity: float
    count: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Semantic hits under one level.

    Attributes:
        hits: how many.
        expected_wrong: sum of what their confidences leave to chance; of hits without a confidence nothing is known.
        low: wrong hits at least, at 95 % if the confidences are right.
        high: at most.
        unscored: hits that bear no confidence, and so are not in the three above.
    """

    hits: int
    expected_wrong: float
    low: int
    high: int
    unscored: int = 0

    @property
    def wrong_rate(self) -> float | None:
        """Expected share of wrong ones among the hits that bear a confidence; None if there are none."""
        scored = self.hits - self.unscored
        return self.expected_wrong / scored if scored else None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a level would have done.

    Attributes:
        level: the confidence a hit would have needed; above 1 none is.
        decisions: of the semantic tier, that were replayed.
        since: unix seconds of the oldest, None if there are none.
        now: as it was.
        then: as it would have been.
        gained: hits that would come, worst first.
        lost: hits that would go, best first.
        near: pairs that would still miss, nearest to the level first.
        undecided: decisions of which it cannot be said, because no confidence was computed of a candidate that might have served.
    """

    level: float
    decisions: int
    since: float | None
    now: Tally
    then: Tally
    gained: tuple[Pair, ...]
    lost: tuple[Pair, ...]
    near: tuple[Pair, ...]
    undecided: int


def replay(records: Iterable[DecisionRecord], *, level: float, show: int = 20) -> Replay:
    """Replay decisions at another level.

    Args:
        records: of the semantic tier, newest first.
        level: confidence that a hit needs, in [0, 1]; above 1 for exact hits only.
        show: pairs listed of each kind, at most.
    """
    decided = list(records)
    before = [_served(one) for one in decided]
    after = [_would_serve(one, level) for one in decided]
    moves = list(zip(decided, before, after, strict=True))
    gained = _pairs((one, new) for one, old, new in moves if old is None and new is not None)
    lost = _pairs((one, old) for one, old, new in moves if old is not None and new is None)
    near = _pairs(
        (one, best) for one, _, new in moves if new is None and (best := _best(one)) and best.confidence is not None
    )
    return Replay(
        level=level,
        decisions=len(decided),
        since=min((one.at for one in decided), default=None),
        now=_tally(before),
        then=_tally(after),
        gained=tuple(sorted(gained, key=lambda pair: pair.confidence)[:show]),
        lost=tuple(sorted(lost, key=lambda pair: -pair.confidence)[:show]),
        near=tuple(sorted(near, key=lambda pair: -pair.confidence)[:show]),
        undecided=sum(new is None and any(_is_open(seen) for seen in one.seen) for one, _, new in moves),
    )


def _served(record: DecisionRecord) -> Seen | None:
    """What was, or in shadow mode would have been, served."""
    if record.tier != "semantic":
        return None
    return next((one for one in record.seen if one.is_chosen), None)


def _would_serve(record: DecisionRecord, level: float) -> Seen | None:
    """The likeliest candidate at a level. A hit without a confidence stays one, as long as there are hits at all."""
    best = _best(record)
    if best is not None and best.confidence is not None and best.confidence >= level:
        return best
    served = _served(record)
    return served if served is not None and served.confidence is None and level <= 1.0 else None


def _best(record: DecisionRecord) -> Seen | None:
    scored = [one for one in record.seen if one.refused is None and one.confidence is not None]
    return max(scored, key=lambda one: one.confidence or 0.0, default=None)


def _is_open(seen: Seen) -> bool:
    return seen.refused is None and seen.confidence is None


def _pairs(moves: Iterable[tuple[DecisionRecord, Seen]]) -> list[Pair]:
    """The pairs of some decisions, each once with how often it came; the newest decision first."""
    found: dict[tuple[str, str], Pair] = {}
    for record, seen in moves:
        key = (record.asked or "", seen.question)
        met = found.get(key)
        confidence = seen.confidence if seen.confidence is not None else math.nan
        found[key] = (
            Pair(*key, confidence, seen.similarity, 1, record.request_id)
            if met is None
            else Pair(*key, met.confidence, met.similarity, met.count + 1, met.request_id)
        )
    return [pair for pair in found.values() if not math.isnan(pair.confidence)]


def _tally(served: Sequence[Seen | None]) -> Tally:
    hits = [one for one in served if one is not None]
    doubts = [1.0 - one.confidence for one in hits if one.confidence is not None]
    low, high = wrong_between(doubts)
    return Tally(len(hits), math.fsum(doubts), low, high, len(hits) - len(doubts))


def wrong_between(doubts: Sequence[float], *, chance: float = CHANCE) -> tuple[int, int]:
    """How many of some hits are wrong, at least and at most, if each is wrong with its own probability and by itself.

    The sum of such draws is never more spread out than a binomial of the same mean, so that one's quantiles hold for it.

    Args:
        doubts: each hit's probability to be wrong, in [0, 1].
        chance: that the count lies outside, half of it at each end.

    Source: Hoeffding, On the distribution of the number of successes in independent trials, 1956, theorem 4.
    """
    n = len(doubts)
    mean = math.fsum(doubts) / n if n else 0.0
    if mean <= 0.0 or mean >= 1.0:
        return (0, 0) if mean <= 0.0 else (n, n)
    low, high, below = -1, n, 0.0
    for count in range(n + 1):
        below += _binomial(n, count, mean)
        if low < 0 and below > chance / 2:
            low = count
        if below >= 1.0 - chance / 2:
            high = count
            break
    return max(0, min(low, math.floor(n * mean))), max(high, math.ceil(n * mean))


def _binomial(n: int, count: int, p: float) -> float:
    """Probability of exactly `count` of `n`."""
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways + count * math.log(p) + (n - count) * math.log1p(-p))
