"""The write side: an answer taken apart, judged storable, stored with its vector and the context it opens.

Runs before the answer's last byte leaves, so that a request sent after it finds the entry (read-your-writes).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from embeddings.base import Embedding
from proxy.core import context as contexts
from proxy.core import keys, routing, storability
from proxy.core.answers import Answer, Malformed
from proxy.core.context import Context
from proxy.core.models import About, Candidate, ContextRecord, Entry, NotStored, Reason
from proxy.core.traces import Trace
from proxy.errors import EmbeddingError, StoreError, StoreFullError
from proxy.ports import Embedder, Guard, Headers, ResponseStore, Traces, UpstreamRoute
from proxy.services import ids
from proxy.services.bookkeeping import wire_usage
from proxy.services.calls import Call, Decision
from proxy.services.single_flight import Flight

logger = logging.getLogger("deja.keeper")


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an answer: stored under `entry_id`, or why not; the answer itself where it could be read."""

    entry_id: str | None = None
    not_stored: NotStored | None = None
    answer: Answer | None = None


class Keeper:
    """Stores answers.

    Args:
        responses: where.
        embedder: for texts that were not embedded on the way in.
        guard: bounds what Redis may cost.
        deadline_s: for one store.
        default_ttl_s: where the caller names none.
        stale_s: seconds that an answer is kept past its freshness.
        now: unix time in seconds.
        traces: told of each entry that a session's or a user's request stores, so that it can be erased with them.
        trace_s: seconds that this is remembered longer than the entry: decisions of others may quote its question.
    """

    def __init__(
        self,
        responses: ResponseStore,
        embedder: Embedder,
        guard: Guard,
        *,
        deadline_s: float,
        default_ttl_s: int,
        now: Callable[[], float],
        traces: Traces | None = None,
        trace_s: float = 0.0,
        stale_s: int = 0,
    ) -> None:
        self._responses = responses
        self._traces = traces
        self._trace_s = trace_s
        self._stale_s = stale_s
        self._embedder = embedder
        self._guard = guard
        self._deadline_s = deadline_s
        self._default_ttl_s = default_ttl_s
        self._now = now

    async def keep(
        self,
        decision: Decision,
        *,
        status: int,
        headers: Headers,
        is_event_stream: bool,
        raw: bytes,
        by: UpstreamRoute | None = None,
    ) -> Kept:
        """Store a complete answer if it may be stored; never raises on account of the cache.

        Args:
            decision: what it answers.
            status, headers, is_event_stream, raw: the answer as it came.
            by: who gave it, where there were several to ask.
        """
        answer, reason = _read(decision, status, headers, is_event_stream, raw)
        if answer is None or reason is not None:
            return Kept(not_stored=reason, answer=answer)
        if by is not None and by.identity != decision.route.identity:
            # The room is that of the model that was asked for: whoever asks it later wants that one's answers.
            return Kept(not_stored=NotStored.FALLBACK, answer=answer)
        directives = decision.call.directives
        if not directives.mode.writes or directives.no_store or not decision.call.request.is_cacheable:
            return Kept(not_stored=NotStored.REQUEST, answer=answer)
        if decision.is_store_down:
            return Kept(not_stored=NotStored.STORE_UNAVAILABLE, answer=answer)
        try:
            return Kept(entry_id=await self._store(decision, answer), answer=answer)
        except StoreFullError:
            return Kept(not_stored=NotStored.STORE_FULL, answer=answer)
        except StoreError as error:
            logger.debug("not stored: %s", error)
            return Kept(not_stored=NotStored.STORE_UNAVAILABLE, answer=answer)

    def read(self, decision: Decision, flight: Flight, raw: bytes) -> Answer | None:
        """Take an answer apart that another process has kept."""
        return _read(decision, flight.status, flight.headers, flight.is_event_stream, raw)[0]

    def link_of(
        self, decision: Decision, candidate: Candidate, *, merge_confidence: float
    ) -> tuple[str, ContextRecord] | None:
        """After a semantic hit: the context key of the prefix that ends with this answer, and what it is to stand for.

        None when the caller named its own context, or the entry does not say what its answer is.
        """
        if decision.context is None or decision.call.directives.context is not None or not candidate.answer_hash:
            return None
        request = decision.call.request
        asked = keys.prefix_hash_of([*request.prefix, request.last])
        key = keys.context_key(decision.place.room, keys.extend_prefix(asked, candidate.answer_hash))
        return key, contexts.extend(decision.context, candidate.entry_id, merge_confidence=merge_confidence)

    async def _store(self, decision: Decision, answer: Answer) -> str:
        is_exact_only = answer.has_tool_calls or answer.is_exact_only
        vector = None if is_exact_only else await self._vector(decision)
        directives, room = decision.call.directives, decision.place.room
        turns = decision.call.dialect.turns(decision.call.request, answer)
        entry = Entry(
            entry_id=ids.entry_id(),
            question=(decision.text or "") if vector is not None else "",
            body=orjson.dumps(answer.body),
            wire=answer.wire,
            created_at=self._now(),
            ttl_s=directives.ttl_s or self._default_ttl_s,
            answer_hash=keys.message_hash(turns[-1]),
            has_tool_calls=answer.has_tool_calls,
            usage_estimated=answer.usage_estimated,
            tags=directives.tags,
            usage=wire_usage(answer),
        )
        async with self._guard.within(self._deadline_s):
            context = decision.context or await self._context(decision)
            redis_key = keys.entry_key(self._embedder.fingerprint, room, entry.entry_id)
            await self._leave_trace(decision, entry, redis_key)
            await self._responses.put(
                entry,
                redis_key=redis_key,
                partition=keys.partition_of(room, context.context_id, decision.place.turn_hash),
                vector=vector,
                exact_key=keys.exact_key(room, decision.place.fingerprint),
                context_key=keys.context_key(room, keys.prefix_hash_of(turns)) if directives.context is None else None,
                condemned_key=keys.condemned_key(room),
                record=_opens(context, entry),
                about=_about(decision.call),
                stale_s=self._stale_s,
            )
        return entry.entry_id

    async def _leave_trace(self, decision: Decision, entry: Entry, redis_key: str) -> None:
        """Before the entry is there: one that no trace leads to could not be erased."""
        call, room = decision.call, decision.place.room
        user = call.user
        if self._traces is None or (call.directives.session is None and user is None):
            return
        trace = Trace(
            request_id=call.request_id,
            session=call.directives.session or "",
            entry_id=entry.entry_id,
            entry_key=redis_key,
            exact_key=keys.exact_key(room, decision.place.fingerprint),
            condemned_key=keys.condemned_key(room),
        )
        until_s = entry.created_at + entry.ttl_s + self._stale_s + self._trace_s
        await self._traces.leave(trace, tenant=call.tenant, user=user, until_s=until_s)

    async def _vector(self, decision: Decision) -> bytes | None:
        """The embedding of the text, None when it must not, or cannot, be matched by meaning."""
        if decision.settle_exact_only() is not None or decision.text is None:
            return None
        if decision.embedding is None:
            try:
                decision.embedding = await self._embedder.embed(decision.text, whose=decision.call.tenant)
            except EmbeddingError:
                return None
        return None if why_unreadable(decision.embedding) else decision.embedding.vector.tobytes()

    async def _context(self, decision: Decision) -> Context:
        """What the conversation stands for, for requests that did not look."""
        prefix_hash = decision.place.prefix_hash
        record = None
        if prefix_hash is not None:
            _, record, _ = await self._responses.look_up(keys.look_up_keys(decision.place, None))
        about_own_words = decision.text is not None and routing.refers_to_own_words(decision.text)
        return contexts.resolve(prefix_hash, record, about_own_words=about_own_words)


