"""Why a decision fell as it did, in plain sentences: from the record of it and what was asked before, to what a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.core.decision_log import DecisionRecord, Room, Seen
from proxy.core.models import Reason

_REASONS = {
    "verifier": "The verifier read both questions, and was not sure enough that one answer serves both.",
    "verifier-unavailable": "The verifier gave no answer in time, and without it nothing is served by meaning.",
    "budget": "The error budget of this namespace is spent, or no level keeps it: only exact repeats are served.",
    "mode-off": "The request turned the cache off.",
    "no-store": "The request said no-store, so the cache was not asked.",
    "not-cacheable": "This route is passed through.",
    "redis-unavailable": "Redis gave no answer in time, so the provider was asked.",
    "index-loading": "Redis was loading its data or building its index, so the provider was asked.",
    "cache-error": "The cache failed in a way nobody foresaw; the log says where.",
    "shadow": "In shadow mode the cache decides and the provider answers.",
    "no-cache": "The request said no-cache: a stored answer was not wanted.",
    "write-only": "The mode is write-only: a stored answer was not wanted.",
    "repeat": "The same session sent the same request seconds before, which is taken for 'try again'.",
    "max-age": "What is stored is older than the request accepts.",
    "only-if-cached": "Nothing stored fits, and the request forbids to ask the provider.",
    "mode-exact": "The mode is exact: only this very request may be answered from the cache, and it was not stored.",
    "exact-only": "This route knows exact repeats alone, and this was not stored.",
    "not-user-text": "The last message is not plain text of a user, so only this very request may be answered from the cache.",
    "multiple-choices": "More than one choice was asked for, so only this very request may be answered from the cache.",
    "text-too-long": "The text is longer than the embedder reads, so only this very request may be answered from the cache.",
    "unknown-tokens": "The text holds signs the embedder cannot tell apart, so only this very request may be answered from the cache.",
    "embedder-unavailable": "The embedder gave no answer in time, so only this very request could be answered from the cache.",
    "action": "It reads as an order to act, so only this very request may be answered from the cache.",
    "volatile": "Its answer changes by the hour, so only this very request may be answered from the cache.",
    "personal": "It is about one person, so only this very request may be answered from the cache.",
    "reply-language": "It asks for the language to go on in, so only this very request may be answered from the cache.",
    "no-candidate": "Nothing fresh is stored where it could be compared.",
    "not-renderable": "A stored answer fits, but can be replayed only the way it came: streamed, or whole.",
    "feedback": "A caller said before that the nearest stored question does not ask the same.",
}
"""What each reason means for this one request; gates and confidence are told candidate by candidate."""

_DIFFERENCES = {
    "number": "numbers, units or dates",
    "identifier": "identifiers, codes or addresses",
    "code": "code or quoted text",
    "language": "language or script",
    "negation": "negation",
    "focus": "what is asked for (who, when, where, how)",
    "tense": "tense",
    "person": "who does it, or whose it is",
    "antonym": "opposites",
    "entity": "names",
    "quantifier": "how many (all, some, only)",
    "direction": "direction or roles",
    "order": "the order of the same words",
    "wording": "a word that is neither the same nor a known synonym",
}
"""What the two wordings of a pair differ in when the gate of this name objects."""

_FIELDS = {
    "namespace": "the namespace",
    "provider": "the provider",
    "headers": "the organisation, project or beta headers, or the query string",
    "instructions": "the system prompt",
    "model": "the model",
    "tools": "the tools",
}


@dataclass(frozen=True, slots=True)
class Near:
    """The room that differs least from the one asked in.

    Attributes:
        fields: request fields that differ, in alphabetical order.
        at: unix seconds when it was last asked in.
    """

    fields: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and why it fell so.

    Attributes:
        record: the decision.
        summary: one sentence.
        sentences: the rest, one thought each, the most telling first.
        whys: a sentence for each of `record.seen`, in its order.
        nearest_room: what the request differs in from the nearest room asked in before; None where that says nothing.
    """

    record: DecisionRecord
    summary: str
    sentences: tuple[str, ...]
    whys: tuple[str, ...]
    nearest_room: Near | None


_SHARING = {
    "team": "An admin lets the keys of a team share the stored answers of this namespace: this one may be a colleague's.",
    "global": "An admin lets all keys share the stored answers of this namespace: this one may be anybody's.",
}


def explain(record: DecisionRecord, *, rooms: Sequence[Room], earlier: Sequence[DecisionRecord]) -> Explanation:
    """Put a decision into words.

    Args:
        record: the decision.
        rooms: rooms the tenant asked in lately, its own among them, newest first.
        earlier: the tenant's decisions before this one, in any order; only those of the semantic tier tell something.
    """
    whys = tuple(_why(one, record) for one in record.seen)
    sentences: list[str] = []
    near = None
    if _found_nothing(record):
        said, near = _nothing_near(record, rooms, earlier)
        sentences.append(said)
    if record.seen and not record.is_hit:
        nearest = record.seen[0]
        sentences.append(f"The nearest stored question was {_quoted(nearest.question)}. {whys[0]}")
    if record.reason in _REASONS and record.reason != "no-candidate":
        sentences.insert(0, _REASONS[record.reason])
    if record.not_stored:
        sentences.append(f"The provider's answer was not stored: {record.not_stored}.")
    elif record.stored:
        sentences.append("The provider's answer was stored: this very request can be answered from the cache now.")
    if record.sharing:
        sentences.append(_SHARING[record.sharing])
    if record.vote is not None:
        sentences.append(f"The caller said that the answer was {record.vote}.")
    return Explanation(record, _summary(record), tuple(sentences), whys, near)


