"""The cache's side of the application: look-ups, decisions, the models behind them, named caches; part of the composition root."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from redis.asyncio import Redis

from embeddings.batching import BatchingEmbedder, BatchingVerifier
from embeddings.errors import EmbedderError
from proxy import model_loading
from proxy.api.cached_route import CachedRoute
from proxy.api.identity import Identity
from proxy.api.openai import embeddings
from proxy.api.openai.embeddings import Embeddings
from proxy.api.passthrough import PassThrough
from proxy.core import keys
from proxy.core.budget import Cause, Standing
from proxy.core.confidence import Calibration
from proxy.core.dialects import DIALECTS
from proxy.core.dialects.responses import RESPONSES
from proxy.core.evidence import Report
from proxy.core.freshness import Freshness
from proxy.core.worth import Why
from proxy.fleet import Fleet
from proxy.migration import Migrations, Parts
from proxy.services import ids
from proxy.services.answer_judges import Agreement, AnswerJudge, ModelJudge
from proxy.services.asking_again import Asker
from proxy.services.audits import Sampling
from proxy.services.background import Background
from proxy.services.bookkeeping import Books
from proxy.services.completions import Completions, Policy
from proxy.services.decisions import DecisionLog, Decisions
from proxy.services.embedding import BoundedEmbedder
from proxy.services.embedding_keeper import EmbeddingKeeper
from proxy.services.embeddings_cache import EmbeddingsCache
from proxy.services.error_budget import ErrorBudget
from proxy.services.feedback import Feedback
from proxy.services.first_level import FirstLevel
from proxy.services.follow_ups import FollowUps
from proxy.services.forwarding import Forwarding, ForwardingPolicy
from proxy.services.history import History
from proxy.services.judging import VerifyingJudge
from proxy.services.keeper import Keeper
from proxy.services.late_index import LateIndex
from proxy.services.live_decisions import LiveDecisions
from proxy.services.named_caches import NamedCaches
from proxy.services.named_caches import Policy as CachePolicy
from proxy.services.policies import Policies
from proxy.services.recorder import Recorder
from proxy.services.refreshing import Refresher
from proxy.services.repeats import Repeats
from proxy.services.shared_flights import SharedFlights
from proxy.services.single_flight import Flights
from proxy.services.tails import Tails
from proxy.services.tracing import Tracing
from proxy.services.upkeep import Upkeep
from proxy.services.worth import Earnings
from proxy.settings import EMBEDDED_URL, Settings
from proxy.stores.asked import AskedStore
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.decisions import DecisionStore
from proxy.stores.embeddings import EmbeddingStore
from proxy.stores.evidence import EvidenceStore
from proxy.stores.flights import FlightStore, FlightWords
from proxy.stores.follow_ups import ReplayedResponses
from proxy.stores.invalidations import Invalidations
from proxy.stores.named_caches import NamedCacheStore
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from proxy.telemetry import Metrics
from proxy.upstream.registry import UpstreamRegistry

logger = logging.getLogger("deja.caching")

EMBEDDER_RETRY_S = 5.0
VERIFYING = min(2, os.cpu_count() or 1)
"""Threads that run the verifier: it is three quarters of a semantic hit's work, and one of them alone leaves half of two cores idle."""


