from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.core.records import Record
from proxy.errors import RequestError
from proxy.ports import StreamEntry
from proxy.services.timeline import Timeline
from tests.builders import NOW_S


class Recorder:
    """Notes what it is given.

    Attributes:
        taken: records, in order.
        flushes: how often a reader waited.
    """

    def __init__(self) -> None:
        self.taken: list[Record] = []
        self.flushes = 0

    def put(self, record: Record) -> None:
        self.taken.append(record)

    async def flush(self, *, deadline_s: float) -> None:
        self.flushes += 1


class Store:
    async def timeline(self, tenant: str, session: str, *, after: str, limit: int) -> list[StreamEntry] | None:
        return [StreamEntry("1-0", {"type": after})][:limit] if (tenant, session) == ("t", "s") else None


class Unguarded:
    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def timeline(recorder: Recorder) -> Timeline:
    made: Any = Timeline
    found: Timeline = made(recorder, Store(), None, Unguarded(), deadline_s=1.0, now=lambda: NOW_S)
    return found


async def test_a_note_becomes_a_record_of_its_session(timeline: Timeline, recorder: Recorder) -> None:
    timeline.note("t", "s", "deja.task.complete", {"task": "t1"}, agent="w1")
    timeline.note("t", "s", "deja.task.complete", {"task": "t1"}, agent="w1")
    one, other = recorder.taken
    assert (one.tenant, one.session, one.agent, one.turns, one.request_id) == ("t", "s", "w1", (), "")
    (event,) = one.events
    assert (event["type"], event["task"], event["at"]) == ("deja.task.complete", "t1", f"{NOW_S:.3f}")
    assert event["event_id"].startswith("evt_")
    assert event["event_id"] != other.events[0]["event_id"]


@pytest.mark.parametrize("session", [None, ""])
async def test_without_a_session_there_is_nothing_to_note(
    timeline: Timeline, recorder: Recorder, session: str | None
) -> None:
    timeline.note("t", session, "deja.task.complete", {})
    assert recorder.taken == []


async def test_a_reader_waits_for_what_was_noted_before(timeline: Timeline, recorder: Recorder) -> None:
    assert await timeline.read("t", "s", after="5-0", limit=10) == [StreamEntry("1-0", {"type": "5-0"})]
    assert recorder.flushes == 1


async def test_a_session_that_is_not_there_is_a_404(timeline: Timeline) -> None:
    for tenant, session in (("t", "other"), ("other", "s")):
        with pytest.raises(RequestError) as refused:
            await timeline.read(tenant, session, after="0-0", limit=10)
        assert (refused.value.status, refused.value.code) == (404, "session_not_found")
        with pytest.raises(RequestError):
            await timeline.follow(tenant, session, after=None)
