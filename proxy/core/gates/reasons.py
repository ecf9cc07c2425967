"""Why a gate objects: the names seen in the header, the metric, the log and the tests, and which of them refuse by themselves."""

from __future__ import annotations

from enum import StrEnum


class GateReason(StrEnum):
    """What two wordings differ in, in the order the gates are asked. A `-soft` reason is the same matter with weaker evidence."""

    NUMBER = "gate-number"
    NUMBER_SOFT = "gate-number-soft"
    IDENTIFIER = "gate-identifier"
    IDENTIFIER_SOFT = "gate-identifier-soft"
    CODE = "gate-code"
    CODE_SOFT = "gate-code-soft"
    LANGUAGE = "gate-language"
    NEGATION = "gate-negation"
    NEGATION_SOFT = "gate-negation-soft"
    FOCUS = "gate-focus"
    FOCUS_SOFT = "gate-focus-soft"
    TENSE = "gate-tense"
    PERSON = "gate-person"
    PERSON_SOFT = "gate-person-soft"
    ANTONYM = "gate-antonym"
    ANTONYM_SOFT = "gate-antonym-soft"
    ENTITY = "gate-entity"
    ENTITY_SOFT = "gate-entity-soft"
    QUANTIFIER = "gate-quantifier"
    QUANTIFIER_SOFT = "gate-quantifier-soft"
    DIRECTION = "gate-direction"
    DIRECTION_SOFT = "gate-direction-soft"
    ORDER = "gate-order"
    WORDING = "gate-wording"


HARD = frozenset({
    GateReason.NUMBER, GateReason.IDENTIFIER, GateReason.CODE, GateReason.LANGUAGE, GateReason.NEGATION, GateReason.FOCUS,
    GateReason.PERSON, GateReason.ANTONYM, GateReason.ENTITY, GateReason.QUANTIFIER, GateReason.DIRECTION, GateReason.ORDER,
})  # fmt: skip
"""Facts in conflict: these refuse by themselves. The others are heuristics, weighed with what a model says of the pair (decision 0008)."""
