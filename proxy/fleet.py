"""The agents' side of the application: state, tasks, events, signals, joined as `app.py` joins the cache; part of the composition root."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from embeddings.batching import BatchingVerifier
from proxy.core.coordination.agents import Bounds as AgentBounds
from proxy.core.coordination.events import Retention
from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.tasks import DEATHS, Durability, QueueConfig
from proxy.core.memory.extraction import Strategy
from proxy.core.recording import Step
from proxy.ports import Upstreams
from proxy.services.agent_upkeep import AgentUpkeep
from proxy.services.agents import Agents
from proxy.services.asking_again import Asker
from proxy.services.background import Background
from proxy.services.bookkeeping import Books
from proxy.services.embedding import NO_FINGERPRINT, BoundedEmbedder
from proxy.services.erasure import Erasable, Erasure, RecordSink, UserErasable
from proxy.services.erasure import Stores as ErasedStores
from proxy.services.event_groups import EventGroups
from proxy.services.events import Events
from proxy.services.extraction import Extraction
from proxy.services.extraction import Policy as ExtractionPolicy
from proxy.services.journal import JournalUpkeep
from proxy.services.kept import Kept
from proxy.services.memories import Memories
from proxy.services.memory_judging import SameJudge
from proxy.services.memory_through_proxy import MemoryReader, MemoryWriter, ReadPolicy, Turn, TurnSink
from proxy.services.memory_upkeep import MemoryUpkeep
from proxy.services.recorder import Recorder
from proxy.services.recordings import Tape
from proxy.services.replay import Replay
from proxy.services.sessions import Bounds as SessionBounds
from proxy.services.sessions import Sessions
from proxy.services.signals import Signals
from proxy.services.summaries import Summaries
from proxy.services.summary_views import SummaryViews
from proxy.services.tails import Tails
from proxy.services.task_claims import Claims
from proxy.services.task_erasure import TaskErasure
from proxy.services.task_upkeep import TaskUpkeep
from proxy.services.task_views import TaskViews
from proxy.services.task_wakeups import Lines
from proxy.services.tasks import TaskPolicy, Tasks
from proxy.services.timeline import Timeline
from proxy.services.working_memory import WorkingMemories
from proxy.settings import Settings
from proxy.settings.agents import AgentSettings, EventSettings, MemorySettings
from proxy.stores.agents import AgentStore
from proxy.stores.append_file import AppendFile
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.erasure import DecisionEraser, EntryEraser, EventEraser, JournalEraser
from proxy.stores.event_groups import EventGroupStore
from proxy.stores.events import EventStore
from proxy.stores.extraction import ExtractionStore
from proxy.stores.journal import JournalStore
from proxy.stores.memories import MemoryStore
from proxy.stores.memory_index import MemoryIndex
from proxy.stores.recording_edits import RecordingEdits
from proxy.stores.recordings import RecordingStore
from proxy.stores.responses import ResponseStore
from proxy.stores.sealing import seal_of
from proxy.stores.session_index import ListedForks, SessionIndex
from proxy.stores.session_records import SessionRecords
from proxy.stores.session_users import SessionUsers
from proxy.stores.sessions import Limits as SessionLimits
from proxy.stores.sessions import SessionStore
from proxy.stores.signals import SignalBus
from proxy.stores.summary_views import SummaryViewStore
from proxy.stores.tails import StreamTails
from proxy.stores.task_lists import TaskLists
from proxy.stores.task_wakeups import WakeUps
from proxy.stores.tasks import TaskStore
from proxy.stores.traces import TraceStore
from proxy.stores.working_memory import WorkingMemoryStore
from proxy.telemetry import Metrics

FLUSH_S = 1.0
"""How long an erasure waits for what this process has still to write; what comes later is erased as it comes."""


class Fleet:
    """The parts that agents share, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis.
        client: for commands that answer at once.
        guard: bounds what Redis may cost.
        background: runs what outlives a request.
        metrics: counts.
        embedder: makes vectors, once there is a model.
        upstreams: has the model that writes summaries.
        books: told what that model costs.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        *,
        client: Redis,
        guard: Guard,
        background: Background,
        metrics: Metrics,
        embedder: BoundedEmbedder,
        upstreams: Upstreams,
        books: Books,
    ) -> None:
        self._background = background
        self.seal = seal_of([key.get_secret_value() for key in settings.cache.encryption_keys])
        self.queues: list[Recorder[Any]] = []  # of others, that are to be written before something is erased
        deadline_s = settings.redis.store_deadline_ms / 1000
        self._append_file = AppendFile(client, open_client(redis_url, deadline_ms=None, max_connections=1))
        self.kept = Kept(
            self._append_file,
            guard,
            background,
            deadline_s=deadline_s,
            patience_s=settings.redis.keep_deadline_ms / 1000,
        )
        self._stream_tails = StreamTails(client, open_client(redis_url, deadline_ms=None, max_connections=1))
        self.tails = Tails(self._stream_tails, guard, background, deadline_s=deadline_s)
        self.journal = JournalStore(
            client,
            ttl_s=settings.sessions.ttl_s,
            max_session_events=settings.sessions.max_turns,
            max_events=settings.journal.max_events,
            hard_max_events=settings.journal.hard_max_events,
        )
        self._open_sessions(settings, client, guard)
        self.recorder = Recorder(
            RecordSink(self._session_records, self.journal, self.erasure.erase_requests),
            guard,
            queue_records=settings.journal.queue_records,
            on_drop=lambda count: metrics.records_dropped.inc(count),
        )
        metrics.records_waiting.set_function(lambda: self.recorder.waiting)
        self.steps: Recorder[Step] = Recorder(
            recordings := RecordingStore(
                client,
                ttl_s=settings.sessions.ttl_s,
                max_bytes=settings.recordings.max_bytes,
                now=time.time,
                seal=self.seal,
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
        self.replay = Replay(
            recordings,
            ListedForks(RecordingEdits(client, ttl_s=settings.sessions.ttl_s, seal=self.seal), self._session_index),
            ResponseStore(client, self.seal),
            self.steps,
            self.timeline,
            guard,
            now=time.time,
        )

        agent_bounds = _agent_bounds(settings.agents)
        agent_store = AgentStore(client, bounds=agent_bounds, now=time.time)
        self.agents = Agents(agent_store, self.tails, guard, self.kept, bounds=agent_bounds, deadline_s=deadline_s)
        self._agent_upkeep = AgentUpkeep(agent_store, guard, on_deaths=metrics.agents_dead.inc)

        task_policy = _task_policy(settings)
        # All at 0 from the start: Prometheus sees no increase to a first 1.
        deaths = {why: metrics.tasks_dead.labels(why) for why in DEATHS}
        task_store = TaskStore(client, max_updates=settings.tasks.max_updates, on_death=lambda why: deaths[why].inc())
        task_lists = TaskLists(client)
        self._wakeups = WakeUps(open_client(redis_url, deadline_ms=None, max_connections=1))
        self._lines = Lines(self._wakeups, background)
        metrics.task_claims_waiting.set_function(lambda: self._lines.waiting)
        self.tasks = Tasks(
            task_store,
            task_lists,
            Claims(task_store, self._lines, guard, background, deadline_s=deadline_s),
            self.kept,
            guard,
            policy=task_policy,
            on_step=lambda step, count: metrics.task_steps.labels(step).inc(count),
            on_change=self._note_task,
        )
        self.task_views = TaskViews(task_lists, self.tails, guard, deadline_s=deadline_s)
        self._erased_by_session["tasks"] = TaskErasure(task_store, task_lists, guard, deadline_s=deadline_s)
        self._task_upkeep = TaskUpkeep(
            task_store,
            task_lists,
            guard,
            max_ended=settings.tasks.max_ended,
            on_due=metrics.task_steps.labels("due").inc,
        )

        self.events = Events(
            EventStore(client, retention=_retention(settings.events), max_streams=settings.events.max_streams),
            self.tails,
            guard,
            self.kept,
            background,
            deadline_s=deadline_s,
            event_bytes=settings.events.event_bytes,
            body_bytes=settings.limits.body_bytes,
            on_append=metrics.events_appended.inc,
            on_missed=metrics.events_missed.inc,
        )
        self._erased_by_session["appended_events"] = EventEraser(client)
        self.event_groups = EventGroups(
            EventGroupStore(client, max_streams=settings.events.max_streams),
            self.tails,
            guard,
            background,
            deadline_s=deadline_s,
        )

        self._signal_bus = SignalBus(client, open_client(redis_url, deadline_ms=None, max_connections=1))
        self.signals = Signals(
            self._signal_bus,
            guard,
            background,
            deadline_s=deadline_s,
            message_bytes=settings.signals.message_bytes,
            queue_signals=settings.signals.queue_signals,
            max_subscribers=settings.signals.max_subscribers,
            now=time.time,
            on_missed=metrics.signals_missed.inc,
        )
        metrics.signal_subscribers.set_function(lambda: self.signals.subscribers)

        self._open_memories(client, guard, embedder, deadline_s, settings.embedder.deadline_ms / 1000)
        asker = Asker(
            answer_bytes=settings.limits.answer_bytes,
            on_call=lambda purpose, usage: metrics.show_memory_call(purpose, usage.get("total_tokens")),
            books=books,
        )
        self._open_memory_through_proxy(settings, client, guard, upstreams, metrics, asker)
        self._open_memory_server(settings, client, guard, upstreams, asker)

    def _open_sessions(self, settings: Settings, client: Redis, guard: Guard) -> None:
        """Before the recorders: they write into sessions what was not erased."""
        wanted = settings.sessions
        limits = SessionLimits(ttl_s=wanted.ttl_s, max_turns=wanted.max_turns, max_bytes=wanted.max_bytes)
        index = self._session_index = SessionIndex(client, ttl_s=wanted.ttl_s)
        store = SessionStore(client, index, limits=limits, seal=self.seal)
        bounds = SessionBounds(
            max_turns=wanted.max_turns,
            max_message_bytes=wanted.max_message_bytes,
            max_data_bytes=wanted.max_data_bytes,
            body_bytes=settings.limits.body_bytes,
        )
        self.sessions = Sessions(
            store, guard, self.kept, bounds=bounds, deadline_s=settings.redis.store_deadline_ms / 1000
        )
        trace_s = max(settings.decisions.ttl_s, wanted.ttl_s)
        self._session_records = SessionRecords(
            client, index, limits=limits, trace_s=trace_s, now=time.time, seal=self.seal
        )
        self.traces = TraceStore(client)
        self._erased_by_session: dict[str, Erasable] = {}  # filled by those who keep something of sessions, or of users
        self._erased_by_user: dict[str, UserErasable] = {}
        self.erasure = Erasure(
            ErasedStores(
                sessions=store,
                index=index,
                traces=self.traces,
                entries=EntryEraser(client),
                decisions=DecisionEraser(client, self.seal),
                journal=JournalEraser(client),
                recordings=RecordingEdits(client, ttl_s=wanted.ttl_s, seal=self.seal),
                by_session=self._erased_by_session,
                by_user=self._erased_by_user,
            ),
            guard,
            flush=self._flush,
        )

    async def _flush(self) -> None:
        """Have what this process still holds written."""
        queues: list[Recorder[Any]] = [self.recorder, self.steps, *self.queues]
        await asyncio.gather(*(queue.flush(deadline_s=FLUSH_S) for queue in queues))

    def _open_memories(
        self, client: Redis, guard: Guard, embedder: BoundedEmbedder, deadline_s: float, judging_deadline_s: float
    ) -> None:
        store = MemoryStore(client)
        index = MemoryIndex(client, store, fingerprint=NO_FINGERPRINT, dim=0)
        self._memory_upkeep = MemoryUpkeep(store, guard, embedder, index, now=time.time)
        self._same_judge = SameJudge(deadline_s=judging_deadline_s)
        self._client, self._memory_store = client, store
        self.memories = Memories(
            store,
            self._memory_upkeep,
            guard,
            embedder,
            self._same_judge,
            self.kept,
            deadline_s=deadline_s,
            now=time.time,
        )

    def _open_memory_through_proxy(
        self, settings: Settings, client: Redis, guard: Guard, upstreams: Upstreams, metrics: Metrics, asker: Asker
    ) -> None:
        wanted, deadline_s = settings.memory, settings.redis.store_deadline_ms / 1000
        users = SessionUsers(client)
        self.memory_reader = MemoryReader(
            self.memories, users, guard, policy=_read_policy(wanted), on_read=metrics.show_memory_read
        )
        self.extraction = Extraction(
            ExtractionStore(client, self.seal),
            self.tasks,
            self.memories,
            asker,
            upstreams,
            guard,
            self.kept,
            policy=ExtractionPolicy(wanted.model, wanted.write_delay_s, wanted.write_lease_s, deadline_s),
            on_drawn=metrics.show_memory_draw,
            now=time.time,
        )
        self._turns: Recorder[Turn] = Recorder(
            TurnSink(self.extraction, users, guard, deadline_s=deadline_s),
            guard,
            queue_records=settings.journal.queue_records,
            on_drop=metrics.turns_dropped.inc,
            what="turns to be remembered",
            size_of=lambda turn: turn.size_bytes,
            queue_bytes=settings.recordings.queue_bytes,
        )
        self.queues.append(self._turns)
        self.memory_writer = MemoryWriter(
            self._turns, strategy=Strategy(wanted.strategy), prompt=wanted.prompt or "", now=time.time
        )

    def _open_memory_server(
        self, settings: Settings, client: Redis, guard: Guard, upstreams: Upstreams, asker: Asker
    ) -> None:
        deadline_s = settings.redis.store_deadline_ms / 1000
        summaries = Summaries(asker, upstreams, model=settings.memory.model)
        self.working_memories = WorkingMemories(
            WorkingMemoryStore(client, self.seal),
            self.memories,
            summaries,
            guard,
            self.kept,
            self._background,
            deadline_s=deadline_s,
            now=time.time,
            body_bytes=settings.limits.body_bytes,
            extraction=self.extraction,
        )
        self.summary_views = SummaryViews(
            SummaryViewStore(client, self.seal),
            self.memories,
            summaries,
            guard,
            self._background,
            deadline_s=deadline_s,
            now=time.time,
        )
        # Sessions first: what is in them would go on becoming memories.
        for kind, each in (
            ("working_memories", self.working_memories),
            ("memories", self.memories),
            ("summaries", self.summary_views),
        ):
            self._erased_by_session[kind] = self._erased_by_user[kind] = each

    def _note_task(self, verb: str, at: QueueKeys, record: Mapping[str, str]) -> None:
        """Tell the timeline of the session that a task names."""
        if session := record.get("session"):
            told = {
                name: record.get(field, "")
                for name, field in (("task", "id"), ("state", "state"), ("attempt", "attempt"))
            }
            agent = record.get("worker") or record.get("agent")
            self.timeline.note(at.tenant, session, f"deja.task.{verb}", {"queue": at.queue, **told}, agent=agent)

    def use_models(self, *, fingerprint: str, dim: int, verifier: BatchingVerifier) -> None:
        """The models are there: memories are found by meaning from now on, in the space that the embedder's fingerprint names."""
        self._same_judge.use(verifier)
        index = MemoryIndex(self._client, self._memory_store, fingerprint=fingerprint, dim=dim)
        self._memory_upkeep.use(index)

    def open(self) -> None:
        """Start the background work."""
        self._background.keep(self._agent_upkeep.run, name="agents")
        self._background.keep(self._task_upkeep.run, name="tasks")
        self._background.keep(self.recorder.run, name="recorder")
        self._background.keep(self.steps.run, name="recordings")
        self._background.keep(self._turns.run, name="turns to be remembered")
        self._background.keep(self.extraction.run, name="extraction")
        self._background.keep(self._journal_upkeep.run, name="journal")
        self._background.keep(self.events.run, name="events")
        self._background.keep(self.signals.run, name="signals")
        self._background.keep(self._memory_upkeep.run, name="memories")
        self._background.keep(self.working_memories.run, name="working memory")
        self._background.keep(self.summary_views.keep_fresh, name="summary views")

    def end_streams(self) -> None:
        """Let everything that streams to callers end: no more requests are taken."""
        self.tails.close()
        self._lines.close()
        self.signals.close()

    async def drain(self, *, deadline_s: float) -> None:
        """Write what is still to be recorded; the background has ended before."""
        await self.recorder.drain(deadline_s=deadline_s)
        await self.steps.drain(deadline_s=deadline_s)
        await self._turns.drain(deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close the connections of its own; the background has ended before."""
        await self._stream_tails.aclose()
        await self._append_file.aclose()
        await self._wakeups.aclose()
        await self._signal_bus.aclose()


def _retention(wanted: EventSettings) -> Retention:
    return Retention(wanted.max_events, wanted.max_age_s, max(wanted.max_events, wanted.max_unread_events))


def _read_policy(wanted: MemorySettings) -> ReadPolicy:
    return ReadPolicy(
        most=wanted.read_limit,
        max_tokens=wanted.read_tokens,
        max_distance=wanted.read_max_distance,
        deadline_s=wanted.read_deadline_ms / 1000,
    )


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


def _task_policy(settings: Settings) -> TaskPolicy:
    wanted = settings.tasks
    return TaskPolicy(
        defaults=QueueConfig(
            durability=Durability.EVERYSEC,
            max_attempts=wanted.max_attempts,
            lease_s=wanted.lease_s,
            backoff_s=wanted.backoff_s,
            max_backoff_s=wanted.max_backoff_s,
            retention_s=float(wanted.retention_s),
        ),
        payload_bytes=wanted.payload_bytes,
        body_bytes=settings.limits.body_bytes,
        max_queues=wanted.max_queues,
        deadline_s=settings.redis.store_deadline_ms / 1000,
    )
