"""Erases a session, or a user, everywhere with one call; and what a request that was under way still writes of them.

    DELETE session   content, and the mark that refuses what began before
                     → traces: the cache entries and decisions that its requests left
                     → other stores that know sessions → the journal → off the lists
    DELETE user      mark → each session they spoke in: all of it where they are alone, else their part
                     → traces of the rest of their requests

Each step may be done again, and nothing is taken off the lists or the traces before what they name is gone: an erasure that broke off is
repeated by the same call. What a request writes after the mark comes back as refused with its record (`RecordSink`), and goes then.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.records import Record
from proxy.core.sessions import Wiped
from proxy.core.traces import Trace
from proxy.ports import Guard

logger = logging.getLogger("deja.erasure")

CALL_S = 2.0
"""For one batch; nobody's answer waits for it but that of who erases."""
TRACES = 100
"""Requests erased at once."""
SESSIONS = 50
"""Sessions that one walk through the journal looks for."""
BEGINNING = "0-0"
MARGIN_S = 60.0
"""How much earlier than the request its events may seem to be, where the clocks of Deja and Redis differ."""


class Erasable(Protocol):
    """A store that keeps something of sessions."""

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove all it keeps of a session, in bounded batches; returns how much went. May be repeated. Raises StoreError."""


class UserErasable(Protocol):
    """A store that keeps something of users."""

    async def erase_user(self, tenant: str, user: str) -> int:
        """Remove all it keeps of a user, in bounded batches; returns how much went. May be repeated. Raises StoreError."""


class RequestErasable(Protocol):
    """A store that keeps something of each request of a session."""

    async def erase_requests(self, tenant: str, session: str, request_ids: Sequence[str]) -> int:
        """Remove what it keeps of some requests, written or still to be written; returns how much went. Raises StoreError."""

    async def erase_user(self, tenant: str, session: str, user: str) -> int:
        """The same of all requests of a user in a session, those a fork took over among them."""


class SessionStore(Protocol):
    """Where sessions are. Methods raise `StoreError` and its branches only."""

    async def erase(self, tenant: str, session: str) -> Wiped:
        """Remove all of a session."""

    async def erase_user(self, tenant: str, session: str, user: str, request_ids: Sequence[str]) -> Wiped:
        """Remove all of a session that knows no other user; of another one this user's part."""

    async def erase_requests(self, tenant: str, session: str, request_ids: Sequence[str]) -> Wiped:
        """Remove what some requests left in a session."""


class SessionIndex(Protocol):
    """Lists of sessions."""

    async def of_user(self, tenant: str, user: str, *, limit: int) -> list[str]:
        """Some of a user's sessions."""

    async def leave(self, tenant: str, session: str, *, user: str) -> None:
        """Take a session off a user's list."""

    async def remove(self, tenant: str, sessions: Sequence[str], *, before_ms: int) -> int:
        """Take sessions off all lists, unless they were written to since."""


class TraceStore(Protocol):
    """What requests left elsewhere."""

    async def of_session(self, tenant: str, session: str, *, limit: int) -> list[Trace]:
        """The first traces of a session's requests."""

    async def of_user(self, tenant: str, user: str, *, limit: int) -> list[Trace]:
        """The first traces of a user's requests."""

    async def of_user_in(self, tenant: str, user: str, session: str) -> list[Trace]:
        """All traces of a user's requests in one session."""

    async def of_requests(
        self, tenant: str, request_ids: Collection[str], *, session: str | None, user: str | None
    ) -> list[Trace]:
        """The traces of some requests of a session, or of a user."""

    async def drop(self, tenant: str, done: Sequence[Trace], *, session: str | None, user: str | None) -> None:
        """Forget traces."""

    async def mark_user(self, tenant: str, user: str) -> int:
        """Let nothing be written any more of a user's requests that began before now."""


class EntryEraser(Protocol):
    """The cache."""

    async def erase(self, traces: Iterable[Trace]) -> int:
        """Remove the entries that requests stored."""


class DecisionEraser(Protocol):
    """The log of decisions."""

    async def erase(self, tenant: str, request_ids: Sequence[str]) -> int:
        """Remove the decisions of some requests, written or still to be written."""

    async def forget_questions(self, tenant: str, entry_ids: Collection[str]) -> None:
        """Take the texts of some entries' questions out of the decisions of others."""


class JournalEraser(Protocol):
    """The journal."""

    async def erase_page(
        self, tenant: str, *, sessions: Sequence[str], request_ids: Sequence[str], after: str
    ) -> tuple[str | None, int]:
        """Remove events of some sessions and requests from the next page; where the one after it begins, and how many."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where things are.

    Attributes:
        sessions: content.
        index: lists.
        traces: what requests left elsewhere.
        entries: the cache.
        decisions: the log of decisions.
        journal: the journal.
        recordings: steps of recordings, by request.
        by_session: other stores that know sessions, by the word their count has in the answer.
        by_user: other stores that know users, likewise.
    """

    sessions: SessionStore
    index: SessionIndex
    traces: TraceStore
    entries: EntryEraser
    decisions: DecisionEraser
    journal: JournalEraser
    recordings: RequestErasable
    by_session: Mapping[str, Erasable]
    by_user: Mapping[str, UserErasable]


