"""What is remembered of one decision, so that it can be explained, voted on and replayed: its shape, and its form in Redis.

A record holds the texts of the question and of the stored ones it was compared with, for the tenant's own eyes. It is made only where
the semantic tier was asked; every other decision leaves a record without texts. Values of request fields are never kept, only short
digests that tell whether a field changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.core.decision import Judged
from proxy.core.keys import digest
from proxy.core.models import Candidate, ChatRequest, Reason
from proxy.core.outcome import Outcome

SHORT = 12
"""Hex digits of a field's digest: enough to tell two values of one tenant apart, too few to look a value up by."""


class Seen(NamedTuple):
    """A stored question that was considered.

    Attributes:
        entry_id: of its entry.
        question: its text.
        similarity: cosine to the asked text, in [-1, 1].
        refused: the gate that refused by itself, `feedback`, or None.
        objections: gates that objected.
        logit: the verifier's, None where it was not asked.
        confidence: probability that its answer serves, None where it was not computed.
        is_judged: the judge came to look at it.
        is_chosen: its answer was, or in shadow mode would have been, served.
    """

    entry_id: str
    question: str
    similarity: float
    refused: str | None = None
    objections: tuple[str, ...] = ()
    logit: float | None = None
    confidence: float | None = None
    is_judged: bool = True
    is_chosen: bool = False


class DecisionRecord(NamedTuple):
    """One decision. A named tuple, because one is made per request: a frozen dataclass took twice as long.

    Attributes:
        request_id: ours.
        at: unix time in seconds when the answer had left.
        tenant: who asked.
        namespace: the caller's own partitioning, "" if none.
        model: the model asked for.
        room: digest of all that is compared exactly, the conversation apart.
        context: digest of what the conversation stood for, "" where nobody looked.
        outcome: exact, semantic, collapsed, miss, stale, request, bypass or error.
        reason: why nothing was served, "" on a hit.
        level: confidence a hit needed, above 1 for exact hits only; None until one is calibrated, or where nobody judged.
        asked: the text matched by meaning, None where the semantic tier was not asked.
        seen: stored questions that were considered, nearest first.
        served: entry id of what was served, or in shadow mode would have been; "" if nothing.
        served_at: Redis key of that entry, or the exact key that points at it; "" if nothing.
        would_hit: in shadow mode, the tier that would have served; else "".
        stored: entry id under which the provider's answer was stored, "" if it was not.
        not_stored: why not, "" if it was or there was none.
        sharing: with whom the entries of its namespace are shared, `team` or `global`; "" for nobody.
        vote: what the caller said of the hit; None until it did. Kept apart in Redis.
    """

    request_id: str
    at: float
    tenant: str
    namespace: str
    model: str
    room: str
    context: str
    outcome: str
    reason: str
    level: float | None = None
    asked: str | None = None
    seen: tuple[Seen, ...] = ()
    served: str = ""
    served_at: str = ""
    would_hit: str = ""
    stored: str = ""
    not_stored: str = ""
    sharing: str = ""
    vote: str | None = None

    @property
    def tier(self) -> str:
        """The tier that served or, in shadow mode, would have: `exact`, `semantic` or "" for neither."""
        return self.would_hit or (self.outcome if self.outcome in ("exact", "semantic") else "")

    @property
    def is_hit(self) -> bool:
        """Whether a stored answer went to the caller."""
        return self.outcome in ("exact", "semantic")

    @property
    def is_judged(self) -> bool:
        """Whether the semantic tier was asked."""
        return self.asked is not None


@dataclass(frozen=True, slots=True)
class Room:
    """A room that was asked in: name of a request field -> short digest of its value, and when it was last asked in."""

    room: str
    fields: Mapping[str, str]
    at: float = 0.0


def seen_of(outcome: Outcome) -> tuple[Seen, ...]:
    """The stored questions a decision considered, nearest first."""
    verdict = outcome.verdict
    judged = {one.index: one for one in verdict.judged} if verdict is not None else {}
    chosen = verdict.chosen if verdict is not None else None
    found = [_seen(one, judged.get(i), is_chosen=i == chosen) for i, one in enumerate(outcome.candidates)]
    found += [Seen(one.entry_id, one.question, one.similarity, Reason.FEEDBACK) for one in outcome.refused]
    return tuple(sorted(found, key=lambda one: -one.similarity))


def _seen(candidate: Candidate, judged: Judged | None, *, is_chosen: bool) -> Seen:
    if judged is None:  # something before it was chosen, or the judge stopped
        return Seen(candidate.entry_id, candidate.question, candidate.similarity, is_judged=False)
    return Seen(
        entry_id=candidate.entry_id,
        question=candidate.question,
        similarity=judged.similarity,
        refused=judged.gate,
        objections=tuple(sorted(judged.objections)),
        logit=judged.logit,
        confidence=judged.confidence,
        is_chosen=is_chosen,
    )


def room_of(
    room: str,
    request: ChatRequest,
    *,
    tenant: str,
    namespace: str,
    provider: str,
    distinctions: Sequence[str],
) -> Room:
    """Digest each field that keeps answers apart, one by one, so that it can be told later which of them changed.

    Args:
        room: as `keys.place_of` names it.
        request: canonical form.
        tenant: keys the digests: the same value reads differently for another tenant.
        namespace: the caller's own partitioning.
        provider: what keeps its answers apart.
        distinctions: headers and query parameters that make answers different.
    """
    values = {
        "namespace": namespace,
        "provider": provider,
        "headers": list(distinctions),
        "instructions": request.instructions,
        **request.keyed,
    }
    return Room(room, {name: digest("field", tenant, name, value)[:SHORT] for name, value in values.items()})


def told(record: DecisionRecord) -> dict[str, Any]:
    """A record as it is written in JSON: without what is empty, the tenant (it is in the key) and the vote (it comes later)."""
    values = zip(DecisionRecord._fields, record, strict=True)
    kept: dict[str, Any] = {
        name: value for name, value in values if value or (value is not None and name in _MAY_BE_ZERO)
    }
    kept.pop("tenant")
    kept.pop("vote", None)
    if record.seen:
        kept["seen"] = [_seen_told(one) for one in record.seen]
    return kept


def from_told(found: Mapping[str, Any], *, tenant: str, vote: str | None = None) -> DecisionRecord:
    """Read what `told` gave; fields it does not know, of a later version, are passed over."""
    seen = tuple(_seen_from(one) for one in found.get("seen", ()))
    known = {name: found[name] for name in _NAMES if name in found}
    return DecisionRecord(**{**_EMPTY, **known}, tenant=tenant, seen=seen, vote=vote)


def _seen_told(one: Seen) -> dict[str, Any]:
    values = zip(Seen._fields, one, strict=True)
    return {name: value for name, value in values if value or (value is not None and name in _MAY_BE_ZERO)}


def _seen_from(one: Mapping[str, Any]) -> Seen:
    known = {"entry_id": "", "question": ""} | {name: one[name] for name in Seen._fields if name in one}
    known["objections"] = tuple(known.get("objections", ()))
    known["similarity"] = known.get("similarity") or 0.0  # what is no number is written as null
    known.setdefault("is_judged", False)
    return Seen(**known)


_NAMES = tuple(name for name in DecisionRecord._fields if name not in ("tenant", "seen", "vote"))
_MAY_BE_ZERO = frozenset({"similarity", "confidence", "logit", "level"})
_EMPTY: dict[str, Any] = dict.fromkeys(("namespace", "context", "reason"), "")
