"""Scored pairs under one calibration: how sure Deja is of each, and why it would refuse. What comes before the judge is done here, too.

The proxy asks the judge last. Before it come the exact tier, where equal texts hit, and the routing, where some questions are never
matched by meaning, be they asked or stored. A rating follows that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.core.confidence import Calibration
from proxy.core.models import Reason
from proxy.core.routing import exact_only
from proxy.tuning.scoring import ScoredPair

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

EXACT = "exact"
"""Why a pair of equal texts needs no judge."""


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """Pairs with what Deja makes of them; arrays are (n,), in the order of the pairs.

    Attributes:
        pairs: the scored pairs.
        confidence: in [0, 1] that the stored answer serves; 0 where something refuses by itself.
        is_same: the labels.
        similarity: cosine in [-1, 1].
        why: what refuses by itself (a gate, a reason of the routing, `text-too-long`), "" where only the level decides, `EXACT`.
    """

    pairs: tuple[ScoredPair, ...]
    confidence: FloatArray
    is_same: BoolArray
    similarity: FloatArray
    why: tuple[str, ...]

    @property
    def is_exact(self) -> BoolArray:
        """Whether the exact tier answers, whatever the level."""
        return np.array([why == EXACT for why in self.why], bool)

    @property
    def is_open(self) -> BoolArray:
        """Whether the level decides: what a calibration is measured on."""
        return np.array([not why for why in self.why], bool)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the pairs, each once, in alphabetical order."""
        return tuple(sorted({one.pair.kind for one in self.pairs}))

    def hits(self, level: float) -> BoolArray:
        """Which pairs are served at a level; (n,)."""
        return (self.confidence >= level) | self.is_exact

    def only(self, wanted: BoolArray) -> Ratings:
        """The pairs of a mask (n,)."""
        kept = [i for i, is_wanted in enumerate(wanted) if is_wanted]
        return Ratings(
            tuple(self.pairs[i] for i in kept),
            self.confidence[wanted],
            self.is_same[wanted],
            self.similarity[wanted],
            tuple(self.why[i] for i in kept),
        )

    def of_kind(self, kind: str) -> Ratings:
        """The pairs of a kind."""
        return self.only(np.array([one.pair.kind == kind for one in self.pairs], bool))


def rate(scored: Sequence[ScoredPair], calibration: Calibration) -> Ratings:
    """Rate scored pairs as a proxy with this calibration would."""
    why = [why_refused(one) for one in scored]
    confidence = [
        1.0 if reason == EXACT else 0.0 if reason else one.confidence(calibration)
        for one, reason in zip(scored, why, strict=True)
    ]
    return Ratings(
        tuple(scored),
        np.array(confidence, float),
        np.array([one.pair.is_same for one in scored], bool),
        np.array([one.similarity for one in scored], float),
        tuple(why),
    )


def why_refused(one: ScoredPair) -> str:
    """What decides a pair before its confidence does: `EXACT`, a reason to refuse, or "" where the confidence decides."""
    stored, asked = one.pair.stored, one.pair.asked
    if stored == asked:
        return EXACT
    routed = exact_only(asked, has_tools=False) or exact_only(stored, has_tools=False)
    if routed is not None:
        return str(routed)
    if one.gate is not None:
        return str(one.gate)
    if one.logit == -np.inf:
        return str(Reason.TEXT_TOO_LONG)
    return str(Reason.BELOW_CONFIDENCE) if one.logit is None else ""
