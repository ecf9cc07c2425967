from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.confidence import (
    BIN_COUNT,
    EXACT_ONLY,
    FEATURES,
    Calibration,
    Evidence,
    bin_level,
    bin_of,
    bin_wrong_odds,
    features,
    log_odds,
    logistic,
)

CALIBRATION = Calibration(
    scale="embedder+verifier",
    bias=-6.0,
    weights=(2.0, 0.5, 0.4, 0.1, 3.0),
    objections={"gate-wording": -1.0, "gate-tense": 0.0},
    knots=((-4.0, 0.01), (0.0, 0.4), (1.0, 0.9), (6.0, 0.998)),
    levels=((0.005, EXACT_ONLY), (0.01, 0.97), (0.05, 0.8)),
)

similarities = st.floats(-1.0, 1.0)
logits = st.one_of(st.none(), st.floats(-40.0, 40.0))
weights = st.tuples(*[st.floats(0.0, 5.0)] * len(FEATURES))


@given(similarities, similarities, logits, weights)
def test_more_similarity_never_lowers_the_confidence(
    one: float, other: float, logit: float | None, weighted: tuple[float, ...]
) -> None:
    calibration = replace(CALIBRATION, weights=weighted)
    low, high = sorted((one, other))
    assert calibration.confidence(Evidence(low, logit)) <= calibration.confidence(Evidence(high, logit))


@given(similarities, st.floats(-40, 40), st.floats(-40, 40), weights)
def test_a_higher_logit_never_lowers_the_confidence(
    similarity: float, one: float, other: float, weighted: tuple[float, ...]
) -> None:
    calibration = replace(CALIBRATION, weights=weighted)
    low, high = sorted((one, other))
    confidences = [calibration.confidence(Evidence(similarity, logit)) for logit in (-math.inf, None, low, high)]
    assert confidences == sorted(confidences)
    assert confidences[0] == 0.0


@given(similarities, logits, st.sets(st.sampled_from(["gate-wording", "gate-tense", "gate-new"])))
def test_an_objection_never_raises_the_confidence_and_an_unknown_one_refuses(
    similarity: float, logit: float | None, objections: set[str]
) -> None:
    with_all = CALIBRATION.confidence(Evidence(similarity, logit, frozenset(objections)))
    assert with_all <= CALIBRATION.confidence(Evidence(similarity, logit))
    if "gate-new" in objections:
        assert with_all == 0.0


@given(similarities, logits)
def test_the_confidence_is_a_probability_and_below_its_ceiling(similarity: float, logit: float | None) -> None:
    confidence = CALIBRATION.confidence(Evidence(similarity, logit))
    assert 0.0 <= confidence <= 1.0
    assert confidence <= CALIBRATION.ceiling(Evidence(similarity))


def test_a_similarity_that_is_no_number_is_no_evidence() -> None:
    assert CALIBRATION.confidence(Evidence(math.nan, 10.0)) == 0.0


@given(st.floats(-2.0, 2.0), st.floats(-100, 100))
def test_features_are_bounded(similarity: float, logit: float) -> None:
    assert all(abs(value) <= 12.0 for value in features(similarity, logit))


@pytest.mark.parametrize(
    ("budget", "level"),
    [(0.0, EXACT_ONLY), (0.004, EXACT_ONLY), (0.005, EXACT_ONLY), (0.01, 0.97), (0.03, 0.97), (0.05, 0.8), (1.0, 0.8)],
)  # fmt: skip
def test_a_budget_between_two_of_the_table_gets_the_stricter_level(budget: float, level: float) -> None:
    assert CALIBRATION.level_for(budget) == level


def test_no_confidence_reaches_exact_only() -> None:
    assert max(chance for _, chance in CALIBRATION.knots) < EXACT_ONLY


def test_a_calibration_survives_json() -> None:
    assert Calibration.from_json(json.loads(json.dumps(CALIBRATION.as_json()))) == CALIBRATION


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version"),
        ({"scale": ""}, "scale"),
        ({"weights": {"similarity": 1.0}}, "exactly"),
        ({"weights": dict.fromkeys(FEATURES, -1.0)}, "negative"),
        ({"objections": {"gate-wording": 0.1}}, "positive"),
        ({"knots": []}, "knots"),
        ({"knots": [[0, 0.1], [0, 0.2]]}, "rise"),
        ({"knots": [[0, 0.2], [1, 0.1]]}, "fall"),
        ({"knots": [[0, 1.2]]}, "\\[0, 1\\]"),
        ({"knots": [[0]]}, "calibration|unpack"),
        ({"knots": 3}, "shape"),
        ({"levels": [[0.01, 0.8], [0.02, 0.9]]}, "stricter"),
        ({"levels": [[0.02, 0.9], [0.01, 0.8]]}, "budgets must rise"),
        ({"levels": [[0.0, 0.9]]}, "budgets"),
        ({"levels": [[0.1, 3.0]]}, "levels"),
        ({"bias": float("nan")}, "finite"),
        ({"shares": [1.0]}, "shares"),
        ({"shares": [-1.0] * BIN_COUNT}, "share"),
    ],
)
def test_numbers_that_would_break_a_law_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Calibration.from_json(CALIBRATION.as_json() | change)


def test_later_turns_may_have_a_map_of_their_own() -> None:
    later = replace(CALIBRATION, bias=CALIBRATION.bias + 1.0, levels=(), shares=())
    both = replace(CALIBRATION, follow_up=later)
    assert Calibration.from_json(both.as_json()) == both
    assert both.of(is_follow_up=True) is later
    assert both.of(is_follow_up=False) is both
    assert CALIBRATION.of(is_follow_up=True) is CALIBRATION


@pytest.mark.parametrize(
    ("change", "says"), [({"levels": ((0.1, 0.5),)}, "neither levels"), ({"scale": "other"}, "same models")]
)
def test_a_map_of_later_turns_has_no_levels_and_the_same_models(change: dict[str, Any], says: str) -> None:
    later = replace(CALIBRATION, levels=(), shares=())
    with pytest.raises(ValueError, match=says):
        replace(CALIBRATION, follow_up=replace(later, **change))


def test_a_missing_field_is_named() -> None:
    data = CALIBRATION.as_json()
    del data["knots"]
    with pytest.raises(ValueError, match="'knots' is missing"):
        Calibration.from_json(data)


@given(st.floats(0.0, 1.0))
def test_a_confidence_lies_within_its_bin(confidence: float) -> None:
    place = bin_of(confidence)
    assert bin_level(place) <= confidence
    assert place == BIN_COUNT - 1 or confidence < bin_level(place + 1)


def test_the_middle_of_a_bin_lies_between_its_levels() -> None:
    for place in range(1, BIN_COUNT - 1):
        assert bin_level(place) < 1 - logistic(bin_wrong_odds(place)) < bin_level(place + 1)


@given(st.floats(-700, 30))
def test_log_odds_undo_the_logistic(odds: float) -> None:
    assert log_odds(logistic(odds)) == pytest.approx(odds, rel=1e-2, abs=1e-9)


def test_certainty_has_infinite_log_odds() -> None:
    assert (log_odds(0.0), log_odds(1.0)) == (-math.inf, math.inf)
