"""The agents' side of the application: state, tasks, events, signals, joined as `app.py` joins the cache; part of the composition root."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from proxy.core.coordination.agents import Bounds as AgentBounds
from proxy.core.recording import Step
from proxy.services.agent_upkeep import AgentUpkeep
from proxy.services.agents import Agents
from proxy.services.background import Background
from proxy.services.journal import JournalUpkeep
from proxy.services.recorder import Recorder, Together
from proxy.services.recordings import Tape
from proxy.services.replay import Replay
from proxy.services.tails import Tails
from proxy.services.timeline import Timeline
from proxy.settings import AgentSettings, Settings
from proxy.stores.agents import AgentStore
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.journal import JournalStore
from proxy.stores.recordings import RecordingStore
from proxy.stores.responses import ResponseStore
from proxy.stores.sessions import SessionStore
from proxy.stores.tails import StreamTails
from proxy.telemetry import Metrics


class Fleet:
    """The parts that agents share, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis.
        client: for commands that answer at once.
        guard: bounds what Redis may cost.
        background: runs what outlives a request.
        sessions: where turns go.
        metrics: counts.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        *,
        client: Redis,
        guard: Guard,
        background: Background,
        sessions: SessionStore,
        metrics: Metrics,
    ) -> None:
        self._background = background
        deadline_s = settings.redis.store_deadline_ms / 1000
        self._stream_tails = StreamTails(client, open_client(redis_url, deadline_ms=None, max_connections=1))
        self.tails = Tails(self._stream_tails, guard, background, deadline_s=deadline_s)
        self.journal = JournalStore(
            client,
            ttl_s=settings.sessions.ttl_s,
            max_session_events=settings.sessions.max_turns,
            max_events=settings.journal.max_events,
            hard_max_events=settings.journal.hard_max_events,
        )
        self.recorder = Recorder(
            Together(sessions, self.journal),
            guard,
            queue_records=settings.journal.queue_records,
            on_drop=lambda count: metrics.records_dropped.inc(count),
        )
        metrics.records_waiting.set_function(lambda: self.recorder.waiting)
        self.steps: Recorder[Step] = Recorder(
            recordings := RecordingStore(
                client, ttl_s=settings.sessions.ttl_s, max_bytes=settings.recordings.max_bytes
            ),
            guard,
            queue_records=settings.journal.queue_records,
            on_drop=metrics.steps_dropped.inc,
            what="steps of recordings",
            size_of=lambda step: step.size_bytes,
            queue_bytes=settings.recordings.queue_bytes,
        )
        self.tape = Tape(self.steps, is_on=settings.recordings.max_bytes > 0, now=time.time)
        self._journal_upkeep = JournalUpkeep(self.journal, guard, on_loss=metrics.journal_lost.inc)
        self.timeline = Timeline(self.recorder, self.journal, self.tails, guard, deadline_s=deadline_s, now=time.time)
        self.replay = Replay(recordings, ResponseStore(client), self.steps, self.timeline, guard, now=time.time)

        agent_bounds = _agent_bounds(settings.agents)
        agent_store = AgentStore(client, bounds=agent_bounds, now=time.time)
        self.agents = Agents(agent_store, self.tails, guard, bounds=agent_bounds, deadline_s=deadline_s)
        self._agent_upkeep = AgentUpkeep(agent_store, guard, on_deaths=metrics.agents_dead.inc)

    def open(self) -> None:
        """Start the background work."""
        self._background.spawn(self._agent_upkeep.run(), name="agents")
        self._background.spawn(self.recorder.run(), name="recorder")
        self._background.spawn(self.steps.run(), name="recordings")
        self._background.spawn(self._journal_upkeep.run(), name="journal")

    def end_streams(self) -> None:
        """Let everything that streams to callers end: no more requests are taken."""
        self.tails.close()

    async def drain(self, *, deadline_s: float) -> None:
        """Write what is still to be recorded; the background has ended before."""
        await self.recorder.drain(deadline_s=deadline_s)
        await self.steps.drain(deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close the connections of its own; the background has ended before."""
        await self._stream_tails.aclose()


def _agent_bounds(wanted: AgentSettings) -> AgentBounds:
    return AgentBounds(
        agents=wanted.max_agents,
        fields=wanted.max_fields,
        value_bytes=wanted.value_bytes,
        state_bytes=wanted.state_bytes,
        history=wanted.history,
        feed=wanted.feed,
        history_bytes=wanted.history_bytes,
        deleted_ttl_s=wanted.deleted_ttl_s,
    )