class Erasure:
    """Erases; raises StoreError where Redis gave no answer: then say it again.

    Args:
        stores: where things are.
        guard: bounds what Redis may cost.
        flush: has what this process still holds in its queues written.
    """

    def __init__(self, stores: Stores, guard: Guard, *, flush: Callable[[], Awaitable[None]]) -> None:
        self._at = stores
        self._guard = guard
        self._flush = flush

    async def erase_session(self, tenant: str, session: str) -> dict[str, int]:
        """Erase all of a session; how much of each kind went."""
        await self._flush()
        counts = _nothing(self._at)
        await self._session(tenant, session, counts)
        logger.info("erased a session: %s", dict(counts))
        return dict(counts)

    async def erase_user(self, tenant: str, user: str) -> dict[str, int]:
        """Erase all of a user; how much of each kind went."""
        await self._flush()
        counts = _nothing(self._at)
        async with self._guard.within(CALL_S):
            await self._at.traces.mark_user(tenant, user)
        while sessions := await self._sessions_of(tenant, user):
            for session in sessions:
                await self._part(tenant, session, user, counts)
        await self._requests_of(tenant, user, counts)
        for kind, store in self._at.by_user.items():
            counts[kind] += await store.erase_user(tenant, user)
        logger.info("erased a user: %s", dict(counts))
        return dict(counts)

    async def erase_requests(
        self, tenant: str, session: str | None, user: str | None, records: Sequence[Record]
    ) -> None:
        """Erase what requests left that had been under way while their session, or their user, was erased."""
        request_ids = [record.request_id for record in records if record.request_id]
        counts: Counter[str] = Counter()
        if request_ids:
            async with self._guard.within(CALL_S):
                traces = await self._at.traces.of_requests(tenant, request_ids, session=session, user=user)
            left = [Trace(request_id, session or "") for request_id in request_ids]
            await self._leavings(tenant, [*left, *traces], counts)
            if session is not None:
                await self._in_session(tenant, session, request_ids, counts)
            async with self._guard.within(CALL_S):
                await self._at.traces.drop(tenant, [*left, *traces], session=session, user=user)
        began_at = min(record.began_at for record in records)
        after = f"{max(0, int((began_at - MARGIN_S) * 1000))}-0"
        notes = [session] if session is not None and len(request_ids) < len(records) else []
        await self._journal(tenant, notes, request_ids, counts, after=after)

    # --- sessions --------------------------------------------------------------------------------------------------------------

    async def _session(self, tenant: str, session: str, counts: Counter[str]) -> None:
        async with self._guard.within(CALL_S):
            wiped = await self._at.sessions.erase(tenant, session)
        await self._rest_of(tenant, session, wiped, counts)

    async def _rest_of(self, tenant: str, session: str, wiped: Wiped, counts: Counter[str]) -> None:
        """What is elsewhere of a session whose content is gone."""
        _count(counts, wiped)
        while traces := await self._traces_of(tenant, session):
            await self._leavings(tenant, traces, counts)
            for user in wiped.users:
                async with self._guard.within(CALL_S):
                    await self._at.traces.drop(tenant, traces, session=None, user=user)
            async with self._guard.within(CALL_S):
                await self._at.traces.drop(tenant, traces, session=session, user=None)
        for kind, store in self._at.by_session.items():
            counts[kind] += await store.erase_session(tenant, session)
        await self._journal(tenant, [session], [], counts)
        async with self._guard.within(CALL_S):
            await self._at.index.remove(tenant, [session], before_ms=wiped.at_ms)

    async def _traces_of(self, tenant: str, session: str) -> list[Trace]:
        async with self._guard.within(CALL_S):
            return await self._at.traces.of_session(tenant, session, limit=TRACES)

    # --- users -----------------------------------------------------------------------------------------------------------------

    async def _sessions_of(self, tenant: str, user: str) -> list[str]:
        async with self._guard.within(CALL_S):
            listed = await self._at.index.of_user(tenant, user, limit=SESSIONS)
            if listed:
                return listed
            traces = await self._at.traces.of_user(tenant, user, limit=TRACES)
        return sorted({trace.session for trace in traces if trace.session})

    async def _part(self, tenant: str, session: str, user: str, counts: Counter[str]) -> None:
        """A user's part of a session; all of it where there is no other user."""
        traces = await self._all_of_user(tenant, user, session)
        request_ids = sorted({trace.request_id for trace in traces})
        async with self._guard.within(CALL_S):
            wiped = await self._at.sessions.erase_user(tenant, session, user, request_ids)
        if wiped.is_whole:
            await self._rest_of(tenant, session, wiped, counts)
        else:
            _count(counts, wiped)
            async with self._guard.within(CALL_S):
                counts["recordings"] += await self._at.recordings.erase_user(tenant, session, user)
            await self._leavings(tenant, traces, counts)
            await self._journal(tenant, [], request_ids, counts)
            async with self._guard.within(CALL_S):
                await self._at.traces.drop(tenant, traces, session=session, user=None)
        async with self._guard.within(CALL_S):
            await self._at.traces.drop(tenant, traces, session=None, user=user)
            await self._at.index.leave(tenant, session, user=user)

    async def _all_of_user(self, tenant: str, user: str, session: str) -> list[Trace]:
        async with self._guard.within(CALL_S):
            return await self._at.traces.of_user_in(tenant, user, session)

    async def _requests_of(self, tenant: str, user: str, counts: Counter[str]) -> None:
        """What is left: requests of no session."""
        while True:
            async with self._guard.within(CALL_S):
                traces = await self._at.traces.of_user(tenant, user, limit=TRACES)
            if not traces:
                return
            await self._leavings(tenant, traces, counts)
            await self._journal(tenant, [], [trace.request_id for trace in traces], counts)
            async with self._guard.within(CALL_S):
                await self._at.traces.drop(tenant, traces, session=None, user=user)

    # --- what requests left ----------------------------------------------------------------------------------------------------

    async def _leavings(self, tenant: str, traces: Sequence[Trace], counts: Counter[str]) -> None:
        request_ids = sorted({trace.request_id for trace in traces})
        for start in range(0, len(request_ids), TRACES):
            async with self._guard.within(CALL_S):
                counts["decisions"] += await self._at.decisions.erase(tenant, request_ids[start : start + TRACES])
        stored = [trace for trace in traces if trace.entry_id]
        for start in range(0, len(stored), TRACES):
            async with self._guard.within(CALL_S):
                counts["cache_entries"] += await self._at.entries.erase(stored[start : start + TRACES])
        if stored:
            await self._at.decisions.forget_questions(tenant, {trace.entry_id for trace in stored})

    async def _in_session(self, tenant: str, session: str, request_ids: Sequence[str], counts: Counter[str]) -> None:
        async with self._guard.within(CALL_S):
            _count(counts, await self._at.sessions.erase_requests(tenant, session, request_ids))
            counts["recordings"] += await self._at.recordings.erase_requests(tenant, session, request_ids)

    async def _journal(
        self,
        tenant: str,
        sessions: Sequence[str],
        request_ids: Sequence[str],
        counts: Counter[str],
        *,
        after: str = BEGINNING,
    ) -> None:
        position: str | None = after if sessions or request_ids else None
        while position is not None:
            async with self._guard.within(CALL_S):
                position, gone = await self._at.journal.erase_page(
                    tenant, sessions=sessions, request_ids=request_ids, after=position
                )
            counts["journal_events"] += gone


