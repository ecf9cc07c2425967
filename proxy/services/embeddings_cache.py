"""The driver of a request for embeddings: what is stored of a batch is not asked for again.

`decide` reads the cache; `reply_from_cache` answers when all inputs were there, `forward` asks the provider for those that were not, and
puts the answer together. The cache never breaks the call: where a part would not fit to the rest, the whole is asked for as it was sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from proxy.core import embedding_answers as answers
from proxy.core import keys, lookup
from proxy.core.embedding_answers import StoredEmbedding
from proxy.core.embedding_requests import EmbeddingRequest, body_for, embedding_keys
from proxy.core.models import Entry, Forwarded, HitKind, Mode, NotStored, Reason, WireMode
from proxy.core.outcome import Outcome
from proxy.errors import StoreError, StoreLoadingError, where
from proxy.ports import Guard, UpstreamRequest, Upstreams
from proxy.services.calls import Reply
from proxy.services.embedding_calls import EmbeddingCall, EmbeddingDecision
from proxy.services.embedding_keeper import AT_ONCE, EmbeddingKeeper, Store, aside

logger = logging.getLogger("deja.embeddings")

_JSON = ((b"content-type", b"application/json"),)


class EmbeddingsCache:
    """Embeddings through the cache.

    Args:
        store: where vectors lie.
        guard: bounds what Redis may cost.
        upstreams: the configured providers.
        keeper: stores what the provider answers.
        lookup_deadline_s: for reading `AT_ONCE` vectors.
        now: unix time in seconds.
    """

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        upstreams: Upstreams,
        keeper: EmbeddingKeeper,
        lookup_deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._guard = guard
        self._upstreams = upstreams
        self._keeper = keeper
        self._lookup_deadline_s = lookup_deadline_s
        self._now = now

    # --- reading ---------------------------------------------------------------------------------------------------------------

    async def decide(self, call: EmbeddingCall) -> EmbeddingDecision:
        """Look for stored vectors. On return `outcome.hit` says whether they are all there; never raises on account of the cache.

        Raises:
            RequestError: nothing serves the model.
        """
        decision = self._place(call)
        if call.request is None:
            decision.outcome.forward(Forwarded.BYPASS, Reason.NOT_CACHEABLE)
            return decision
        refusal = lookup.why_not_asked(call.directives)
        if refusal is not None:
            decision.outcome.forward(refusal.fwd, refusal.reason)
            return decision
        try:
            stored = await self._read(decision)
        except StoreError as error:
            decision.is_store_down = True
            is_loading = isinstance(error, StoreLoadingError)
            reason = Reason.INDEX_LOADING if is_loading else Reason.REDIS_UNAVAILABLE
            decision.outcome.forward(Forwarded.BYPASS, reason)
        except Exception as error:  # the wall around the cache
            logger.error("request %s: the look-up failed with %s", call.request_id, where(error))
            decision.outcome.forward(Forwarded.BYPASS, Reason.CACHE_ERROR)
        else:
            self._judge(decision, call.request, stored)
        return decision

    def _place(self, call: EmbeddingCall) -> EmbeddingDecision:
        route = self._upstreams.resolve(call.model)
        decision = EmbeddingDecision(call, route)
        if (request := call.request) is not None:
            upstream = (route.identity, *call.distinctions)
            owner = call.space or call.tenant
            decision.room = keys.embedding_room(owner, call.directives.namespace, upstream, request.keyed)
            decision.redis_keys = embedding_keys(decision.room, request.inputs)
            decision.found = [None] * len(request.inputs)
        return decision

    async def _read(self, decision: EmbeddingDecision) -> list[StoredEmbedding | None]:
        started = time.perf_counter()
        found: list[StoredEmbedding | None] = []
        try:
            for start in range(0, len(decision.redis_keys), AT_ONCE):
                async with self._guard.within(self._lookup_deadline_s):
                    found += await self._store.get(decision.redis_keys[start : start + AT_ONCE])
            return found
        finally:
            decision.outcome.timings_ms["lookup"] = (time.perf_counter() - started) * 1000

    def _judge(
        self, decision: EmbeddingDecision, request: EmbeddingRequest, stored: Sequence[StoredEmbedding | None]
    ) -> None:
        """Take what serves, and say what became of the rest."""
        now_s, max_age_s = self._now(), decision.call.directives.max_age_s
        fresh = [one for one in stored if one is not None and one.remaining_s(now_s) > 0]
        young = [one for one in fresh if not lookup.is_too_old(max_age_s, one.created_at, now_s)]
        serving = {id(one) for one in young if one.vector.can_answer(as_base64=request.as_base64)}
        found = answers.kin([one if id(one) in serving else None for one in stored])
        served = [one for one in found if one is not None]
        outcome = decision.outcome
        if decision.call.directives.mode is Mode.SHADOW:
            outcome.would_hit = HitKind.EXACT if len(served) == len(found) else None
            outcome.forward(Forwarded.BYPASS, Reason.SHADOW)
            return
        decision.found = found
        outcome.inputs = (len(served), len(found)) if request.is_batch else None
        outcome.usage_estimated = any(one.is_estimated for one in served)
        if len(served) == len(found):
            _serve(outcome, served, now_s=now_s)
        elif served:
            outcome.forward(Forwarded.PARTIAL, Reason.EXACT_ONLY)
        elif len(young) < len(fresh):
            outcome.forward(Forwarded.STALE, Reason.MAX_AGE)
        else:
            outcome.forward(Forwarded.MISS, Reason.NOT_RENDERABLE if young else Reason.EXACT_ONLY)

    # --- answering -------------------------------------------------------------------------------------------------------------

    async def reply_from_cache(self, decision: EmbeddingDecision) -> Reply:
        """An answer of stored vectors alone."""
        request, served = decision.call.request, decision.served
        assert request is not None
        size = sum(len(one.vector.data) for one in served)
        return Reply(200, _JSON, await aside(size, answers.render, served, as_base64=request.as_base64))

    async def forward(self, decision: EmbeddingDecision) -> Reply:
        """Ask the provider for what is missing, store it and put the answer together.

        Raises:
            UpstreamError: no answer to pass on.
        """
        if decision.served:
            reply = await self._ask(decision, body_for(decision.call.sent, decision.missing))
            if reply is not None:
                return reply
            logger.debug("request %s: parts that do not fit together; asking for the whole", decision.call.request_id)
            decision.found = [None] * len(decision.found)
            decision.outcome.inputs = (0, len(decision.found))
            decision.outcome.usage_estimated = False
            decision.outcome.forward(Forwarded.MISS, Reason.NOT_RENDERABLE)
        reply = await self._ask(decision, decision.call.body)
        assert reply is not None, "a whole answer is passed on whatever it is"
        return reply

    async def _ask(self, decision: EmbeddingDecision, body: bytes) -> Reply | None:
        """One call; None where its answer cannot stand beside the stored vectors."""
        call, outcome = decision.call, decision.outcome
        started = time.perf_counter()
        sent = UpstreamRequest("POST", call.path, call.query, call.headers, body, call.model)
        response = await decision.route.upstream.send(decision.route.rewrite(sent))
        outcome.timings_ms["upstream"] = (time.perf_counter() - started) * 1000
        try:
            raw = b"".join([piece async for piece in response.chunks()])
        finally:
            await response.aclose()
        reply = Reply(response.status, response.headers, raw)
        if call.request is None or response.status != 200:
            outcome.not_stored = NotStored.REQUEST if call.request is None else NotStored.STATUS
            return reply
        made = await self._keeper.keep(decision, reply)
        served = decision.served
        if not served:
            return reply
        if made is None or not all(answers.is_kin(one, made.answer.model, made.dims) for one in served):
            return None
        as_base64, tokens = call.request.as_base64, sum(made.tokens)
        reply.body = await aside(
            len(raw), answers.complete, made.answer, decision.found, tokens=tokens, as_base64=as_base64
        )
        return reply


def _serve(outcome: Outcome, served: Sequence[StoredEmbedding], *, now_s: float) -> None:
    """Record a hit: as old as the oldest, as fresh as the one that ends first."""
    outcome.hit = HitKind.EXACT
    outcome.age_s = max(one.age_s(now_s) for one in served)
    outcome.ttl_s = min(one.remaining_s(now_s) for one in served)
    if len(served) == 1:
        only = served[0]
        outcome.entry = Entry(only.entry_id, "", b"", WireMode.JSON, only.created_at, only.ttl_s)
