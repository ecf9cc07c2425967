"""The driver of a chat completion: asks the core what to do, does it, and tells what became of it.

`decide` reads the cache; `reply_from_cache` or `forward` answers. The cache never breaks the call: whatever Redis or the embedder do,
`decide` returns, within their deadlines, a decision to forward.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from proxy.core import context as contexts
from proxy.core import feedback, keys, lookup, routing
from proxy.core.answers import Answer
from proxy.core.decision import Judged, Scope
from proxy.core.dialects.base import Replay
from proxy.core.freshness import FRESH_ONLY, Freshness
from proxy.core.lookup import Embed, Forward, LookUp, Serve
from proxy.core.models import Candidate, ContextRecord, Entry, Forwarded, HitKind, Mode, Reason
from proxy.errors import EmbeddingError, IndexMissingError, StoreError, StoreLoadingError, where
from proxy.ports import Embedder, Guard, Judge, ResponseStore, Upstreams, VectorIndex
from proxy.services import ids
from proxy.services.bookkeeping import Books
from proxy.services.calls import Call, Decision, Reply
from proxy.services.first_level import FirstLevel, Known
from proxy.services.forwarding import Forwarding
from proxy.services.keeper import Keeper, Kept, why_unreadable
from proxy.services.memory_through_proxy import MemoryReader, write_wish
from proxy.services.refreshing import Refresher
from proxy.services.repeats import Repeats

logger = logging.getLogger("deja.completions")

PLACES_KNOWN = 64
"""Places remembered of the same bytes: one for each tenant that sends them."""
_JSON = ((b"content-type", b"application/json"),)
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings the driver needs.

    Attributes:
        lookup_deadline_s: for all Redis reads of one decision.
        candidates: neighbours to look at.
        freshness: what may be served past its freshness.
    """

    lookup_deadline_s: float
    candidates: int
    freshness: Freshness = FRESH_ONLY