class Caching:
    """The parts that answer completions and named caches, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis.
        client: for commands that answer at once.
        guard: bounds what Redis may cost.
        background: runs what outlives a request.
        metrics: counts.
        embedder: without a model until `open` has loaded one; others hold it too.
        identity: who is asking.
        upstreams: the configured providers.
        passthrough: takes what is not cached.
        fleet: sessions, memory and the journal, which completions feed.
        policies: what owners decided for their namespaces.
        books: told what calls cost and hits save.
        earnings: told the hits of named caches; trims the cache.
        history: told how requests went, for the dashboard.
        tracing: makes traces, None where there are none.

    Attributes:
        routes: path below `/v1` -> what answers it from the cache.
        calibration: of the models that are loaded; None until then.
        migrations: what becomes of the entries of an embedder that was changed.
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
        identity: Identity,
        upstreams: UpstreamRegistry,
        passthrough: PassThrough,
        fleet: Fleet,
        policies: Policies,
        books: Books,
        earnings: Earnings,
        history: History,
        tracing: Tracing | None,
    ) -> None:
        self.settings = settings
        self.client = client
        self.guard = guard
        self.background = background
        self.metrics = metrics
        self.embedder = embedder
        self.identity = identity
        self.upstreams = upstreams
        self.passthrough = passthrough
        self.fleet = fleet
        self.policies = policies
        self.books = books
        self.earnings = earnings
        self.history = history
        self.tracing = tracing
        self.calibration: Calibration | None = None
        self.seal = fleet.seal
        self.responses = ResponseStore(client, self.seal)
        self.vectors = LateIndex()
        self.first_level = FirstLevel(settings.cache.local_bytes)
        self._changes = Invalidations(open_client(redis_url, deadline_ms=None, max_connections=1), keys.ANSWERS)
        self.judge = VerifyingJudge(deadline_s=settings.embedder.deadline_ms / 1000, is_alone=lambda: self.active <= 1)
        self.migrations = Migrations(
            Parts(settings, client, guard, background, metrics, self.seal, embedder, self.vectors, self.judge)
        )
        # At 0 from the start: Prometheus sees no increase to a first 1.
        evicted = {why: metrics.entries_evicted.labels(why) for why in Why}
        self.upkeep = Upkeep(
            earnings,
            guard,
            on_evict=lambda trimmed: evicted[trimmed.why].inc(trimmed.count),
            now=time.time,
        )
        self._flight_words: FlightWords | None = None
        self.shared_flights = self._shared_flights(redis_url)
        self.freshness = Freshness(
            settings.cache.stale_while_revalidate_s, settings.cache.stale_if_error_s, settings.cache.refresh_ahead
        )
        self._open_decisions()
        self.error_budget = self._error_budget()
        self.follow_ups = FollowUps(
            ReplayedResponses(client, self.seal),
            guard,
            deadline_s=settings.redis.store_deadline_ms / 1000,
            ttl_s=settings.cache.responses_ttl_s,
            traces=fleet.traces,
            now=time.time,
        )
        self.routes = self._routes()
        self.caches = self._caches()

    @property
    def active(self) -> int:
        """Requests being answered now."""
        return sum(route.active for route in self.routes.values()) + self.caches.active

    async def open(self) -> None:
        """Load the models, or go on trying, and start the background work."""
        self.background.keep(self.decision_recorder.run, name="decisions")
        if not await self._load_models():
            self.background.keep(self._retry_models, name="embedder")
        self.background.keep(self.upkeep.run, name="upkeep")
        if self.shared_flights is not None:
            self.shared_flights.open()
        if self.settings.cache.local_bytes:
            self.background.keep(partial(self.first_level.run, self._changes), name="first-level")

    async def drain(self, *, deadline_s: float) -> None:
        """Write what is still to be recorded."""
        await self.decision_recorder.drain(deadline_s=deadline_s)
        await self.error_budget.drain(deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Let the verifier and a connection go."""
        await self.migrations.aclose()
        await self.judge.aclose()
        await self._changes.aclose()
        if self._flight_words is not None:
            await self._flight_words.aclose()

    async def see_followers_off(self, *, deadline_s: float) -> None:
        """Let callers of other processes have the answers that come in through this one; before the background ends."""
        if self.shared_flights is not None:
            await self.shared_flights.drain(deadline_s=deadline_s)

    def _refresher(self) -> Refresher | None:
        if not self.freshness.refreshes:
            return None
        count = self.metrics.refreshes
        return Refresher(
            self.freshness, self.background, now=time.time, on_event=lambda why, how: count.labels(why, how).inc()
        )

    def _shared_flights(self, redis_url: str) -> SharedFlights | None:
        """Calls in flight shared with other processes; None where there can be no others, or the settings say so."""
        settings, followed = self.settings, self.metrics.flights_followed
        is_wanted = settings.cache.shared_flights
        if not (settings.redis.url != EMBEDDED_URL if is_wanted is None else is_wanted):
            return None
        connection = open_client(redis_url, deadline_ms=None, max_connections=1)
        self._flight_words = FlightWords(self.client, connection, self.seal)
        deadline_s = settings.redis.store_deadline_ms / 1000
        return SharedFlights(
            FlightStore(self.client, self.seal),
            Tails(self._flight_words, self.guard, self.background, deadline_s=deadline_s),
            self.guard,
            self.background,
            process=ids.process_id(),
            claim_deadline_s=settings.redis.deadline_ms / 1000,
            deadline_s=deadline_s,
            on_event=lambda how: followed.labels(how).inc(),
        )

    def _open_decisions(self) -> None:
        settings, metrics = self.settings, self.metrics
        self.decision_store = DecisionStore(
            self.client,
            ttl_s=settings.decisions.ttl_s,
            max_per_tenant=settings.decisions.max_per_tenant,
            now=time.time,
            seal=self.seal,
        )
        self.decision_recorder = Recorder(
            self.decision_store,
            self.guard,
            queue_records=settings.decisions.queue_records,
            on_drop=lambda count: metrics.decisions_dropped.inc(count),
            what="decisions",
        )
        self.fleet.queues.append(self.decision_recorder)
        metrics.decisions_waiting.set_function(lambda: self.decision_recorder.waiting)
        deadline_s = settings.redis.store_deadline_ms / 1000
        self.decisions = Decisions(
            self.decision_store, self.guard, levels=lambda: self.calibration, deadline_s=deadline_s
        )
        self.live_decisions = LiveDecisions(self.decision_store, self.fleet.tails, self.guard, self.background)
        self.feedback = Feedback(
            self.decisions,
            self.decision_store,
            self.responses,
            self.guard,
            deadline_s=deadline_s,
            on_vote=lambda vote, tier: metrics.feedback.labels(vote, tier).inc(),
        )

    def _completions(self) -> Completions:
        settings = self.settings
        keeper = Keeper(
            self.responses,
            self.embedder,
            self.guard,
            deadline_s=settings.redis.store_deadline_ms / 1000,
            default_ttl_s=settings.cache.ttl_s,
            now=time.time,
            traces=self.fleet.traces,
            trace_s=settings.decisions.ttl_s,
            stale_s=self.freshness.kept_s,
        )
        return Completions(
            responses=self.responses,
            vectors=self.vectors,
            guard=self.guard,
            embedder=self.embedder,
            judge=self.judge,
            upstreams=self.upstreams,
            forwarding=Forwarding(
                flights=Flights(self.background),
                shared_flights=self.shared_flights,
                keeper=keeper,
                books=self.books,
                first_level=self.first_level,
                policy=ForwardingPolicy(settings.limits.answer_bytes, self.freshness),
                now=time.time,
            ),
            keeper=keeper,
            refresher=self._refresher(),
            repeats=Repeats(
                AskedStore(self.client),
                self.guard,
                is_on=settings.cache.on_repeat == "regenerate",
                window_s=settings.cache.repeat_window_s,
                deadline_s=settings.redis.deadline_ms / 1000,
            ),
            policy=Policy(
                lookup_deadline_s=settings.redis.deadline_ms / 1000,
                candidates=settings.cache.candidates,
                freshness=self.freshness,
            ),
            on_index_missing=self.upkeep.index_missing,
            now=time.time,
            books=self.books,
            memory=self.fleet.memory_reader,
            first_level=self.first_level,
        )

    def _routes(self) -> dict[str, CachedRoute | Embeddings]:
        settings, completions = self.settings, self._completions()
        decisions = DecisionLog(self.decision_recorder, is_on=settings.decisions.max_per_tenant > 0, now=time.time)
        of_dialects = {
            dialect.path: CachedRoute(
                dialect,
                completions=completions,
                identity=self.identity,
                recorder=self.fleet.recorder,
                tape=self.fleet.tape,
                memory=self.fleet.memory_writer,
                decisions=decisions,
                history=self.history,
                error_budget=self.error_budget,
                metrics=self.metrics,
                background=self.background,
                passthrough=self.passthrough,
                policies=self.policies,
                default_mode=settings.cache.mode,
                key_user=settings.cache.key_user,
                body_bytes=settings.limits.body_bytes,
                now=time.time,
                follow_ups=self.follow_ups if dialect is RESPONSES else None,
                tracing=self.tracing,
            )
            for dialect in DIALECTS
        }
        return {**of_dialects, embeddings.PATH: self._embeddings()}

    def _embeddings(self) -> Embeddings:
        settings, store = self.settings, EmbeddingStore(self.client, self.seal)
        keeper = EmbeddingKeeper(
            store,
            self.guard,
            self.fleet.traces,
            deadline_s=settings.redis.store_deadline_ms / 1000,
            default_ttl_s=settings.cache.ttl_s,
            trace_s=settings.decisions.ttl_s,
            now=time.time,
        )
        return Embeddings(
            cache=EmbeddingsCache(
                store=store,
                guard=self.guard,
                upstreams=self.upstreams,
                keeper=keeper,
                lookup_deadline_s=settings.redis.deadline_ms / 1000,
                now=time.time,
            ),
            identity=self.identity,
            recorder=self.fleet.recorder,
            history=self.history,
            tracing=self.tracing,
            books=self.books,
            metrics=self.metrics,
            background=self.background,
            passthrough=self.passthrough,
            policies=self.policies,
            default_mode=settings.cache.mode,
            key_user=settings.cache.key_user,
            body_bytes=settings.limits.body_bytes,
            now=time.time,
        )

    def _error_budget(self) -> ErrorBudget:
        audit, metrics = self.settings.audit, self.metrics
        judge: AnswerJudge = Agreement(self.embedder)
        if audit.judge_model is not None:
            judge = ModelJudge(audit.judge_model, self.upstreams)
        return ErrorBudget(
            open_store=lambda space: EvidenceStore(self.client, space=space),
            guard=self.guard,
            background=self.background,
            responses=self.responses,
            judge=judge,
            asker=Asker(
                answer_bytes=self.settings.limits.answer_bytes,
                on_call=lambda purpose, usage: metrics.show_audit_call(purpose, usage.get("total_tokens")),
                books=self.books,
            ),
            max_wrong_hit_rate=self.settings.cache.max_wrong_hit_rate,
            rate_of=self.policies.max_wrong_hit_rate,
            sampling=Sampling(audit.share, audit.max_per_hour),
            on_audit=lambda kind, verdict: metrics.audits.labels(kind, verdict).inc(),
            on_review=self._show_review,
            on_counted=lambda tenant, is_wrong: self.history.audited(tenant, is_wrong=is_wrong),
        )

    def _show_review(self, standings: list[Standing], pool: Report) -> None:
        states = Counter(standing.cause.value for standing in standings)
        self.metrics.show_levels({cause.value: states[cause] for cause in Cause}, [each.level for each in standings])
        estimate, interval = pool.wrong_hit_rate
        self.metrics.show_wrong_hit_rate(estimate, interval.low, interval.high)

    def _caches(self) -> NamedCaches:
        settings = self.settings
        return NamedCaches(
            store=NamedCacheStore(self.client, self.seal),
            vectors=self.vectors,
            guard=self.guard,
            embedder=self.embedder,
            judge=self.judge,
            background=self.background,
            policy=CachePolicy(
                lookup_deadline_s=settings.redis.deadline_ms / 1000,
                store_deadline_s=settings.redis.store_deadline_ms / 1000,
                candidates=settings.cache.candidates,
                default_ttl_s=settings.cache.ttl_s,
                body_bytes=settings.limits.body_bytes,
                response_bytes=settings.limits.answer_bytes,
            ),
            on_index_missing=self.upkeep.index_missing,
            now=time.time,
            on_hit=lambda entry: self.earnings.served(
                entry.entry_id, usage=entry.usage, tariff=None, size_bytes=len(entry.body)
            ),
        )

    async def _load_models(self) -> bool:
        """Open the model and its index; False when that did not succeed now."""
        on_call = self._embedding_calls()
        try:
            await asyncio.to_thread(self.judge.warm_up)
            models = await asyncio.to_thread(model_loading.load, self.settings, on_call=on_call)
        except EmbedderError as error:
            logger.warning("only exact hits until the models are there: %s", error)
            return False
        embedder, self.calibration = models.embedder, models.calibration
        self.embedder.use(model := BatchingEmbedder(embedder))
        self.error_budget.begin(models.calibration)
        self.judge.use(
            batching := BatchingVerifier(models.verifier, threads=VERIFYING), models.calibration, self.error_budget
        )
        self.fleet.use_models(fingerprint=embedder.fingerprint, dim=embedder.dim, verifier=batching)
        index = VectorIndex(
            self.client,
            fingerprint=embedder.fingerprint,
            dim=embedder.dim,
            deadline_ms=self.settings.redis.deadline_ms,
            seal=self.seal,
        )
        self.vectors.use(index)
        self.upkeep.watch(index)
        await self.migrations.begin(models, model, on_call=on_call)
        return True

    def _embedding_calls(self) -> Callable[[int | None], None]:
        """What a remote embedder tells of its calls, from its own threads; nothing where the model is here."""
        loop, model = asyncio.get_running_loop(), self.settings.embedder.model or ""

        def note(tokens: int | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the ledger with it
                loop.call_soon_threadsafe(self.books.embedded_text, model, tokens)

        return note

    async def _retry_models(self) -> None:
        while True:
            await asyncio.sleep(EMBEDDER_RETRY_S)
            if await self._load_models():
                return