class Recorded(Protocol):
    """Writes recorded requests into sessions."""

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Write the turns of a batch; whether each may be: False, what it belongs to was erased since it began."""

    async def settle(self, records: Sequence[Record]) -> list[bool]:
        """After their events were written; False where the session was erased meanwhile."""


class EventStore(Protocol):
    """Writes the events of records."""

    async def append(self, records: Sequence[Record]) -> None:
        """Write a batch; raises StoreError."""


class RecordSink:
    """Where the recorder writes: turns, then events; and what belongs to something erased goes with all it left.

    Args:
        recorded: sessions.
        events: timelines and journal.
        erase: as `Erasure.erase_requests`.
    """

    def __init__(
        self,
        recorded: Recorded,
        events: EventStore,
        erase: Callable[[str, str | None, str | None, Sequence[Record]], Awaitable[None]],
    ) -> None:
        self._recorded = recorded
        self._events = events
        self._erase = erase

    async def append(self, records: Sequence[Record]) -> None:
        """Write a batch. May be repeated: each request's turns are written once."""
        accepted = await self._recorded.append(records)
        kept = [record for record, is_kept in zip(records, accepted, strict=True) if is_kept]
        await self._events.append(kept)
        settled = await self._recorded.settle(kept)
        late = [record for record, is_kept in zip(records, accepted, strict=True) if not is_kept]
        late += [record for record, is_kept in zip(kept, settled, strict=True) if not is_kept]
        for record in late:
            await self._erase(record.tenant, record.session, record.user, [record])


def _nothing(stores: Stores) -> Counter[str]:
    kinds = ("sessions", "messages", "events", "data", "recordings", "decisions", "cache_entries", "journal_events")
    return Counter(dict.fromkeys((*kinds, *stores.by_session, *stores.by_user), 0))


def _count(counts: Counter[str], wiped: Wiped) -> None:
    counts["sessions"] += wiped.sessions
    counts["messages"] += wiped.turns
    counts["events"] += wiped.events
    counts["data"] += wiped.data
    counts["recordings"] += wiped.steps
