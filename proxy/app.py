"""create_app: wires stores -> services -> routes; the lifespan opens and closes them. Only this module sees everything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from embeddings import prepare
from embeddings.base import Embedder
from embeddings.batching import BatchingEmbedder, BatchingVerifier
from embeddings.errors import EmbedderError
from embeddings.verifier import Verifier, shipped_folder
from proxy import telemetry
from proxy.api import (
    agents,
    budget,
    cache,
    errors,
    event_groups,
    events,
    health,
    journal,
    langcache,
    memory,
    sessions,
    signals,
    tasks,
    users,
)
from proxy.api.asgi import App, HotPath, Receive, RequestId, Scope, Send
from proxy.api.cache_headers import REQUEST_ID
from proxy.api.deps import Services
from proxy.api.identity import Identity
from proxy.api.openai import chat, models
from proxy.api.passthrough import PassThrough
from proxy.core.budget import Cause, Standing
from proxy.core.confidence import Calibration
from proxy.core.evidence import Report
from proxy.errors import StoreError
from proxy.fleet import Fleet
from proxy.mcp.endpoint import Endpoint
from proxy.ports import Upstream
from proxy.secret import tenant_secret
from proxy.services import ids
from proxy.services.answer_judges import Agreement, AnswerJudge, ModelJudge
from proxy.services.asking_again import Asker
from proxy.services.audits import Sampling
from proxy.services.background import Background
from proxy.services.completions import Completions, Policy
from proxy.services.decisions import DecisionLog, Decisions
from proxy.services.embedding import BoundedEmbedder
from proxy.services.error_budget import ErrorBudget
from proxy.services.feedback import Feedback
from proxy.services.judging import VerifyingJudge
from proxy.services.keeper import Keeper
from proxy.services.late_index import LateIndex
from proxy.services.named_caches import NamedCaches
from proxy.services.named_caches import Policy as CachePolicy
from proxy.services.recorder import Recorder
from proxy.services.repeats import Repeats
from proxy.services.single_flight import Flights
from proxy.services.upkeep import Upkeep
from proxy.settings import Settings, load
from proxy.stores import urls
from proxy.stores.breaker import Guard
from proxy.stores.capacity import Capacity
from proxy.stores.client import open_client
from proxy.stores.decisions import DecisionStore
from proxy.stores.evidence import EvidenceStore
from proxy.stores.named_caches import NamedCacheStore
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from proxy.tuning import own, shipped
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.registry import UpstreamRegistry, build_registry
from proxy.upstream.simulated import simulated_upstream

VERSION = version("deja")
CHAT_PATH = f"/v1{chat.PATH}"
logger = logging.getLogger("deja.app")

DRAIN_S = 5.0
"""How long the way out waits for records to be written."""
EMBEDDER_RETRY_S = 5.0
FIRST_LOOK_S = 0.5
"""How long the start waits for the index to be there; creating it takes some 10 ms."""


class Application:
    """The parts of one Deja process, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis; `embedded://` was resolved before.
        environ: for `os.environ/NAME` in `model_list`.
    """

    def __init__(self, settings: Settings, *, redis_url: str, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.metrics = telemetry.Metrics()
        self.background = Background()
        self.identity = Identity(
            tenant_secret(settings), [key.get_secret_value().encode() for key in settings.auth.keys]
        )
        self.upstreams = open_upstreams(settings, environ)
        # A remote model is waited for, and must never hold the event loop up.
        is_local = prepare.is_local(settings.embedder.source)
        self.embedder = BoundedEmbedder(
            deadline_s=settings.embedder.deadline_ms / 1000,
            is_alone=lambda: is_local and self.chat.active + self.caches.active <= 1,
        )
        self.calibration: Calibration | None = None  # until the models are there
        self.judge = VerifyingJudge(
            deadline_s=settings.embedder.deadline_ms / 1000,
            is_alone=lambda: self.chat.active + self.caches.active <= 1,
        )
        self.passthrough = PassThrough(
            upstreams=self.upstreams, identity=self.identity, metrics=self.metrics, background=self.background
        )
        urls.parse(redis_url)  # a wrong one stops the start here, not the first request
        self._redis_url = redis_url
        self._is_open = False

    async def open(self) -> None:
        """Open connections and start the background work; Redis need not be there."""
        settings = self.settings
        # No timeout of the client's own: the guard bounds every call as a whole, and a second timer costs 30 µs a reply.
        self.client = open_client(self._redis_url, deadline_ms=None, max_connections=settings.redis.max_connections)
        self.guard = Guard(self.client.ping)
        self.responses = ResponseStore(self.client)
        self.fleet = Fleet(
            settings,
            self._redis_url,
            client=self.client,
            guard=self.guard,
            background=self.background,
            metrics=self.metrics,
            embedder=self.embedder,
            upstreams=self.upstreams,
        )
        self.recorder = self.fleet.recorder
        self.decisions = DecisionStore(
            self.client,
            ttl_s=settings.decisions.ttl_s,
            max_per_tenant=settings.decisions.max_per_tenant,
            now=time.time,
        )
        self.decision_recorder = Recorder(
            self.decisions,
            self.guard,
            queue_records=settings.decisions.queue_records,
            on_drop=lambda count: self.metrics.decisions_dropped.inc(count),
            what="decisions",
        )
        self.fleet.queues.append(self.decision_recorder)
        self.metrics.decisions_waiting.set_function(lambda: self.decision_recorder.waiting)
        self.upkeep = Upkeep(
            Capacity(self.client, max_bytes=settings.cache.max_bytes),
            self.guard,
            on_evict=lambda count: self.metrics.entries_evicted.inc(count),
            now=time.time,
        )
        self.error_budget = self._error_budget()
        self.chat = self._chat()
        self.caches = self._caches()
        self.background.spawn(self.decision_recorder.run(), name="decisions")
        if not await self._load_embedder():
            self.background.spawn(self._retry_embedder(), name="embedder")
        self.background.spawn(self.upkeep.run(), name="upkeep")
        self.fleet.open()
        # A first request should find its index; a Redis that is away is not waited for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self.upkeep.has_looked.wait()
        # What is loaded now stays: the collector need not walk it again and again while requests wait.
        gc.collect()
        gc.freeze()
        self._is_open = True

    async def aclose(self) -> None:
        """Write what is still to be recorded, then close everything."""
        self._is_open = False
        self.fleet.end_streams()
        await self.background.aclose()
        await self.fleet.drain(deadline_s=DRAIN_S)
        await self.decision_recorder.drain(deadline_s=DRAIN_S)
        await self.error_budget.drain(deadline_s=DRAIN_S)
        await self.embedder.aclose()
        await self.judge.aclose()
        await self.fleet.aclose()
        await self.guard.aclose()
        await self.upstreams.aclose()
        await self.client.aclose()

    async def answer_chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat/completions."""
        await self.chat(scope, receive, send)

    def services(self) -> Services:
        """What the plain routes are given."""
        deadline_s = self.settings.redis.store_deadline_ms / 1000
        decisions = Decisions(self.decisions, self.guard, levels=lambda: self.calibration, deadline_s=deadline_s)
        return Services(
            identity=self.identity,
            sessions=self.fleet.sessions,
            erasure=self.fleet.erasure,
            decisions=decisions,
            feedback=Feedback(
                decisions,
                self.decisions,
                self.responses,
                self.guard,
                deadline_s=deadline_s,
                on_vote=lambda vote, tier: self.metrics.feedback.labels(vote, tier).inc(),
            ),
            upstreams=self.upstreams,
            models=self.upstreams.models(),
            error_budget=self.error_budget.report,
            caches=self.caches,
            agents=self.fleet.agents,
            memories=self.fleet.memories,
            working_memories=self.fleet.working_memories,
            summary_views=self.fleet.summary_views,
            background=self.background,
            tasks=self.fleet.tasks,
            task_views=self.fleet.task_views,
            events=self.fleet.events,
            event_groups=self.fleet.event_groups,
            signals=self.fleet.signals,
            timeline=self.fleet.timeline,
            replay=self.fleet.replay,
            metrics=self.metrics,
            readiness=self.readiness,
        )

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether calls can be served, and the state of each part."""
        parts = {
            "redis": await self._redis_part(),
            "index": _part(self.upkeep.index_state == "ready", self.upkeep.index_state),
            "embedder": _part(self.embedder.is_ready, self.embedder.fingerprint),
            "recorder": _part(not self.recorder.dropped, f"{self.recorder.dropped} records dropped"),
            "upstream": _part(True, self._default_identity()),
        }
        return self._is_open, parts

    async def _redis_part(self) -> dict[str, str]:
        try:
            async with self.guard.within(self.settings.redis.deadline_ms / 1000):
                await self.client.ping()
        except StoreError as error:
            return _part(False, str(error))
        return _part(True, "answers")

    def _default_identity(self) -> str:
        default = self.upstreams.default
        return default.identity if default is not None else "model_list only"

    def _chat(self) -> chat.ChatCompletions:
        settings = self.settings
        self.vectors = LateIndex()
        keeper = Keeper(
            self.responses,
            self.embedder,
            self.guard,
            deadline_s=settings.redis.store_deadline_ms / 1000,
            default_ttl_s=settings.cache.ttl_s,
            now=time.time,
            traces=self.fleet.traces,
            trace_s=settings.decisions.ttl_s,
        )
        completions = Completions(
            responses=self.responses,
            vectors=self.vectors,
            guard=self.guard,
            embedder=self.embedder,
            judge=self.judge,
            upstreams=self.upstreams,
            flights=Flights(self.background),
            keeper=keeper,
            repeats=Repeats(is_on=settings.cache.on_repeat == "regenerate", window_s=settings.cache.repeat_window_s),
            policy=Policy(
                lookup_deadline_s=settings.redis.deadline_ms / 1000,
                candidates=settings.cache.candidates,
                answer_bytes=settings.limits.answer_bytes,
            ),
            on_index_missing=self.upkeep.index_missing,
            now=time.time,
            memory=self.fleet.memory_reader,
        )
        return chat.ChatCompletions(
            completions=completions,
            identity=self.identity,
            recorder=self.recorder,
            tape=self.fleet.tape,
            memory=self.fleet.memory_writer,
            decisions=DecisionLog(self.decision_recorder, is_on=settings.decisions.max_per_tenant > 0, now=time.time),
            error_budget=self.error_budget,
            metrics=self.metrics,
            background=self.background,
            passthrough=self.passthrough,
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
            ),
            max_wrong_hit_rate=self.settings.cache.max_wrong_hit_rate,
            sampling=Sampling(audit.share, audit.max_per_hour),
            on_audit=lambda kind, verdict: metrics.audits.labels(kind, verdict).inc(),
            on_review=self._show_review,
        )

    def _show_review(self, standings: list[Standing], pool: Report) -> None:
        states = Counter(standing.cause.value for standing in standings)
        self.metrics.show_levels({cause.value: states[cause] for cause in Cause}, [each.level for each in standings])
        estimate, interval = pool.wrong_hit_rate
        self.metrics.show_wrong_hit_rate(estimate, interval.low, interval.high)

    def _caches(self) -> NamedCaches:
        settings = self.settings
        return NamedCaches(
            store=NamedCacheStore(self.client),
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
        )

    async def _load_embedder(self) -> bool:
        """Open the model and its index; False when that did not succeed now."""
        try:
            embedder, verifier = await asyncio.to_thread(self._warm_models)
            calibration = self._own_or_shipped(shipped.calibration(embedder.fingerprint, verifier.fingerprint))
        except EmbedderError as error:
            logger.warning("only exact hits until the models are there: %s", error)
            return False
        self.embedder.use(BatchingEmbedder(embedder))
        self.error_budget.begin(calibration)
        self.judge.use(batching := BatchingVerifier(verifier), calibration, self.error_budget)
        self.fleet.use_models(fingerprint=embedder.fingerprint, dim=embedder.dim, verifier=batching)
        self.calibration = calibration
        index = VectorIndex(self.client, fingerprint=embedder.fingerprint, dim=embedder.dim)
        self.vectors.use(index)
        self.upkeep.watch(index)
        return True

    def _own_or_shipped(self, calibration: Calibration) -> Calibration:
        own_file = self.settings.cache.calibration
        return calibration if own_file is None else own.load(own_file, scale=calibration.scale)

    def _warm_models(self) -> tuple[Embedder, Verifier]:
        self.judge.warm_up()
        embedder, verifier = open_embedder(self.settings), Verifier(shipped_folder())
        embedder.embed(["The first call of a model is its slowest."])
        verifier.score([("The first call of a model is its slowest.", "A model is slowest when it is called first.")])
        return embedder, verifier

    async def _retry_embedder(self) -> None:
        while True:
            await asyncio.sleep(EMBEDDER_RETRY_S)
            if await self._load_embedder():
                return


class _Endpoint:
    """An ASGI application as a route's endpoint: Starlette takes functions for request handlers."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(settings: Settings, *, redis_url: str, environ: Mapping[str, str]) -> FastAPI:
    """Build the application; nothing is opened before its lifespan begins.

    Raises:
        ConfigError: a setting cannot be used.
    """
    deja = Application(settings, redis_url=redis_url, environ=environ)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await deja.open()
        app.state.services = deja.services()
        app.state.end_streams = deja.fleet.end_streams
        try:
            yield
        finally:
            await deja.aclose()

    app = FastAPI(title="Deja", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(RequestId, header=REQUEST_ID, mint=ids.request_id)
    app.add_middleware(HotPath, routes={CHAT_PATH: deja.answer_chat})  # added last, so it is met first
    routes = (health, journal, sessions, cache, budget, models, langcache, agents, tasks, event_groups, events, signals)
    for module in (*routes, memory, users):
        # Not include_router, which matches each request twice (40 to 65 µs); no router is included with a prefix or anything else to add.
        app.router.routes.extend(each.original_route for each in iter_route_contexts(module.router.routes))
    app.router.routes.append(Route(CHAT_PATH, endpoint=_Endpoint(deja.answer_chat), methods=["POST"]))
    app.router.routes.append(Route("/v1/{path:path}", endpoint=deja.passthrough))
    app.router.routes.append(Route("/mcp", Endpoint(app, deja.identity, deja.background, version=VERSION)))
    errors.install(app)
    return app


def create_app_from_environment() -> FastAPI:
    """For servers that import a factory, and for each of several workers; an embedded Redis was started by their parent."""
    settings = load(os.environ)
    telemetry.configure_logging(settings.log_level)
    return create_app(settings, redis_url=settings.redis.url, environ=os.environ)


def open_embedder(settings: Settings) -> Embedder:
    """The embedder the settings ask for, its model prepared if it is not yet.

    Raises:
        EmbedderError: it cannot be had now.
    """
    wanted = settings.embedder
    return prepare.open_embedder(
        wanted.source,
        settings.artifacts,
        wanted.precision,
        threads=wanted.threads,
        model=wanted.model or "",
        api_key=wanted.api_key.get_secret_value() if wanted.api_key else None,
    )


def open_upstreams(settings: Settings, environ: Mapping[str, str]) -> UpstreamRegistry:
    """The providers the settings name; the simulated one where they name none.

    Raises:
        ConfigError: an entry cannot be used.
    """
    wanted = settings.upstream
    default: Upstream
    if wanted.base_url is None:
        default = simulated_upstream()
    else:
        default = OpenAIUpstream(
            wanted.base_url,
            api_key=wanted.api_key.get_secret_value() if wanted.api_key else None,
            connect_timeout_s=wanted.connect_timeout_s,
            read_timeout_s=wanted.read_timeout_s,
            max_connections=wanted.max_connections,
        )
    return build_registry(
        default,
        settings.model_list,
        environ=environ,
        connect_timeout_s=wanted.connect_timeout_s,
        read_timeout_s=wanted.read_timeout_s,
        max_connections=wanted.max_connections,
    )


def _part(is_ok: bool, detail: str) -> dict[str, str]:
    return {"status": "ok" if is_ok else "degraded", "detail": detail}
