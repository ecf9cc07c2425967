"""Replays what a session recorded, from the cache and never from a provider; and forks it.

A step is answered by what the cache would answer this very request now (the exact tier; for a hit by meaning the entry that served), and
by the recording itself where the cache no longer holds it. Nothing is written, and no provider is asked: two replays tell the same
as long as the cache holds the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from proxy.core import keys, names, timeline
from proxy.core.answers import can_replay
from proxy.core.keys import LookUpKeys
from proxy.core.models import Entry
from proxy.core.recording import Recorded, Recording, Replayed, Step, replayed
from proxy.errors import RequestError
from proxy.ports import Guard, ResponseStore
from proxy.services.recorder import Recorder
from proxy.services.timeline import Timeline

READ_S = 5.0
"""For a page: a recording may be megabytes, and a developer waits for it, not an agent."""
FLUSH_S = 0.5
"""How long a reader waits for what this process has still to write."""
_FORK = ".fork-"
_FORK_BYTES = 4


class RecordingStore(Protocol):
    """Where recordings are. Methods raise `StoreError` and its branches only."""

    async def read(self, tenant: str, session: str, *, after: int, limit: int, with_requests: bool) -> Recording | None:
        """A page of a recording; None if nothing is recorded of the session."""


class Forks(Protocol):
    """Makes forks. Methods raise `StoreError` and its branches only."""

    async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
        """Begin a session with the first steps of another; False if there is one of that name."""


@dataclass(frozen=True, slots=True)
class Replays:
    """A page of a recording, replayed.

    Attributes:
        recording: the page.
        steps: what each of its steps came to.
    """

    recording: Recording
    steps: tuple[Replayed, ...]


class Replay:
    """Reads, replays and forks recordings.

    Args:
        store: of recordings.
        forks: makes them.
        responses: the cache.
        recorder: of steps; what it has still to write is waited for.
        timeline: told of forks.
        guard: bounds what Redis may cost.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: RecordingStore,
        forks: Forks,
        responses: ResponseStore,
        recorder: Recorder[Step],
        timeline: Timeline,
        guard: Guard,
        *,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._forks = forks
        self._responses = responses
        self._recorder = recorder
        self._timeline = timeline
        self._guard = guard
        self._now = now

    async def recording(self, tenant: str, session: str, *, after: int, limit: int) -> Recording:
        """A page of what was recorded, requests and answers whole.

        Raises:
            RequestError: 404, this tenant has no recording of such a session.
            StoreError: Redis gave no answer in time.
        """
        return await self._read(tenant, session, after=after, limit=limit, with_requests=True)

    async def replay(self, tenant: str, session: str, *, after: int, limit: int) -> Replays:
        """Replay a page of a recording.

        Raises:
            RequestError: 404, this tenant has no recording of such a session.
            StoreError: Redis gave no answer in time.
        """
        page = await self._read(tenant, session, after=after, limit=limit, with_requests=False)
        async with self._guard.within(READ_S):
            return Replays(page, tuple([replayed(step, await self._cached(step)) for step in page.steps]))

    async def fork(self, tenant: str, session: str, *, at: int, name: str | None) -> str:
        """Begin a session with the first `at` steps of another; returns its name.

        Raises:
            RequestError: 404, no such recording; 400, it has fewer steps; 409, the name is taken.
            StoreError: Redis gave no answer in time; nothing was forked.
        """
        page = await self._read(tenant, session, after=0, limit=1, with_requests=False)
        if not 1 <= at <= page.total:
            raise RequestError(
                f"`at` cannot be used: the recording has the steps 1 to {page.total}.",
                param="at",
                code="step_not_found",
            )
        fork = (
            name
            or f"{session[: names.MAX_CHARS - len(_FORK) - 2 * _FORK_BYTES]}{_FORK}{secrets.token_hex(_FORK_BYTES)}"
        )
        await self._timeline.flush()
        async with self._guard.within(READ_S):
            is_made = await self._forks.fork(tenant, session, at=at, name=fork, now_s=self._now())
        if not is_made:
            raise RequestError(
                "There is a session of that name already; name another with `as`, or leave it out to get a fresh one.",
                status=409,
                param="as",
                code="session_exists",
            )
        for one in (session, fork):
            self._timeline.note(tenant, one, timeline.FORK, {"parent": session, "fork": fork, "step": str(at)})
        return fork

    async def _read(self, tenant: str, session: str, *, after: int, limit: int, with_requests: bool) -> Recording:
        await self._recorder.flush(deadline_s=FLUSH_S)
        async with self._guard.within(READ_S):
            page = await self._store.read(tenant, session, after=after, limit=limit, with_requests=with_requests)
        if page is None:
            raise RequestError(
                "There is no recording of such a session: nothing was recorded under this id with this credential, its time is "
                "over, or DEJA_RECORDINGS__MAX_BYTES is 0.",
                status=404,
                code="recording_not_found",
                param="session_id",
            )
        return page

    async def _cached(self, step: Recorded) -> Mapping[str, Any] | None:
        """What the cache would answer a step's request now, stored form."""
        room = step.told["room"]
        at = LookUpKeys(keys.exact_key(room, step.told["fingerprint"]), None, keys.condemned_key(room), None)
        entry, _, _ = await self._responses.look_up(at)
        if not self._may_serve(entry, step) and step.told["entry"]:
            entry = await self._responses.fetch(step.told["entry"])
        if entry is None or not self._may_serve(entry, step):
            return None
        body: Mapping[str, Any] = orjson.loads(entry.body)
        return body

    def _may_serve(self, entry: Entry | None, step: Recorded) -> bool:
        if entry is None or entry.remaining_s(self._now()) <= 0:
            return False
        return can_replay(entry.wire, as_stream=bool(step.told["stream"]))
