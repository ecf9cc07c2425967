"""May a stored answer serve this question? What the judge decides from, and how it chooses; the models are asked elsewhere.

`screen` reads candidates and asks the gates, `services.judging` lets the verifier score those that no gate refused, `choose` takes the
surest. A gate and the confidence must both agree, and neither can talk over the other. Why so: docs/decisions/0008 and 0010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.core.gates import HARD, MERGE_GATES, SURE_MERGE_GATES, GateReason, Reading, objections, read, refusal
from proxy.core.models import Reason

WORTH_VERIFYING = 0.6
"""Cosine below which the verifier is not asked: 0.7 % of the hits it would make lie there (decision 0010), and most questions that were
never asked before have no nearer neighbour, so that they cost no verifying."""

WORTH_VERIFYING_FOLLOW_UP = 0.3
"""The same for later turns: short, and asked of what was just said, they share few words ("what does it cost?", "and the fee?"). Next to
the same answer there are few candidates, so it costs little."""


def worth_verifying(is_follow_up: bool) -> float:
    """Cosine from which the verifier is asked."""
    return WORTH_VERIFYING_FOLLOW_UP if is_follow_up else WORTH_VERIFYING


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose traffic a decision belongs to: the error budget is kept, and the evidence gathered, for each of them.

    Attributes:
        tenant: who asks.
        namespace: the caller's own partitioning, "" if none.
    """

    tenant: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate as the judge saw it: what explain, audits and what-if read.

    Attributes:
        index: of the candidate in the list that was judged.
        similarity: cosine to the asked question, in [-1, 1].
        gate: the gate that refused by itself; None if none did.
        objections: gates that objected, the one above among them.
        logit: the verifier's (`Score.decisive_logit`, or as much of it as decided); None where it was not asked because it could not
            change the outcome.
        confidence: calibrated probability that the answer serves, in [0, 1]; None where it was not computed.
        lower_logit: the verifier's, of the order of the two texts that is less sure; a careful guess where one order decided.
        is_one_way: one order of the two texts decided, and the other was not read.
        is_earlier: the similarity is of the embedder before, and so on another scale.
        is_follow_up: both go on from one answer of Deja's, in one conversation or in two that go on as one.
    """

    index: int
    similarity: float
    gate: GateReason | None = None
    objections: frozenset[GateReason] = frozenset()
    logit: float | None = None
    confidence: float | None = None
    lower_logit: float | None = None
    is_one_way: bool = False
    is_earlier: bool = False
    is_follow_up: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a list of candidates.

    Attributes:
        chosen: index of the candidate whose answer serves; None for a miss.
        reason: why the most similar candidate was refused; None when one was chosen.
        confidence: probability that the chosen answer serves, of a miss that of the likeliest; None if none was computed.
        level: the confidence a hit needed, above 1 when only exact hits are allowed; None until one is calibrated.
        judged: every candidate that was looked at, most similar first.
    """

    chosen: int | None
    reason: Reason | GateReason | None
    confidence: float | None = None
    level: float | None = None
    judged: tuple[Judged, ...] = ()


def screen(asked: str | Reading, candidates: Sequence[tuple[int, str, float]], whose: str = "") -> list[Judged]:
    """Ask the gates about candidates.

    Args:
        asked: the question to answer, or its reading where it is screened more than once.
        candidates: (index, stored question, cosine in [-1, 1]), all of the same partition.
        whose: tenant for whom it is remembered how texts read.

    Returns:
        One for each, in the order given.
    """
    if not candidates:
        return []
    reading = read(asked, whose) if isinstance(asked, str) else asked
    judged = []
    for index, stored, similarity in candidates:
        found = objections(read(stored, whose), reading)
        gate = next((reason for reason in GateReason if reason in found & HARD), None)
        judged.append(Judged(index, similarity, gate, found))
    return judged


def choose(judged: Sequence[Judged], level: float) -> Verdict:
    """Choose the candidate that serves most surely, if one reaches the level.

    Args:
        judged: most similar first, at least one; confidences filled in where they could reach the level.
        level: confidence needed.
    """
    sure = [one for one in judged if one.gate is None and one.confidence is not None]
    best = max(sure, key=lambda one: one.confidence or 0.0, default=None)
    if best is not None and best.confidence is not None and best.confidence >= level:
        return Verdict(best.index, None, best.confidence, level, tuple(judged))
    confidence = best.confidence if best is not None else None
    return Verdict(None, _why_not(judged[0]), confidence, level, tuple(judged))


def why_not_merge(stored: str | Reading, asked: str | Reading, *, is_sure: bool = False) -> GateReason | None:
    """Why two conversations opened with these questions may not go on as one, though one's answer serves the other; symmetric.

    Stricter than serving, since every later turn is read in the light of this one: what one wording says of its writer, or
    adds beside the question, the other must say too.

    Args:
        stored, asked: the questions, or their readings.
        is_sure: the less sure order of the two suffices by itself for a hit.
    """
    if is_sure:
        return refusal(stored, asked, also=SURE_MERGE_GATES, without=_NOT_FOR_SURE_MERGING)
    return refusal(stored, asked, also=MERGE_GATES, without=_NOT_FOR_MERGING)


_NOT_FOR_MERGING = frozenset({
    GateReason.WORDING, GateReason.FOCUS_SOFT, GateReason.TENSE, GateReason.ANTONYM_SOFT, GateReason.DIRECTION_SOFT,
})  # fmt: skip
"""How it is said: weighed in the confidence, for merging, too. What is said must agree: a number, a name, a "my" on one side only."""
_NOT_FOR_SURE_MERGING = _NOT_FOR_MERGING | {
    GateReason.QUANTIFIER_SOFT, GateReason.NEGATION_SOFT, GateReason.NUMBER_SOFT, GateReason.ENTITY_SOFT,
}  # fmt: skip
"""Besides, "how much sleep" and "how many hours of sleep", "both" in one wording of two things, "without splitting" and "keep from
breaking": no fact that a later turn could build on. Numbers and names may differ in form ("Americans", "US citizens"); one that a side
adds is refused by `SURE_MERGE_GATES`."""


def _why_not(judged: Judged) -> Reason | GateReason:
    if judged.gate is not None:
        return judged.gate
    if judged.logit is None:
        return Reason.BELOW_CONFIDENCE  # no word of the verifier could have lifted it
    return Reason.TEXT_TOO_LONG if judged.logit == -math.inf else Reason.VERIFIER
