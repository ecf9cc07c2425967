"""Why a gate refused: the names seen in the header, the metric, the log and the tests."""

from __future__ import annotations

from enum import StrEnum


class GateReason(StrEnum):
    """One value for each gate, in the order the gates are asked."""

    NUMBER = "gate-number"
    IDENTIFIER = "gate-identifier"
    CODE = "gate-code"
    LANGUAGE = "gate-language"
    NEGATION = "gate-negation"
    FOCUS = "gate-focus"
    TENSE = "gate-tense"
    PERSON = "gate-person"
    ANTONYM = "gate-antonym"
    ENTITY = "gate-entity"
    QUANTIFIER = "gate-quantifier"
    DIRECTION = "gate-direction"
    WORDING = "gate-wording"


HARD = frozenset({
    GateReason.NUMBER, GateReason.IDENTIFIER, GateReason.CODE, GateReason.LANGUAGE, GateReason.NEGATION, GateReason.ANTONYM,
    GateReason.ENTITY, GateReason.DIRECTION,
})  # fmt: skip
"""Facts: these refuse by themselves. The others are heuristics, to be weighed with what a model says of the pair (decision 0006)."""
