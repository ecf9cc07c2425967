"""A session's one timeline: other services note there what happened, callers read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from proxy.core import keys
from proxy.core.records import Record, note_of
from proxy.errors import RequestError
from proxy.ports import Guard, StreamEntry
from proxy.services import ids
from proxy.services.recorder import Recorder
from proxy.services.tails import Gap, Tails

FLUSH_S = 0.5
"""How long a reader waits for what this process has still to write."""


class TimelineReader(Protocol):
    """Where timelines are."""

    async def timeline(self, tenant: str, session: str, *, after: str, limit: int) -> list[StreamEntry] | None:
        """The first events after an id; None if there is no such session. Raises StoreError."""


def no_session() -> RequestError:
    """What is said of a session that this tenant does not have."""
    return RequestError(
        "There is no such session: nothing was recorded under this id with this credential, or its time is over.",
        status=404,
        code="session_not_found",
        param="session_id",
    )


class Timeline:
    """Timelines of sessions.

    Args:
        recorder: writes what is noted, off the path of the request that notes it.
        store: where they are read.
        tails: follows them.
        guard: bounds what Redis may cost.
        deadline_s: for one read.
        now: unix time in seconds.
    """

    def __init__(
        self,
        recorder: Recorder[Record],
        store: TimelineReader,
        tails: Tails,
        guard: Guard,
        *,
        deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self._store = store
        self._tails = tails
        self._guard = guard
        self._deadline_s = deadline_s
        self._now = now

    def note(
        self, tenant: str, session: str | None, kind: str, fields: Mapping[str, str], *, agent: str | None = None
    ) -> None:
        """Put an event into a session's timeline and the journal; returns at once, and does nothing without a session.

        At least once, and not acknowledged: what a caller was promised must be written elsewhere. While Redis is away it waits with the
        other records, and what does not fit is counted.

        Args:
            tenant: whose session.
            session: its name, None or "" for none.
            kind: what happened: `deja.task.completed`, say.
            fields: flat text: ids, states, counts; never a payload or anything else a caller may want to keep private.
            agent: who did it.
        """
        if session:
            at, event_id = self._now(), ids.event_id()
            record = note_of(kind, fields, event_id=event_id, at=at, tenant=tenant, session=session, agent=agent)
            self._recorder.put(record)

    async def flush(self) -> None:
        """Return once what was noted before is written, or soon."""
        await self._recorder.flush(deadline_s=FLUSH_S)

    async def read(self, tenant: str, session: str, *, after: str, limit: int) -> list[StreamEntry]:
        """The first events after an id, each once.

        Raises:
            RequestError: 404, this tenant has no such session.
            StoreError: Redis gave no answer in time.
        """
        await self.flush()
        async with self._guard.within(self._deadline_s):
            found = await self._store.timeline(tenant, session, after=after, limit=limit)
        if found is None:
            raise no_session()
        return found

    async def follow(self, tenant: str, session: str, *, after: str | None) -> AsyncIterator[list[StreamEntry] | Gap]:
        """Events as they come; see `Tails.follow`.

        Raises:
            RequestError: 404, this tenant has no such session.
            StoreError: Redis gave no answer in time.
        """
        await self.read(tenant, session, after="0-0", limit=1)
        _, events, _ = keys.session_keys(keys.session_tag(tenant, session))
        return self._tails.follow(events, after=after)
