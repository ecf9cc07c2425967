"""How sure are we that a stored answer serves: evidence of one candidate -> a probability, and the level it has to reach.

A calibration is data: weights of a small logistic model, a monotone map from its score to a probability, and a table from error
budget to acceptance level. It is fitted elsewhere and read here. Three laws hold whatever the numbers are, because numbers that
would break them are refused: more cosine or a higher logit never lowers the confidence, and an objection never raises it.

How a level earns its place in the table is in `core.certificates`; how live traffic moves it, in `core.budget`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

EXACT_ONLY = 2.0
"""The level that no confidence reaches: by meaning nothing is served, exact repeats are."""

FEATURES = ("similarity", "closeness", "logit", "sureness", "agreement")
"""Names of what the model weighs, in the order of `features`; the bias and the objections stand beside them."""

BIN_LOW, BIN_WIDTH, BIN_COUNT = -1.0, 0.25, 41
"""Bins of confidence in log odds of being right: the first is everything below -1 (27 %), the last everything from 8.75 (99.984 %).
Levels worth taking lie between; within a bin the odds of being wrong differ by a factor of 1.28."""

_LOGIT_CAP = (
    12.0  # beyond, a logit of any of our verifiers says nothing more: it is trained to 0/1 labels with a few % noise
)
_CLOSE = 0.02  # keeps the closeness of equal vectors finite; int8 and fp32 vectors of one text differ by about 0.005
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the judge saw of one candidate.

    Attributes:
        similarity: cosine in [-1, 1]; nan counts as no evidence at all.
        logit: the verifier's; None where it did not run, -inf where the pair was too long to be read whole.
        objections: names of the soft gates that objected, e.g. "gate-wording"; hard gates refuse before this.
    """

    similarity: float
    logit: float | None = None
    objections: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns evidence into confidence, and an error budget into a level.

    Attributes:
        scale: embedder and verifier that it was made for, as fingerprints; evidence of others means something else.
        bias: of the logistic model.
        weights: one for each of `FEATURES`, none negative.
        objections: soft gate -> weight, none positive. A gate not named here refuses.
        knots: (score, probability), scores rising, probabilities never falling; straight lines between, flat outside.
        levels: (budget, level), budgets rising, levels never rising; `EXACT_ONLY` where a budget could not be certified.
        shares: of the calibration's candidates, how many fell into each confidence bin; (BIN_COUNT,), or empty if unknown.
        follow_up: reads the evidence of a conversation's later turns, where candidates are what else was asked at that very point; its
            confidence has to reach the levels above, and it has none of its own. None where later turns are read like first ones.
    """

    scale: str
    bias: float
    weights: tuple[float, ...]
    objections: Mapping[str, float]
    knots: tuple[tuple[float, float], ...]
    levels: tuple[tuple[float, float], ...]
    shares: tuple[float, ...] = ()
    follow_up: Calibration | None = None

    def __post_init__(self) -> None:
        """Refuse numbers under which more evidence could mean less confidence, or a larger budget a stricter level."""
        _require(bool(self.scale), "scale must name the embedder and the verifier")
        _require(len(self.weights) == len(FEATURES), f"weights must name exactly {', '.join(FEATURES)}")
        numbers = (self.bias, *self.weights, *self.objections.values(), *(x for knot in self.knots for x in knot))
        numbers += (*(x for row in self.levels for x in row), *self.shares)
        _require(all(math.isfinite(x) for x in numbers), "every number must be finite")
        _require(min(self.weights) >= 0, "no weight may be negative: more evidence would lower the confidence")
        _require(max(self.objections.values(), default=0.0) <= 0, "no objection may have a positive weight")
        _require(bool(self.knots), "knots must have at least one (score, probability)")
        _require(all(a[0] < b[0] for a, b in pairwise(self.knots)), "the scores of the knots must rise")
        _require(all(a[1] <= b[1] for a, b in pairwise(self.knots)), "the probabilities of the knots must not fall")
        _require(all(0 <= p <= 1 for _, p in self.knots), "the probabilities of the knots must lie in [0, 1]")
        _require(all(0 < budget < 1 for budget, _ in self.levels), "budgets must lie between 0 and 1")
        _require(all(0 < level <= EXACT_ONLY for _, level in self.levels), f"levels must lie in (0, {EXACT_ONLY}]")
        _require(all(a[0] < b[0] for a, b in pairwise(self.levels)), "budgets must rise")
        _require(all(a[1] >= b[1] for a, b in pairwise(self.levels)), "a larger budget must not have a stricter level")
        _require(len(self.shares) in (0, BIN_COUNT), f"shares must have {BIN_COUNT} numbers, or none")
        _require(min(self.shares, default=0.0) >= 0, "no share may be negative")
        if (later := self.follow_up) is not None:
            _require(later.scale == self.scale, "follow_up must have been made for the same models")
            _require(
                not later.levels and later.follow_up is None,
                "follow_up must have neither levels nor a follow_up of its own",
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `as_json` wrote.

        Raises:
            ValueError: a field is missing, misshapen or breaks a law; the message names it.
        """
        version = data.get("version") if isinstance(data, Mapping) else None
        _require(version == _VERSION, f"version must be {_VERSION}, not {version!r}; fit a new calibration")
        try:
            weights = dict(data["weights"])
            _require(set(weights) == set(FEATURES), f"weights must name exactly {', '.join(FEATURES)}")
            return cls(
                scale=str(data["scale"]),
                bias=float(data["bias"]),
                weights=tuple(float(weights[name]) for name in FEATURES),
                objections={str(name): float(weight) for name, weight in dict(data["objections"]).items()},
                knots=tuple((float(score), float(chance)) for score, chance in data["knots"]),
                levels=tuple((float(budget), float(level)) for budget, level in data["levels"]),
                shares=tuple(float(share) for share in data.get("shares", ())),
                follow_up=None if data.get("follow_up") is None else cls.from_json(data["follow_up"]),
            )
        except KeyError as error:
            raise ValueError(f"calibration: the field {error.args[0]!r} is missing") from error
        except TypeError as error:
            raise ValueError(f"calibration: a field has the wrong shape: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """Everything as plain lists, dicts and numbers; `from_json` gives the same calibration back."""
        written = {
            "version": _VERSION,
            "scale": self.scale,
            "bias": self.bias,
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "objections": dict(self.objections),
            "knots": [list(knot) for knot in self.knots],
            "levels": [list(row) for row in self.levels],
            "shares": list(self.shares),
        }
        return written if self.follow_up is None else written | {"follow_up": self.follow_up.as_json()}

    def of(self, *, is_follow_up: bool) -> Calibration:
        """Give what reads the evidence of a first question, or of a later turn."""
        return self.follow_up if is_follow_up and self.follow_up is not None else self

    def score(self, evidence: Evidence) -> float:
        """Give the model's raw score, before the map to a probability; -inf where nothing may be accepted.

        A logit of None counts as the lowest finite one: what was not verified is not trusted for it.
        """
        known = all(name in self.objections for name in evidence.objections)
        if not known or math.isnan(evidence.similarity) or evidence.logit == -math.inf:
            return -math.inf
        terms = zip(self.weights, features(evidence.similarity, evidence.logit), strict=True)
        objections = math.fsum(self.objections[name] for name in evidence.objections)
        return self.bias + math.fsum(weight * term for weight, term in terms) + objections

    def confidence(self, evidence: Evidence) -> float:
        """Probability in [0, 1] that the stored answer serves. Never falls when similarity or logit rises."""
        score = self.score(evidence)
        return 0.0 if score == -math.inf else _interpolated(self.knots, score)

    @property
    def uses_cosine(self) -> bool:
        """Whether cosine counts; it does not for embedders that were not calibrated."""
        return any(w > 0 for name, w in zip(FEATURES, self.weights, strict=True) if name not in ("logit", "sureness"))

    def ceiling(self, evidence: Evidence) -> float:
        """Give the most that a verifier could make of this evidence: below the level, there is no need to run it."""
        return self.confidence(replace(evidence, logit=_LOGIT_CAP) if evidence.logit is None else evidence)

    def level_for(self, max_wrong_hit_rate: float) -> float:
        """Give the confidence that a candidate has to reach under a budget; `EXACT_ONLY` if none is certified for it.

        Between two budgets of the table the stricter one's level holds: nothing certifies a looser one. For a budget of 0, or one
        below the whole table, exact hits are all there is.

        Args:
            max_wrong_hit_rate: wrong semantic hits / semantic hits that the user accepts, in [0, 1].
        """
        within = [level for budget, level in self.levels if budget <= max_wrong_hit_rate]
        return within[-1] if within else EXACT_ONLY


def features(similarity: float, logit: float | None) -> tuple[float, ...]:
    """Give the values of `FEATURES`: bounded, and none of them falls when similarity or logit rises.

    Args:
        similarity: cosine; cut to [-1, 1].
        logit: the verifier's; cut to ±12, None counts as -12.

    Closeness stretches the last few hundredths below 1, where a cosine separates best; sureness lets positive logits weigh
    differently from negative ones; agreement is high only where both are.
    """
    cosine = min(1.0, max(-1.0, similarity))
    said = -_LOGIT_CAP if logit is None else min(_LOGIT_CAP, max(-_LOGIT_CAP, logit))
    return (cosine, -math.log(1.0 + _CLOSE - cosine), said, max(0.0, said), max(0.0, cosine) * logistic(said))


def logistic(log_odds: float) -> float:
    """Turn log odds into a probability, without overflow."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def log_odds(probability: float) -> float:
    """Turn a probability into log odds; 0 and 1 give -inf and inf."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1.0 - probability))


def bin_of(confidence: float) -> int:
    """Give the bin of a confidence in [0, 1]: 0 … BIN_COUNT - 1, higher is surer."""
    return sum(level <= confidence for level in _BIN_LEVELS)


def bin_level(index: int) -> float:
    """Give the lowest confidence in a bin: the level that serves this bin and all above it. 0.0 for the first."""
    return _BIN_LEVELS[index - 1] if index else 0.0


def bin_wrong_odds(index: int) -> float:
    """Give the log odds of being *wrong* in the middle of a bin, if the calibration is right."""
    return -(BIN_LOW + BIN_WIDTH * (index - 0.5))


_BIN_LEVELS = tuple(logistic(BIN_LOW + BIN_WIDTH * i) for i in range(BIN_COUNT - 1))


def _interpolated(knots: Sequence[tuple[float, float]], score: float) -> float:
    if score <= knots[0][0]:
        return knots[0][1]
    for (left, low), (right, high) in pairwise(knots):
        if score <= right:
            return min(high, low + (high - low) * ((score - left) / (right - left)))
    return knots[-1][1]


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(f"calibration: {sentence}")
