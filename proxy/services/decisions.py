"""The log of decisions: written off the hot path, read for explanations and what-if."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from proxy.core import explanation, keys, what_if
from proxy.core.decision_log import DecisionRecord, Room, room_of, seen_of
from proxy.core.explanation import Explanation
from proxy.core.models import HitKind, Mode
from proxy.core.what_if import Replay
from proxy.errors import RequestError
from proxy.ports import Guard
from proxy.services.calls import Decision
from proxy.services.recorder import Recorder

ROOM_AGAIN_S = 60.0
"""A room is told to Redis when first met and then once a minute: often enough to say which were asked in lately."""
ROOMS_KNOWN = 10_000
"""Rooms this process remembers having told; past that it forgets them all, which costs each one digest again."""
EARLIER = 500
"""Decisions before this one that an explanation looks at."""
WAIT_S = (0.05, 0.1, 0.2)
"""Pauses before a record that is not there is looked for again: it is written a few hundredths of a second after the answer."""
READ_S = 2.0
"""For reading many decisions: nobody's answer waits for it."""


class DecisionReader(Protocol):
    """Recorded decisions. Methods raise `StoreError` and its branches only."""

    async def read(self, tenant: str, request_id: str) -> DecisionRecord | None:
        """A tenant's decision; None if there is none."""

    def recent(
        self, tenant: str, namespace: str | None = None, *, limit: int, is_judged: bool = True
    ) -> AsyncIterator[DecisionRecord]:
        """A tenant's decisions, newest first."""

    def told_in(self, tenant: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """The decisions of an entry of a tenant's streams, as `decision_log.from_told` reads them, oldest first."""

    async def rooms(self, tenant: str) -> list[Room]:
        """The rooms a tenant asked in lately, newest first."""

    async def vote(self, tenant: str, request_id: str, vote: str) -> None:
        """Write down what a caller said."""


class Levels(Protocol):
    """The acceptance level that belongs to an error budget; `core.confidence.Calibration` is one."""

    def level_for(self, max_wrong_hit_rate: float, /) -> float:
        """Confidence in [0, 1] a hit needs under this budget, above 1 where exact hits are all there is."""


class DecisionLog:
    """Takes decisions; returns at once.

    Args:
        queue: writes them.
        is_on: whether they are recorded at all.
        now: unix time in seconds.
    """

    def __init__(
        self,
        queue: Recorder[tuple[DecisionRecord, Room | None]],
        *,
        is_on: bool,
        now: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._is_on = is_on
        self._now = now
        self._told: dict[str, float] = {}

    def put(self, decision: Decision) -> None:
        """Record a decision whose answer has left, or will not."""
        directives = decision.call.directives
        if not self._is_on or directives.no_store or directives.mode is Mode.OFF:
            return
        at = self._now()
        self._queue.put((_record(decision, at), self._room(decision, at)))

    def _room(self, decision: Decision, at: float) -> Room | None:
        """The room's fields, where they were not told lately."""
        room, call = decision.place.room, decision.call
        if at - self._told.get(room, 0.0) < ROOM_AGAIN_S:
            return None
        if len(self._told) >= ROOMS_KNOWN:
            self._told.clear()
        self._told[room] = at
        return room_of(
            room,
            call.request,
            tenant=call.tenant,
            namespace=call.directives.namespace,
            provider=decision.route.identity,
            distinctions=call.distinctions,
        )


def _record(decision: Decision, at: float) -> DecisionRecord:
    outcome, call, place = decision.outcome, decision.call, decision.place
    if outcome.hit is HitKind.EXACT and outcome.entry is not None:  # the many: no more than a vote needs
        return DecisionRecord(
            request_id=call.request_id,
            at=at,
            tenant=call.tenant,
            namespace=call.directives.namespace,
            model=call.request.model,
            room=place.room,
            context="",
            outcome="exact",
            reason="",
            served=outcome.entry.entry_id,
            served_at=keys.exact_key(place.room, place.fingerprint),
            sharing=call.sharing,
        )
    served = outcome.entry or outcome.would_serve
    served_at = ""
    if served is not None:
        is_exact = outcome.would_hit is HitKind.EXACT
        served_at = keys.exact_key(place.room, place.fingerprint) if is_exact else _key_of(decision)
    return DecisionRecord(
        request_id=call.request_id,
        at=at,
        tenant=call.tenant,
        namespace=call.directives.namespace,
        model=call.request.model,
        room=place.room,
        context=decision.context.context_id if decision.context is not None else "",
        outcome=outcome.label,
        reason=outcome.reason or "",
        level=outcome.verdict.level if outcome.verdict is not None else None,
        asked=decision.text if decision.is_searched else None,
        seen=seen_of(outcome),
        served=served.entry_id if served is not None else "",
        served_at=served_at,
        would_hit=outcome.would_hit or "",
        stored=outcome.stored_as or "",
        not_stored=outcome.not_stored or "",
        sharing=call.sharing,
    )


def _key_of(decision: Decision) -> str:
    verdict = decision.outcome.verdict
    assert verdict is not None
    assert verdict.chosen is not None
    return decision.outcome.candidates[verdict.chosen].redis_key


class Decisions:
    """Reads the log: finds, explains and replays decisions. Raises `StoreError`s where Redis gives no answer.

    Args:
        store: where decisions are.
        guard: bounds what Redis may cost.
        levels: gives what turns an error budget into a level; None while confidence is not calibrated.
        deadline_s: for one read.
    """

    def __init__(
        self, store: DecisionReader, guard: Guard, *, levels: Callable[[], Levels | None], deadline_s: float
    ) -> None:
        self._store = store
        self._guard = guard
        self._levels = levels
        self._deadline_s = deadline_s

    async def find(self, tenant: str, request_id: str) -> DecisionRecord:
        """A tenant's decision.

        Raises:
            RequestError: 404; the same for an id nobody has, one of another tenant, and one whose time is over.
        """
        for pause_s in (0.0, *WAIT_S):
            await asyncio.sleep(pause_s)
            async with self._guard.within(self._deadline_s):
                found = await self._store.read(tenant, request_id)
            if found is not None:
                return found
        raise RequestError(
            "There is no such decision: nothing was recorded under this id with this credential, or its time is over "
            "(DEJA_DECISIONS__TTL_S, DEJA_DECISIONS__MAX_PER_TENANT).",
            status=404,
            code="decision_not_found",
            param="request_id",
        )

    async def explain(self, tenant: str, request_id: str) -> Explanation:
        """A decision in words; RequestError 404 if there is none."""
        record = await self.find(tenant, request_id)
        async with self._guard.within(READ_S):
            rooms = [
                room for room in await self._store.rooms(tenant) if room.at <= record.at or room.room == record.room
            ]
            earlier = [
                one async for one in self._store.recent(tenant, record.namespace, limit=EARLIER) if one.at < record.at
            ]
        return explanation.explain(record, rooms=rooms, earlier=earlier)

    async def what_if(
        self, tenant: str, max_wrong_hit_rate: float, *, namespace: str | None, limit: int, show: int
    ) -> Replay:
        """What another error budget would have done with the tenant's last decisions.

        Args:
            tenant: whose.
            max_wrong_hit_rate: the budget, in (0, 1).
            namespace: only decisions of this one, None for all.
            limit: decisions replayed, at most.
            show: pairs listed of each kind, at most.

        Raises:
            RequestError: 409, confidence is not calibrated.
        """
        levels = self._levels()
        if levels is None:
            raise RequestError(
                "This Deja's confidence is not calibrated, so no level belongs to an error budget. Use the embedder and the verifier it "
                "comes with, or calibrate your own.",
                status=409,
                code="not_calibrated",
            )
        async with self._guard.within(READ_S):
            records = [one async for one in self._store.recent(tenant, namespace, limit=limit)]
        return what_if.replay(records, level=levels.level_for(max_wrong_hit_rate), show=show)