def _found_nothing(record: DecisionRecord) -> bool:
    """Whether somebody looked, and there was nothing to compare with."""
    if record.seen or record.tier:
        return False
    return record.reason == Reason.NO_CANDIDATE or (
        record.is_judged and record.reason in (Reason.SHADOW, Reason.ONLY_IF_CACHED)
    )


def nearest_room(room: str, rooms: Iterable[Room]) -> Near | None:
    """What the fields of a room differ in from the room most like it; None where it is not known, or there is no other.

    Args:
        room: its digest.
        rooms: all that are known, newest first; of equally near ones the newest counts.
    """
    known = list(rooms)
    own = next((one for one in known if one.room == room), None)
    if own is None:
        return None
    found = [Near(_changed(own, one), one.at) for one in known if one.room != room]
    return min(found, key=lambda near: len(near.fields), default=None)


def _changed(one: Room, other: Room) -> tuple[str, ...]:
    return tuple(
        sorted(
            name for name in one.fields.keys() | other.fields.keys() if one.fields.get(name) != other.fields.get(name)
        )
    )


def _summary(record: DecisionRecord) -> str:
    if record.outcome == "exact":
        return "Answered from the cache: this very request was asked before."
    if record.outcome == "semantic":
        chosen = next((one for one in record.seen if one.is_chosen), None)
        asked = f" {_quoted(chosen.question)}" if chosen is not None else ""
        return f"Answered from the cache: the stored question{asked} asks the same."
    if record.would_hit:
        return f"The provider answered, because the mode is shadow; the {record.would_hit} tier would have answered from the cache."
    if record.outcome == "collapsed":
        return "Shared the provider's answer with an identical request that was in flight."
    if record.outcome == "error":
        return "The request failed before an answer was there."
    if record.outcome == "miss" and record.is_judged:
        return f"The provider answered: {'no stored question near it serves' if record.seen else 'nothing is stored near it'}."
    return "The provider answered."


def _nothing_near(
    record: DecisionRecord, rooms: Sequence[Room], earlier: Sequence[DecisionRecord]
) -> tuple[str, Near | None]:
    """Why there was nothing to compare with, the likeliest cause first."""
    here = [one for one in earlier if one.room == record.room]
    if any(one.context == record.context for one in here):
        return (
            "Questions were asked in just this place before, but no answer is stored there now: they have expired, were evicted, or were "
            "never stored.",
            None,
        )
    if here:
        return (
            "With these fields and instructions something was asked before, but in another conversation: all turns before the last are "
            "compared exactly.",
            None,
        )
    near = nearest_room(record.room, rooms)
    if near is None:
        return "Nothing was asked with these fields and instructions before, nor lately with others.", None
    changed = [_FIELDS.get(name, f"`{name}`") for name in near.fields]
    return (
        f"Nothing was asked with these fields and instructions before. What differs from the nearest: {_and(changed)}.",
        near,
    )


def _why(seen: Seen, record: DecisionRecord) -> str:
    """What came of one stored question."""
    score = f"its similarity is {seen.similarity:.3f}"
    if seen.confidence is not None:
        score += f", and the probability that its answer serves {_percent(seen.confidence)}"
        if record.level is not None and record.level <= 1.0:
            score += f" where {_percent(record.level)} is needed"
    if seen.is_chosen:
        kept = "Its answer would have been served" if record.would_hit else "Its answer was served"
        if not record.tier:
            kept = "It was accepted, but its answer was gone or could not travel as asked"
        return f"{kept}: {score}."
    if seen.refused == "feedback":
        return "Refused: a caller said before that the two do not ask the same."
    if seen.refused is not None:
        return f"Refused: the two wordings differ in {difference(seen.refused)}; {score}."
    if not seen.is_judged:
        return f"Not looked at any more; {score}."
    objections = (
        f" Objections that weighed: {_and([difference(one) for one in seen.objections])}." if seen.objections else ""
    )
    if record.level is not None and record.level > 1.0:
        return f"Refused: the error budget allows exact hits alone for now; {score}.{objections}"
    return f"Not sure enough: {score}.{objections}"


def difference(gate: str) -> str:
    """What two wordings differ in when a gate objects, by its name."""
    return _DIFFERENCES.get(gate.removeprefix("gate-").removesuffix("-soft"), gate)


def _percent(probability: float) -> str:
    return f"{probability * 100:.2f} %"


def _quoted(text: str) -> str:
    return f"“{text}”"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "nothing"
