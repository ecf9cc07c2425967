"""The read side, as a pure state machine: facts in, named state out.

    plan(request, directives)          -> Forward(reason)      the cache is not asked
                                        | LookUp               read the exact tier and the context
    after_exact(lookup, entry)         -> Serve(exact) | Embed | Forward(reason)
    after_search(lookup, candidates)   -> Judge(candidates, refused by feedback) | Forward(reason)
    after_fetch(lookup, entry)         -> Serve(semantic) | Forward(reason)

The driver (`services.completions`) does what a state asks for and hands in what it learned. Hard conditions (tenant, room, partition) are
in the keys and the vector query itself and cannot be reached from here; soft ones (age, wire mode, confidence) are judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.core import feedback
from proxy.core.answers import can_replay
from proxy.core.freshness import FRESH_ONLY, Freshness
from proxy.core.models import Candidate, ChatRequest, Directives, Entry, Forwarded, HitKind, Mode, Reason


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask upstream.

    Attributes:
        fwd: RFC 9211's word for why.
        reason: ours; a `Reason`, a gate's reason or a route's.
        similarity: cosine of the best candidate that was judged, if any.
    """

    fwd: Forwarded
    reason: str
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Read the exact tier; what follows depends on these.

    Attributes:
        text: what is matched by meaning, None when the semantic tier is out of the question.
        exact_only: why it is, else None.
        as_stream: how the answer is to travel.
        max_age_s: oldest acceptable age, None for no bound.
        floor: the caller's own confidence floor, None for none.
    """

    text: str | None
    exact_only: str | None
    as_stream: bool
    max_age_s: int | None
    floor: float | None


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed the text and search the partition."""

    text: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Let the judge choose among these, nearest first.

    Attributes:
        candidates: fresh, young enough, and not ruled out by feedback; never empty.
        refused: those that feedback ruled out, nearest first.
    """

    candidates: tuple[Candidate, ...]
    refused: tuple[Candidate, ...] = ()

    def reason(self, judges: str | None) -> str:
        """Why nothing serves: what the judge says of the nearest, unless feedback ruled out a nearer one."""
        if self.refused and self.refused[0].distance <= self.candidates[0].distance:
            return Reason.FEEDBACK
        return judges or Reason.BELOW_CONFIDENCE


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve this entry."""

    kind: HitKind
    entry: Entry
    similarity: float | None = None


def plan(
    request: ChatRequest, directives: Directives, *, exact_only: str | None, is_repeat: bool = False
) -> Forward | LookUp:
    """Decide whether to look at all.

    Args:
        request: canonical form.
        directives: what the caller asks of the cache.
        exact_only: what `why_exact_only` said.
        is_repeat: the same session asked the same seconds ago, and the policy is to regenerate.
    """
    if (refusal := why_not_asked(directives, is_repeat=is_repeat)) is not None:
        return refusal
    if not request.is_cacheable:
        return Forward(Forwarded.BYPASS, Reason.NOT_CACHEABLE)
    return LookUp(
        text=None if exact_only else directives.query or request.question,
        exact_only=exact_only,
        as_stream=request.is_stream,
        max_age_s=directives.max_age_s,
        floor=directives.confidence,
    )


def why_not_asked(directives: Directives, *, is_repeat: bool = False) -> Forward | None:
    """Why the cache is not looked at, whatever the route; None if it is. The arguments as in `plan`."""
    if directives.mode is Mode.OFF:
        return Forward(Forwarded.BYPASS, Reason.MODE_OFF)
    if directives.no_store:
        return Forward(Forwarded.BYPASS, Reason.NO_STORE)
    if directives.no_cache:
        return Forward(Forwarded.REQUEST, Reason.NO_CACHE)
    if directives.mode is Mode.WRITE_ONLY:
        return Forward(Forwarded.REQUEST, Reason.WRITE_ONLY)
    if is_repeat:
        return Forward(Forwarded.REQUEST, Reason.REPEAT)
    return None


def why_exact_only(request: ChatRequest, directives: Directives) -> str | None:
    """Why a request may only be answered from the exact tier, None if its shape allows meaning.

    What its text asks for is another matter (`core.routing`): reading it costs time, and an exact hit never needs it.
    """
    if directives.mode is Mode.EXACT:
        return Reason.MODE_EXACT
    if request.question is None and directives.query is None:
        return Reason.NOT_USER_TEXT
    if request.choices > 1:
        return Reason.MULTIPLE_CHOICES
    return None


def after_exact(
    lookup: LookUp, entry: Entry | None, *, now_s: float, freshness: Freshness = FRESH_ONLY
) -> Serve | Embed | Forward:
    """Judge what the exact tier gave.

    Args:
        lookup: the plan.
        entry: the entry of this very request, None if there is none.
        now_s: unix time in seconds.
        freshness: how long past its freshness it may be served.
    """
    if entry is not None and freshness.may_serve(entry, now_s=now_s):
        if is_too_old(lookup.max_age_s, entry.created_at, now_s):
            return Forward(Forwarded.STALE, Reason.MAX_AGE)
        if can_replay(entry.wire, as_stream=lookup.as_stream):
            return Serve(HitKind.EXACT, entry)
        return Forward(Forwarded.MISS, Reason.NOT_RENDERABLE)
    if lookup.text is None:
        return Forward(Forwarded.MISS, lookup.exact_only or Reason.NO_CANDIDATE)
    return Embed(lookup.text)


def after_search(
    lookup: LookUp, candidates: Sequence[Candidate], *, now_s: float, unequal: frozenset[str] = frozenset()
) -> Judge | Forward:
    """Keep the candidates that are fresh (expired ones may linger in the index) and that no feedback rules out.

    Args:
        lookup: the plan.
        candidates: nearest first, all from the caller's partition; may be empty.
        now_s: unix time in seconds.
        unequal: digests of the texts that are never the same question as the one asked.
    """
    fresh = [candidate for candidate in candidates if now_s - candidate.created_at < candidate.ttl_s]
    if not fresh:
        return Forward(Forwarded.MISS, Reason.NO_CANDIDATE)
    young = tuple(candidate for candidate in fresh if not is_too_old(lookup.max_age_s, candidate.created_at, now_s))
    if not young:
        return Forward(Forwarded.STALE, Reason.MAX_AGE)
    kept, refused = feedback.split(young, unequal)
    return Judge(kept, refused) if kept else Forward(Forwarded.MISS, Reason.FEEDBACK, refused[0].similarity)


def after_fetch(lookup: LookUp, entry: Entry | None, *, candidate: Candidate, now_s: float) -> Serve | Forward:
    """Serve the entry the judge chose, if it is still there and can travel the way the caller asks."""
    if entry is None or entry.remaining_s(now_s) <= 0:
        return Forward(Forwarded.MISS, Reason.NO_CANDIDATE)
    if not can_replay(entry.wire, as_stream=lookup.as_stream):
        return Forward(Forwarded.MISS, Reason.NOT_RENDERABLE, candidate.similarity)
    return Serve(HitKind.SEMANTIC, entry, candidate.similarity)


def is_too_old(max_age_s: int | None, created_at: float, now_s: float) -> bool:
    """Whether the caller's max-age forbids it; not in whole seconds, so that `max-age=0` never takes a stored answer."""
    return max_age_s is not None and now_s - created_at > max_age_s
