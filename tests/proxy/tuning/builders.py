"""Scored pairs and a calibration whose confidence can be read off the logit."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.confidence import Calibration
from proxy.core.gates import GateReason
from proxy.tuning.scoring import LabelledPair, ScoredPair

SCALE = "embedder+verifier"


def calibration(*levels: tuple[float, float], scale: str = SCALE) -> Calibration:
    """Confidence is 0.5 + logit / 24, whatever the cosine."""
    return Calibration(
        scale=scale,
        bias=0.0,
        weights=(0.0, 0.0, 1.0, 0.0, 0.0),
        objections={"gate-tense": -3.0},
        knots=((-12.0, 0.0), (12.0, 1.0)),
        levels=levels or ((0.01, 0.95), (0.05, 0.9)),
    )


def scored(
    confidence: float = 0.9,
    is_same: bool = True,
    *,
    stored: str = "How do I boil an egg?",
    asked: str = "How to boil an egg?",
    similarity: float = 0.9,
    kind: str = "all",
    gate: GateReason | None = None,
    soft: Sequence[str] = (),
) -> ScoredPair:
    """A pair that `calibration` gives this confidence."""
    pair = LabelledPair(stored, asked, is_same, kind)
    return ScoredPair(pair, similarity, 24 * (confidence - 0.5), gate, frozenset(soft))


def many(*groups: tuple[int, float, bool], kind: str = "all") -> list[ScoredPair]:
    """(how many, confidence, label) of pairs whose texts differ from one another."""
    return [
        scored(
            confidence,
            is_same,
            stored=f"Where is town {at} {i} {is_same}?",
            asked=f"Town {at} {i} {is_same}, where?",
            kind=kind,
        )
        for at, (count, confidence, is_same) in enumerate(groups)
        for i in range(count)
    ]
