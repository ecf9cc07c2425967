from __future__ import annotations

import math
from dataclasses import replace

import pytest

from proxy.core.confidence import EXACT_ONLY
from proxy.core.gates import GateReason
from proxy.tuning.rating import EXACT, rate, why_refused
from proxy.tuning.scoring import ScoredPair
from tests.proxy.tuning.builders import calibration, scored

EQUAL = scored(stored="Same words?", asked="Same words?", gate=GateReason.NUMBER)


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (EQUAL, EXACT),
        (scored(asked="What is the weather right now?", gate=GateReason.NUMBER), "volatile"),
        (scored(stored="Where is my order #123456?"), "personal"),
        (scored(gate=GateReason.NUMBER), "gate-number"),
        (replace(scored(), logit=-math.inf), "text-too-long"),
        (replace(scored(), logit=None), "below-confidence"),
        (scored(soft=["gate-tense"]), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rating_asks_in_the_order_of_the_proxy(pair: ScoredPair, why: str) -> None:
    assert why_refused(pair) == why
    rated = rate([pair], calibration())
    assert (rated.confidence[0] > 0) == (why in ("", EXACT))


def test_equal_texts_hit_whatever_the_level_and_a_refused_pair_never_does() -> None:
    rated = rate([EQUAL, scored(1.0), scored(1.0, gate=GateReason.NUMBER)], calibration())
    assert rated.hits(EXACT_ONLY).tolist() == [True, False, False]
    assert rated.hits(0.9).tolist() == [True, True, False]
    assert rated.is_open.tolist() == [False, True, False]


def test_a_soft_gate_lowers_the_confidence() -> None:
    plain, objected = rate([scored(0.9), scored(0.9, soft=["gate-tense"])], calibration()).confidence
    assert plain == pytest.approx(0.9)
    assert objected == pytest.approx(0.9 - 3 / 24)


def test_ratings_can_be_narrowed_to_a_kind() -> None:
    rated = rate([scored(0.9, kind="x"), scored(0.8, kind="y"), scored(0.7, kind="x")], calibration())
    assert rated.kinds == ("x", "y")
    assert rated.of_kind("x").confidence.tolist() == pytest.approx([0.9, 0.7])
