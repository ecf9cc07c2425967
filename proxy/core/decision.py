"""May a stored answer serve this question? The interim judge: a strict cosine level, and no gate refuses.

Both must agree, and neither can talk over the other: a similarity of 1.0 does not open a gate. A verifier will stand behind the
same `proxy.ports.Judge` later. Why these levels: docs/decisions/0003-strict-level-and-gates.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.gates import GateReason, Reading, read, refusal
from proxy.core.models import Reason

STRICT_SIMILARITY = 0.86
"""Cosine of all-MiniLM-L6-v2 in [-1, 1] from which an answer is served if no gate refuses (decision 0003)."""

MERGE_SIMILARITY = 0.86
"""The same for letting two conversations go on as one: what makes that stricter are the merge gates, not the cosine."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose traffic a decision belongs to: the error budget is kept, and the evidence gathered, for each of them.

    Attributes:
        tenant: who asks.
        namespace: the caller's own partitioning, "" if none.
    """

    tenant: str
    namespace: str


class Neighbour(Protocol):
    """A stored question near the asked one; `core.models.Candidate` is one."""

    @property
    def question(self) -> str:
        """The stored question."""

    @property
    def similarity(self) -> float:
        """Its cosine similarity to the asked one, in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate as the judge saw it: what explain, audits and what-if read.

    Attributes:
        index: of the candidate in the list that was judged.
        similarity: cosine to the asked question, in [-1, 1].
        gate: the gate that refused by itself; None if none did.
        objections: gates that objected, the one above among them.
        logit: the verifier's; None where it was not asked because it could not change the outcome.
        confidence: calibrated probability that the answer serves, in [0, 1]; None where it was not computed.
    """

    index: int
    similarity: float
    gate: GateReason | None = None
    objections: frozenset[GateReason] = frozenset()
    logit: float | None = None
    confidence: float | None = None


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


def decide(asked: str | Reading, candidates: Sequence[Neighbour], *, level: float = STRICT_SIMILARITY) -> Verdict:
    """Choose the most similar candidate that may serve.

    Args:
        asked: the question to answer, or its reading.
        candidates: stored questions of the same partition, in any order; may be empty.
        level: cosine that a candidate must reach.
    """
    if not candidates:
        return Verdict(None, Reason.NO_CANDIDATE)
    reading = read(asked) if isinstance(asked, str) else asked
    first: Reason | GateReason | None = None
    judged: list[Judged] = []
    for i in sorted(range(len(candidates)), key=lambda i: -candidates[i].similarity):
        reason = why_not_serve(candidates[i].question, reading, candidates[i].similarity, level=level)
        gate = reason if isinstance(reason, GateReason) else None
        judged.append(Judged(i, candidates[i].similarity, gate, frozenset({gate} if gate else ())))
        if reason is None:
            return Verdict(i, None, judged=tuple(judged))
        first = first or reason
    return Verdict(None, first, judged=tuple(judged))


def why_not_serve(
    stored: str | Reading, asked: str | Reading, similarity: float, *, level: float = STRICT_SIMILARITY
) -> Reason | GateReason | None:
    """Why the answer to `stored` may not serve `asked`; None when it may. Symmetric in the two texts.

    Args:
        stored: the question whose answer is at hand.
        asked: the question to answer.
        similarity: their cosine, in [-1, 1]; nan refuses.
        level: cosine to reach.
    """
    if not similarity >= level:
        return Reason.BELOW_CONFIDENCE
    return refusal(stored, asked)


def why_not_merge(stored: str | Reading, asked: str | Reading, similarity: float) -> Reason | GateReason | None:
    """Why two conversations opened with these questions may not go on as one; None when they may. Symmetric.

    Stricter than serving, since every later turn is read in the light of this one: what one wording says of its writer, or
    adds beside the question, the other must say too.
    """
    if not similarity >= MERGE_SIMILARITY:
        return Reason.BELOW_CONFIDENCE
    return refusal(stored, asked, strictly=True)


def merge_confidence(similarity: float) -> float:
    """How sure a merge is, in [0, 1], for the product along a chain of turns (`core.context`).

    A cosine is no probability: 0.86 means near certainty once the merge gates passed. From 0.97 at the level to 1.0 at
    equality, so that a conversation may be reworded in several turns before its chain goes raw.
    """
    share = (similarity - MERGE_SIMILARITY) / (1.0 - MERGE_SIMILARITY)
    return 0.97 + 0.03 * min(1.0, max(0.0, share))