def why_unreadable(embedding: Embedding) -> Reason | None:
    """Why a vector does not speak for its whole text, so that it must not be matched by meaning; None when it does."""
    if embedding.is_truncated:
        return Reason.TEXT_TOO_LONG  # a long prompt must never be matched by its first page
    if embedding.unknown_tokens:
        return Reason.UNKNOWN_TOKENS  # the model saw a placeholder: texts that differ only there look equal
    return None


def _about(call: Call) -> About:
    return About(call.tenant, call.directives.namespace, call.request.model, call.dialect.family)


def _opens(context: Context, entry: Entry) -> ContextRecord:
    return contexts.extend(context, entry.entry_id, merge_confidence=1.0)


def _read(
    decision: Decision, status: int, headers: Headers, is_event_stream: bool, raw: bytes
) -> tuple[Answer | None, NotStored | None]:
    """Take an answer apart; with it, or instead of it, the reason it may not be stored."""
    if status != 200:
        return None, NotStored.STATUS
    if any(name == b"content-encoding" and value != b"identity" for name, value in headers):
        return None, NotStored.ENCODED
    dialect, prompt_chars = decision.call.dialect, decision.call.prompt_chars
    try:
        answer = dialect.read_stream(raw, prompt_chars=prompt_chars) if is_event_stream else dialect.read_json(raw)
    except Malformed as malformed:
        return None, malformed.reason
    return answer, storability.why_not_stored(answer)
