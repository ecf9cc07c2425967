"""A fit that keeps the laws of confidence whatever the data are, and finds what is in them."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.core.confidence import FEATURES, Evidence
from proxy.core.gates import GateReason
from proxy.tuning.calibrate import fit, sample, shares
from proxy.tuning.scoring import LabelledPair, ScoredPair

OBJECTIONS = ("gate-tense", "gate-wording")


def scored(count: int, *, seed: int = 1, upside_down: bool = False) -> list[ScoredPair]:
    """Pairs whose logit says how likely they are same; "gate-tense" halves the odds, the cosine says nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        logit, objects = float(rng.normal(0, 3)), bool(rng.random() < 0.3)
        odds = np.exp((-logit if upside_down else logit) - 0.7 * objects)
        pair = LabelledPair("a", "b", bool(rng.random() < odds / (1 + odds)))
        made.append(
            ScoredPair(pair, float(rng.uniform(0.5, 1)), logit, None, frozenset({"gate-tense"} if objects else ()))
        )
    return made


def calibration(pairs: list[ScoredPair], *, uses_cosine: bool = True):  # type: ignore[no-untyped-def]
    data = sample(pairs, OBJECTIONS, [1.0] * len(pairs), uses_cosine=uses_cosine)
    return fit(data, OBJECTIONS, scale="test")


def test_confidence_is_the_share_of_true_pairs() -> None:
    model = calibration(scored(8000))
    test = scored(8000, seed=2)
    confidence = np.array([model.confidence(one.evidence) for one in test])
    is_same = np.array([one.pair.is_same for one in test])
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 0.95), (0.95, 1.0)):
        inside = (confidence >= low) & (confidence <= high)
        assert is_same[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.04)


def test_an_objection_that_tells_something_counts_and_one_never_seen_does_not() -> None:
    model = calibration(scored(8000))
    assert model.objections["gate-tense"] < -0.3
    assert model.objections["gate-wording"] == pytest.approx(0.0, abs=1e-6)


def test_data_that_would_turn_evidence_round_are_not_followed() -> None:
    model = calibration(scored(4000, upside_down=True))
    assert min(model.weights) >= 0
    assert model.confidence(Evidence(0.9, 5.0)) >= model.confidence(Evidence(0.9, -5.0))


def test_without_cosine_the_confidence_does_not_depend_on_it() -> None:
    model = calibration(scored(4000), uses_cosine=False)
    assert model.confidence(Evidence(0.2, 2.0)) == model.confidence(Evidence(0.99, 2.0))


def test_pairs_that_a_gate_refuses_take_no_part() -> None:
    refused = [
        ScoredPair(LabelledPair("a", "b", is_same=True), 0.9, -3.0, GateReason.NUMBER, frozenset()) for _ in range(3000)
    ]
    with_them, without = calibration(scored(3000) + refused), calibration(scored(3000))
    assert with_them.confidence(Evidence(0.9, -3.0)) == pytest.approx(without.confidence(Evidence(0.9, -3.0)), abs=0.03)


def test_every_feature_has_a_weight_and_the_map_rises_strictly() -> None:
    model = calibration(scored(4000))
    assert len(model.weights) == len(FEATURES)
    chances = [chance for _, chance in model.knots]
    assert chances == sorted(set(chances))


def test_shares_add_up_to_one() -> None:
    assert sum(shares([0.1, 0.9, 0.999, 1.0], np.ones(4))) == pytest.approx(1.0)