class Completions:
    """Chat completions through the cache."""

    def __init__(
        self,
        *,
        responses: ResponseStore,
        vectors: VectorIndex,
        guard: Guard,
        embedder: Embedder,
        judge: Judge,
        upstreams: Upstreams,
        forwarding: Forwarding,
        keeper: Keeper,
        repeats: Repeats,
        policy: Policy,
        on_index_missing: Callable[[], None],
        now: Callable[[], float],
        books: Books,
        memory: MemoryReader | None = None,
        first_level: FirstLevel | None = None,
        refresher: Refresher | None = None,
    ) -> None:
        self._responses = responses
        self._vectors = vectors
        self._guard = guard
        self._embedder = embedder
        self._judge = judge
        self._upstreams = upstreams
        self._forwarding = forwarding
        self._keeper = keeper
        self._repeats = repeats
        self._policy = policy
        self._on_index_missing = on_index_missing
        self._now = now
        self._memory = memory
        self._first_level = first_level or FirstLevel(0)
        self._refresher = refresher
        self.books = books

    # --- reading ---------------------------------------------------------------------------------------------------------------

    async def decide(self, call: Call) -> Decision:
        """Look for a stored answer. On return `outcome.hit` says whether there is one; never raises on account of the cache."""
        decision = await self._placed(call)
        try:
            state = await self._look(decision)
        except Exception as error:
            # The wall around the cache: whatever is wrong in it, known or not, the call goes on without.
            logger.error("request %s: the look-up failed with %s", call.request_id, where(error))
            state = Forward(Forwarded.BYPASS, Reason.CACHE_ERROR)
        outcome, is_shadow = decision.outcome, call.directives.mode is Mode.SHADOW
        outcome.similarity = state.similarity
        if isinstance(state, Serve):
            if not is_shadow:
                outcome.serve(state.kind, state.entry, now_s=self._now())
                if self._refresher is not None and state.kind is HitKind.EXACT:
                    self._refresher.served(decision, state.entry, self._forwarding.refresh)
                return decision
            outcome.would_hit, outcome.would_serve = state.kind, state.entry
        if is_shadow:
            outcome.forward(Forwarded.BYPASS, Reason.SHADOW)
        elif isinstance(state, Forward):
            outcome.forward(state.fwd, state.reason)
        return decision

    async def _look(self, decision: Decision) -> Serve | Forward:
        """Drive the states of `core.lookup` to their end."""
        call = decision.call
        is_repeat = self._repeats.is_on and await self._repeats.seen(
            decision.place, call.directives.session, at=call.began_at
        )
        plan = self._plan(decision, is_repeat=is_repeat)
        state: LookUp | Embed | Serve | Forward = plan
        while True:
            match state:
                case LookUp():
                    state = await self._read_exact(decision, state)
                case Embed(text=text):
                    assert isinstance(plan, LookUp)
                    state = await self._read_semantic(decision, plan, text)
                case Serve() | Forward():
                    return state
                case _:
                    assert_never(state)

    async def _placed(self, call: Call) -> Decision:
        """Place a call, together with the memories that it wants told."""
        wish = call.directives.memory
        if wish is None or self._memory is None:
            return self._place(call)
        written = write_wish(call)
        if not wish.reads:
            decision = self._place(call)
            decision.outcome.memory = written
            return decision
        started = time.perf_counter()
        recalled = await self._memory.recall(call)
        decision = self._place(recalled.call, memories=recalled.version)
        decision.outcome.memory = recalled.told if written is None else f"{recalled.told}, {written}"
        _took(decision, "memory", started)
        return decision

    def _place(self, call: Call, *, memories: str | None = None) -> Decision:
        route = self._upstreams.resolve(call.request.model)
        owner = call.space or call.tenant
        noted = (owner, route.identity, memories)
        place = call.places.get(noted)
        if place is None:
            place = keys.place_of(
                call.request,
                tenant=owner,
                namespace=call.directives.namespace,
                upstream=(route.identity, *call.distinctions),
                family=call.dialect.family,
                query=call.directives.query,
                context=call.directives.context,
                memories=memories,
            )
            if memories is None and len(call.places) < PLACES_KNOWN:  # with memories hardly any comes again
                call.places[noted] = place
        return Decision(call, route, place)

    def _plan(self, decision: Decision, *, is_repeat: bool) -> Forward | LookUp:
        call = decision.call
        decision.exact_only = lookup.why_exact_only(call.request, call.directives)
        floor = call.directives.confidence
        decision.outcome.confidence_clamped = floor is not None and floor < self._judge.level(_scope(call))
        return lookup.plan(call.request, call.directives, exact_only=decision.exact_only, is_repeat=is_repeat)

    async def _read_exact(self, decision: Decision, plan: LookUp) -> Serve | Embed | Forward:
        place = decision.place
        exact_key = keys.exact_key(place.room, place.fingerprint)
        near = self._first_level.get(exact_key)
        if near is not None:
            known = self._known(decision, plan, near) if isinstance(near, Known) else self._after_exact(plan, near)
            if isinstance(known, Serve):
                return known
        started = time.perf_counter()
        decision.read_since = since = self._first_level.began()
        wanted = keys.look_up_keys(place, plan.text)
        try:
            async with self._guard.within(self._policy.lookup_deadline_s):
                entry, record, decision.unequal = await self._responses.look_up(wanted)
        except StoreError as error:
            return self._without_redis(decision, error)
        finally:
            _took(decision, "lookup", started)
        if entry is not None:
            self._first_level.put(exact_key, entry, since=since)
        state = self._after_exact(plan, entry)
        decision.at_hand = entry
        if not isinstance(state, Serve):
            about_own_words = decision.text is not None and routing.refers_to_own_words(decision.text)
            decision.context = contexts.resolve(place.prefix_hash, record, about_own_words=about_own_words)
        return state

    def _known(self, decision: Decision, plan: LookUp, known: Known) -> Serve | Forward | None:
        """Serve what was found by meaning before, where that would still be done."""
        level = max(self._judge.level(_scope(decision.call)), plan.floor or 0.0)
        confidence = known.verdict.confidence
        if plan.text is None or confidence is None or confidence < level:
            return None
        now_s = self._now()
        if isinstance(lookup.after_search(plan, [known.chosen], now_s=now_s), Forward):
            return None
        decision.is_searched = True
        decision.outcome.candidates = (known.chosen,)
        decision.outcome.verdict = replace(known.verdict, level=level)
        return lookup.after_fetch(plan, known.entry, candidate=known.chosen, now_s=now_s)

    def _after_exact(self, plan: LookUp, entry: Entry | None) -> Serve | Embed | Forward:
        return lookup.after_exact(plan, entry, now_s=self._now(), freshness=self._policy.freshness)

    async def _read_semantic(self, decision: Decision, plan: LookUp, text: str) -> Serve | Forward:
        if (reason := decision.settle_exact_only()) is not None:
            return Forward(Forwarded.MISS, reason)
        started = time.perf_counter()
        try:
            decision.embedding = await self._embedder.embed(text, whose=decision.call.tenant)
        except EmbeddingError as error:
            logger.debug("not embedded: %s", error)
            return Forward(Forwarded.MISS, Reason.EMBEDDER_UNAVAILABLE)
        finally:
            _took(decision, "embed", started)
        decision.exact_only = why_unreadable(decision.embedding)
        if decision.exact_only is not None:
            return Forward(Forwarded.MISS, decision.exact_only)
        try:
            return await self._search(decision, plan, text)
        except IndexMissingError:
            self._on_index_missing()
            return Forward(Forwarded.BYPASS, Reason.INDEX_LOADING)
        except StoreError as error:
            return self._without_redis(decision, error)

    async def _search(self, decision: Decision, plan: LookUp, text: str) -> Serve | Forward:
        assert decision.embedding is not None
        assert decision.context is not None
        decision.is_searched = True
        partition = keys.partition_of(decision.place.room, decision.context.context_id, decision.place.turn_hash)
        started = time.perf_counter()
        try:
            async with self._guard.within(self._policy.lookup_deadline_s):
                found = await self._vectors.nearest(
                    partition,
                    decision.embedding.vector,
                    k=self._policy.candidates,
                    earlier=decision.embedding.earlier,
                )
        finally:
            _took(decision, "lookup", started)
        state = lookup.after_search(plan, found, now_s=self._now(), unequal=decision.unequal)
        if isinstance(state, Forward):
            if state.reason == Reason.FEEDBACK:
                _, decision.outcome.refused = feedback.split(found, decision.unequal)
            return state
        scope = _scope(decision.call)
        floor = feedback.floor(self._judge.level(scope), plan.floor, decision.unequal)
        started = time.perf_counter()
        # Other prefixes (examples in front of a question, say) may hold any store of questions.
        is_follow_up = decision.context.is_merged
        verdict = await self._judge.judge(text, state.candidates, scope=scope, floor=floor, is_follow_up=is_follow_up)
        _took(decision, "verify", started)
        outcome = decision.outcome
        outcome.candidates, outcome.refused, outcome.verdict = state.candidates, state.refused, verdict
        if verdict.chosen is None:
            return Forward(Forwarded.MISS, state.reason(verdict.reason), state.candidates[0].similarity)
        chosen = next(judged for judged in verdict.judged if judged.index == verdict.chosen)
        served = await self._take(decision, plan, state.candidates[chosen.index], chosen, text)
        if isinstance(served, Serve):
            place = decision.place
            known = Known.of(served.entry, state.candidates, verdict)
            self._first_level.put(keys.exact_key(place.room, place.fingerprint), known, since=decision.read_since)
        return served

    async def _take(
        self, decision: Decision, plan: LookUp, candidate: Candidate, judged: Judged, text: str
    ) -> Serve | Forward:
        """Fetch the chosen entry and, where the two wordings are the same question, join the conversations."""
        link = await self._link(decision, candidate, judged, text)
        started = time.perf_counter()
        try:
            async with self._guard.within(self._policy.lookup_deadline_s):
                if link is None:
                    entry = await self._responses.fetch(candidate.redis_key)
                else:
                    ttl_s = max(1, int(candidate.created_at + candidate.ttl_s - self._now()))
                    entry = await self._responses.fetch_and_link(candidate.redis_key, *link, ttl_s=ttl_s)
        finally:
            _took(decision, "lookup", started)
        return lookup.after_fetch(plan, entry, candidate=candidate, now_s=self._now())

    async def _link(
        self, decision: Decision, candidate: Candidate, judged: Judged, text: str
    ) -> tuple[str, ContextRecord] | None:
        """What to write so that the next turn finds itself in the entry's conversation; None where it must not."""
        if decision.call.directives.mode is not Mode.SEMANTIC:  # read-only and shadow write nothing
            return None
        sure = await self._judge.merge_confidence(candidate.question, text, judged, scope=_scope(decision.call))
        return None if sure is None else self._keeper.link_of(decision, candidate, merge_confidence=sure)

    def _without_redis(self, decision: Decision, error: StoreError) -> Forward:
        decision.is_store_down = True
        is_loading = isinstance(error, StoreLoadingError)
        return Forward(Forwarded.BYPASS, Reason.INDEX_LOADING if is_loading else Reason.REDIS_UNAVAILABLE)

    async def keep_given(self, call: Call, raw: bytes) -> Kept:
        """Store an answer that a caller brings along, as if the provider had given it now; the cache is not looked at.

        Raises:
            RequestError: nothing serves the model.
        """
        return await self._keeper.keep(self._place(call), status=200, headers=(), is_event_stream=False, raw=raw)

    # --- answering -------------------------------------------------------------------------------------------------------------

    def reply_from_cache(self, decision: Decision) -> Reply | None:
        """Replay the entry that was decided on, with a new id and fresh tool-call ids.

        None where it cannot be told, being of a shape that no provider documents: the outcome then says that the call goes upstream.
        """
        entry = decision.outcome.entry
        assert entry is not None
        try:
            return self._replay(decision, entry)
        except Exception as error:
            logger.error(
                "request %s: the replay of %s failed with %s", decision.call.request_id, entry.entry_id, where(error)
            )
            decision.outcome.forward(Forwarded.BYPASS, Reason.CACHE_ERROR)
            decision.outcome.entry = decision.at_hand = None
            return None

    def _replay(self, decision: Decision, entry: Entry) -> Reply:
        call = decision.call
        replay = Replay(ids.minted, int(self._now()), call.request, call.sent, decision.answer_id)
        if not call.request.is_stream:
            return Reply(200, _JSON, call.dialect.render_json(entry, replay))
        return Reply(200, _EVENTS, _replayed(call.dialect.render_stream(entry, replay)), is_event_stream=True)

    async def forward(self, decision: Decision) -> tuple[Reply | None, Answer | None]:
        """Ask upstream, or join the call in flight that asks the same; `services.forwarding` says more."""
        return await self._forwarding.forward(decision)


def _scope(call: Call) -> Scope:
    return Scope(call.tenant, call.directives.namespace)


async def _replayed(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def _took(decision: Decision, what: str, started: float) -> None:
    timings = decision.outcome.timings_ms
    timings[what] = timings.get(what, 0.0) + (time.perf_counter() - started) * 1000
