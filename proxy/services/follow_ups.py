"""Keeps responses for those who go on from them, under ids that Deja gives out (`core.follow_ups`).

A replay is kept before it leaves. Where it cannot be, it does not leave: the request goes to the provider instead. An answer of a provider
that keeps none comes under such an id, too; it is kept before its last byte leaves, and it leaves all the same where it cannot be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import orjson

from proxy.core import follow_ups, keys
from proxy.core.answers import Answer
from proxy.core.dialects import response_answers
from proxy.core.follow_ups import Kept
from proxy.core.models import Forwarded, Reason
from proxy.core.traces import Trace
from proxy.errors import RequestError, StoreError, where
from proxy.ports import Guard, Traces
from proxy.services import ids
from proxy.services.calls import Call, Decision

logger = logging.getLogger("deja.follow_ups")


class Replayed(Protocol):
    """Where replays are kept. Methods raise `StoreError` and its branches only."""

    async def put(self, room: str, response_id: str, kept: bytes, *, ttl_s: int) -> None:
        """Keep a replay."""

    async def get(self, room: str, response_id: str) -> bytes | None:
        """What is kept of a replay; None if nothing is."""

    async def delete(self, room: str) -> bool:
        """Forget a replay; whether there was one."""


class FollowUps:
    """Keeps and finds replays.

    Args:
        store: where.
        guard: bounds what Redis may cost.
        deadline_s: for one call.
        ttl_s: how long a replay can be gone on from.
        traces: told of each replay of a session's or a user's, so that it can be erased with them.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: Replayed,
        guard: Guard,
        *,
        deadline_s: float,
        ttl_s: int,
        traces: Traces,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._guard = guard
        self._deadline_s = deadline_s
        self._ttl_s = ttl_s
        self._traces = traces
        self._now = now

    async def find(self, tenant: str, response_id: str) -> Kept:
        """A tenant's replay.

        Raises:
            RequestError: 404; the same for an id nobody has, one of another tenant, and one whose time is over.
            StoreError: Redis gave no answer.
        """
        async with self._guard.within(self._deadline_s):
            found = await self._store.get(follow_ups.room_of(tenant, response_id), response_id)
        if found is None:
            raise RequestError(
                f"Response with id '{response_id}' not found; Deja keeps what it served from the cache for "
                f"{self._ttl_s} s (DEJA_CACHE__RESPONSES_TTL_S). Send the conversation in `input` instead.",
                status=404,
                code="response_not_found",
                param="response_id",
            )
        return follow_ups.from_wire(found)

    async def delete(self, tenant: str, response_id: str) -> None:
        """Forget a tenant's replay; raises as `find`."""
        await self.find(tenant, response_id)
        async with self._guard.within(self._deadline_s):
            await self._store.delete(follow_ups.room_of(tenant, response_id))

    async def resolved(self, call: Call, *, key_user: bool) -> Call:
        """The call itself, or one that goes on from a replay with all that was said before in its input.

        Raises:
            RequestError: 400, as OpenAI answers for an id it does not know.
            StoreError: Redis gave no answer.
        """
        previous = call.sent.get("previous_response_id")
        if not follow_ups.is_ours(previous):
            return call
        try:
            kept = await self.find(call.tenant, str(previous))
        except RequestError as error:
            raise RequestError(
                error.message, code="previous_response_not_found", param="previous_response_id"
            ) from None
        body = follow_ups.continued(orjson.loads(call.body), kept)
        return replace(
            call,
            request=call.dialect.canonical(body, key_user=key_user),
            body=orjson.dumps(body),
            prompt_chars=call.dialect.prompt_chars(body),
            places={},
        )

    async def keep(self, decision: Decision) -> None:
        """Keep what a hit is about to be answered with, under an id of ours; where that fails it is a hit no more."""
        call, entry = decision.call, decision.outcome.entry
        if entry is None or call.sent.get("store") is False:  # nobody will go on from it by its id
            return
        answer_id = ids.minted(follow_ups.ID_PREFIX)
        own = response_answers.identity(call.sent, answer_id=answer_id, created=int(self._now()))
        try:
            stored = response_answers.whole(orjson.loads(entry.body))
            await self._put(call, answer_id, response_answers.replayed(stored, own))
            decision.answer_id = answer_id
        except StoreError as error:
            logger.debug("request %s: a replay is not kept, so it is not served: %s", call.request_id, error)
            decision.is_store_down = True
            decision.outcome.forward(Forwarded.BYPASS, Reason.REDIS_UNAVAILABLE)
            decision.outcome.entry = None
        except Exception as error:  # the wall around the cache
            logger.error("request %s: keeping a replay failed with %s", call.request_id, where(error))
            decision.outcome.forward(Forwarded.BYPASS, Reason.CACHE_ERROR)
            decision.outcome.entry = None

    async def keep_answer(self, call: Call, answer: Answer) -> None:
        """Keep a provider's answer that has an id of ours, unless nothing is to be stored; never raises on account of Redis."""
        answer_id = answer.answer_id
        if not follow_ups.is_ours(answer_id) or call.sent.get("store") is False or call.directives.no_store:
            return
        own = response_answers.identity(call.sent, answer_id=answer_id, created=int(self._now()))
        try:
            await self._put(call, answer_id, {**own, **response_answers.whole(answer.body)})
        except StoreError as error:
            logger.debug("request %s: its response is not kept: %s", call.request_id, error)
        except Exception as error:  # the wall around the cache
            logger.error("request %s: keeping its response failed with %s", call.request_id, where(error))

    async def _put(self, call: Call, answer_id: str, response: Mapping[str, Any]) -> None:
        kept = follow_ups.kept_of(orjson.loads(call.body), response)
        room = follow_ups.room_of(call.tenant, answer_id)
        async with self._guard.within(self._deadline_s):
            await self._leave_trace(call, room, answer_id)
            await self._store.put(room, answer_id, follow_ups.to_wire(kept), ttl_s=self._ttl_s)

    async def _leave_trace(self, call: Call, room: str, answer_id: str) -> None:
        user = call.user
        if call.directives.session is None and user is None:
            return
        trace = Trace(
            request_id=call.request_id,
            session=call.directives.session or "",
            entry_id=answer_id,
            entry_key=follow_ups.replayed_key(room),
            exact_key=keys.exact_key(room, ""),
            condemned_key=keys.condemned_key(room),
        )
        await self._traces.leave(trace, tenant=call.tenant, user=user, until_s=self._now() + self._ttl_s)
