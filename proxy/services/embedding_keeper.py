"""The write side of embeddings: a provider's answer taken apart, its vectors stored one by one.

Runs before the answer leaves, so that a request sent after it finds the vectors (read-your-writes).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from proxy.core import embedding_answers as answers
from proxy.core import keys
from proxy.core.embedding_answers import EmbeddingAnswer, StoredEmbedding, Vector
from proxy.core.models import About, NotStored
from proxy.core.sessions import user_of
from proxy.core.traces import Trace
from proxy.errors import StoreError, StoreFullError, where
from proxy.ports import Guard
from proxy.services.calls import Reply
from proxy.services.embedding_calls import EmbeddingDecision

logger = logging.getLogger("deja.embeddings")

FAMILY = "embeddings"
AT_ONCE = 256
"""Vectors read or written by one script: 1.5 MB of 1536 numbers each, 7 ms to read and 10 to write, most of it on the way."""
_ASIDE_BYTES = 256 << 10
"""Larger answers are read and written in a thread: 200 vectors of 1536 numbers take some 30 ms, in which nobody else would be served."""

P = ParamSpec("P")
T = TypeVar("T")


class Store(Protocol):
    """Where vectors lie. Methods raise `StoreError` and its branches only."""

    async def get(self, redis_keys: Sequence[str]) -> list[StoredEmbedding | None]:
        """Read vectors of one room, None where there is none."""

    async def put(self, redis_keys: Sequence[str], made: Sequence[StoredEmbedding], *, about: About) -> None:
        """Store vectors of one room, atomically."""


class Traces(Protocol):
    """What requests left outside of their sessions. Raises `StoreError` and its branches only."""

    async def leave_all(
        self, left: Sequence[Trace], *, tenant: str, session: str, user: str | None, until_s: float
    ) -> None:
        """Note all that a request is about to leave, until it is gone by itself."""


@dataclass(frozen=True, slots=True)
class Made:
    """A provider's answer, ready to be kept.

    Attributes:
        answer: the answer.
        vectors: of the inputs that were asked for, in their order; all of one length.
        tokens: what each of them cost.
        is_estimated: that is our own reckoning.
    """

    answer: EmbeddingAnswer
    vectors: list[Vector]
    tokens: list[int]
    is_estimated: bool

    @property
    def dims(self) -> int:
        """The length of the vectors."""
        return self.vectors[0].dims


class EmbeddingKeeper:
    """Stores vectors.

    Args:
        store: where.
        guard: bounds what Redis may cost.
        traces: told of what a session's or a user's request stores, so that it can be erased with them.
        deadline_s: for one batch of `AT_ONCE`.
        default_ttl_s: where the caller names none.
        trace_s: seconds that it is remembered longer than the vectors themselves who left them.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        guard: Guard,
        traces: Traces,
        *,
        deadline_s: float,
        default_ttl_s: int,
        trace_s: float,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._guard = guard
        self._traces = traces
        self._deadline_s = deadline_s
        self._default_ttl_s = default_ttl_s
        self._trace_s = trace_s
        self._now = now

    async def keep(self, decision: EmbeddingDecision, reply: Reply) -> Made | None:
        """Take the answer to the missing inputs apart and store its vectors where that may be; None where it cannot be read.

        Never raises on account of the cache.
        """
        call, outcome, raw = decision.call, decision.outcome, reply.body
        assert call.request is not None
        assert isinstance(raw, bytes)
        if any(name == b"content-encoding" and value != b"identity" for name, value in reply.headers):
            outcome.not_stored = NotStored.ENCODED
            return None
        inputs = [call.request.inputs[position] for position in decision.missing]
        made = await aside(len(raw), _make, raw, inputs, as_base64=call.request.as_base64)
        if made is None:
            outcome.not_stored = NotStored.MALFORMED
            return None
        decision.spent_tokens = made.answer.tokens
        if not call.directives.mode.writes or call.directives.no_store:
            outcome.not_stored = NotStored.REQUEST
        elif decision.is_store_down:
            outcome.not_stored = NotStored.STORE_UNAVAILABLE
        else:
            await self._store_or_say_why(decision, made)
        return made

    async def _store_or_say_why(self, decision: EmbeddingDecision, made: Made) -> None:
        outcome = decision.outcome
        try:
            outcome.stored_as = await self._store_all(decision, made)
        except StoreFullError:
            outcome.not_stored = NotStored.STORE_FULL
        except StoreError as error:
            logger.debug("not stored: %s", error)
            outcome.not_stored = NotStored.STORE_UNAVAILABLE
        except Exception as error:  # the wall around the cache
            logger.error("request %s: storing failed with %s", decision.call.request_id, where(error))
            outcome.not_stored = NotStored.CACHE_ERROR

    async def _store_all(self, decision: EmbeddingDecision, made: Made) -> str:
        """Store the vectors; the id of the first."""
        call = decision.call
        stored = self._entries(decision, made)
        until_s = self._now() + (call.directives.ttl_s or self._default_ttl_s) + self._trace_s
        about = About(call.tenant, call.directives.namespace, call.model or "", FAMILY)
        redis_keys = list(stored)
        for start in range(0, len(redis_keys), AT_ONCE):
            part = redis_keys[start : start + AT_ONCE]
            entries = [stored[redis_key] for redis_key in part]
            async with self._guard.within(self._deadline_s):
                await self._leave_traces(decision, part, entries, until_s=until_s)
                await self._store.put(part, entries, about=about)
        return stored[redis_keys[0]].entry_id

    def _entries(self, decision: EmbeddingDecision, made: Made) -> dict[str, StoredEmbedding]:
        """What is to be stored, by Redis key; the same input twice in a batch is one entry."""
        directives, now_s = decision.call.directives, self._now()
        stored: dict[str, StoredEmbedding] = {}
        for position, vector, tokens in zip(decision.missing, made.vectors, made.tokens, strict=True):
            redis_key = decision.redis_keys[position]
            stored[redis_key] = StoredEmbedding(
                entry_id=keys.embedding_id(redis_key),
                vector=vector,
                model=made.answer.model,
                tokens=tokens,
                is_estimated=made.is_estimated,
                created_at=now_s,
                ttl_s=directives.ttl_s or self._default_ttl_s,
                tags=directives.tags,
            )
        return stored

    async def _leave_traces(
        self,
        decision: EmbeddingDecision,
        redis_keys: Sequence[str],
        entries: Sequence[StoredEmbedding],
        *,
        until_s: float,
    ) -> None:
        """Before the vectors are there: what no trace leads to could not be erased."""
        call, room = decision.call, decision.room
        session, user = call.directives.session or "", user_of(call.sent)
        if not session and user is None:
            return
        left = [
            Trace(
                request_id=call.request_id,
                session=session,
                entry_id=entry.entry_id,
                entry_key=redis_key,
                exact_key=keys.exact_key(room, entry.entry_id),  # nothing: a vector's own key is its exact key
                condemned_key=keys.condemned_key(room),
            )
            for redis_key, entry in zip(redis_keys, entries, strict=True)
        ]
        await self._traces.leave_all(left, tenant=call.tenant, session=session, user=user, until_s=until_s)


def _make(raw: bytes, inputs: Sequence[str | list[int]], *, as_base64: bool) -> Made | None:
    answer = answers.read_answer(raw, len(inputs))
    if answer is None or not answer.is_whole:
        return None
    vectors = [answers.read_vector(value, as_base64=as_base64) for value in answer.values]
    whole = [vector for vector in vectors if vector is not None]
    if len(whole) < len(vectors) or len({vector.dims for vector in whole}) > 1:
        return None
    tokens, is_estimated = answers.share_tokens(answer.tokens, inputs)
    return Made(answer, whole, tokens, is_estimated)


async def aside(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, in a thread where it works on more than some bytes."""
    if size <= _ASIDE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
