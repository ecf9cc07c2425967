"""create_app: wires stores -> services -> routes; the lifespan opens and closes them. Only this module sees everything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import generate_latest
from starlette.routing import Route

from embeddings import prepare
from proxy import otel, telemetry
from proxy.accounting import open_earnings, open_ledger, open_prices
from proxy.api import (
    admin,
    agents,
    budget,
    cache,
    dashboard,
    decisions,
    entries,
    errors,
    event_groups,
    events,
    given_answers,
    health,
    journal,
    langcache,
    memory,
    overview,
    policies,
    schemas,
    sessions,
    signals,
    tasks,
    usage,
    users,
)
from proxy.api.asgi import App, Receive, RequestId, Scope, Send
from proxy.api.cache_headers import REQUEST_ID
from proxy.api.cached_route import CachedRoute
from proxy.api.deps import Services
from proxy.api.door import Door
from proxy.api.identity import Identity
from proxy.api.openai import embeddings, models, responses
from proxy.api.passthrough import PassThrough
from proxy.api.wall import Wall
from proxy.caching import Caching
from proxy.core.breakers import State
from proxy.core.dialects import DIALECTS
from proxy.errors import StoreError
from proxy.fleet import Fleet
from proxy.mcp.endpoint import Allowed, Endpoint
from proxy.metric_sharing import Siblings
from proxy.ports import Upstream
from proxy.secret import local_admin_key, tenant_secret
from proxy.services import ids
from proxy.services.api_keys import ApiKeys
from proxy.services.background import Background
from proxy.services.bookkeeping import Books
from proxy.services.embedding import BoundedEmbedder
from proxy.services.entries import Entries
from proxy.services.garbage import Collector
from proxy.services.history import History
from proxy.services.known_keys import KnownKeys
from proxy.services.limits import Limits
from proxy.services.overview import Overviews
from proxy.services.policies import Policies
from proxy.settings import Settings
from proxy.stores import urls
from proxy.stores.access import AccessStore
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.entries import EntryStore
from proxy.stores.entry_lists import EntryLists
from proxy.stores.fleet_totals import FleetTotalsStore
from proxy.stores.history import HistoryStore
from proxy.stores.limits import LimitStore
from proxy.stores.policies import PolicyStore
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.registry import UpstreamRegistry, build_registry
from proxy.upstream.router_settings import parse_routing
from proxy.upstream.simulated import simulated_upstream

VERSION = version("deja")
logger = logging.getLogger("deja.app")

LOCAL_ADMIN = "local"
"""What the audit log calls whoever administers with the key file of the data directory."""
DRAIN_S = 5.0
"""How long the way out waits for records to be written."""
FIRST_LOOK_S = 0.5
"""How long the start waits for the index to be there; creating it takes some 10 ms."""


class Application:
    """The parts of one Deja process, opened and closed together.

    Args:
        settings: all of them.
        redis_url: of a running Redis; `embedded://` was resolved before.
        environ: for `os.environ/NAME` in `model_list`.
        shared: folder of a supervisor's workers, and the name of this one; None for a process of its own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        redis_url: str,
        environ: Mapping[str, str],
        shared: tuple[Path, str] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = telemetry.Metrics()
        self._siblings = None if shared is None else Siblings(*shared, self.metrics.registry)
        self.background = Background(lambda name: self.metrics.background_failures.labels(name).inc())
        self.traces = otel.open_tracing(settings, version=VERSION)
        self._secret = tenant_secret(settings)
        self.identity = open_identity(settings, self._secret)
        self.upstreams = open_upstreams(settings, environ, metrics=self.metrics)
        self.prices = open_prices(settings)
        # A remote model is waited for, and must never hold the event loop up.
        is_local = prepare.is_local(settings.embedder.source)
        self.embedder = BoundedEmbedder(
            deadline_s=settings.embedder.deadline_ms / 1000,
            is_alone=lambda: is_local and self.caching.active <= 1,
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
        asyncio.get_running_loop().set_exception_handler(telemetry.log_of_loop)
        # No timeout of the client's own: the guard bounds every call as a whole, and a second timer costs 30 µs a reply.
        self.client = open_client(self._redis_url, deadline_ms=None, max_connections=settings.redis.max_connections)
        self.guard = Guard(self.client.ping)
        self.access = AccessStore(self.client)
        deadline_s = settings.redis.store_deadline_ms / 1000
        self.known_keys = KnownKeys(self.access, self.guard, secret=self._secret, deadline_s=deadline_s)
        self.identity.use(self.known_keys)
        self.ledger = open_ledger(settings, self.prices, client=self.client, guard=self.guard, metrics=self.metrics)
        earnings = open_earnings(settings, self.prices, self.upstreams, client=self.client)
        books = Books(self.ledger, earnings)
        self.history = History(HistoryStore(self.client), self.guard, now=time.time)
        self.ledger.watch_counts(self.history.booked)
        self._limits = Limits(
            LimitStore(self.client),
            self.guard,
            self.background,
            spending=self.ledger,
            default_requests_per_minute=settings.limits.requests_per_minute,
            deadline_s=settings.redis.deadline_ms / 1000,
            on_unchecked=self.metrics.limits_unchecked.inc,
            now=time.time,
        )
        self.ledger.watch_tokens(self._limits.charge)
        self.fleet = Fleet(
            settings,
            self._redis_url,
            client=self.client,
            guard=self.guard,
            background=self.background,
            metrics=self.metrics,
            embedder=self.embedder,
            upstreams=self.upstreams,
            books=books,
        )
        self.policies = Policies(PolicyStore(self.client), self.guard, self.fleet.kept)
        self.caching = Caching(
            settings,
            self._redis_url,
            client=self.client,
            guard=self.guard,
            background=self.background,
            metrics=self.metrics,
            embedder=self.embedder,
            identity=self.identity,
            upstreams=self.upstreams,
            passthrough=self.passthrough,
            fleet=self.fleet,
            policies=self.policies,
            books=books,
            earnings=earnings,
            history=self.history,
            tracing=None if self.traces is None else self.traces.tracing,
        )
        self.api_keys = ApiKeys(
            self.access, self.guard, self.fleet.kept, secret=self._secret, deadline_s=deadline_s, now=time.time
        )
        self.overviews = Overviews(
            self.history, self.ledger, self.api_keys, FleetTotalsStore(self.client), self.guard, now=time.time
        )
        self.entries = Entries(
            EntryStore(self.client, self.fleet.seal),
            EntryLists(self.client),
            self.guard,
            secret=self._secret,
            now=time.time,
        )
        await self.caching.open()
        self.fleet.open()
        self.background.keep(self.ledger.run, name="ledger")
        self.background.keep(self.history.run, name="history")
        self.background.keep(self.known_keys.run, name="known-keys")
        self.background.keep(self.entries.run, name="entry-lists")
        self.background.keep(self.policies.run, name="policies")
        self.background.keep(self._limits.run, name="limits")
        # A first request should find its index; a Redis that is away is not waited for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self.caching.upkeep.has_looked.wait()
        garbage = Collector()
        garbage.begin()
        self.background.keep(garbage.run, name="garbage")
        if self._siblings is not None:
            await self._siblings.open()
        self._is_open = True

    async def aclose(self) -> None:
        """Write what is still to be recorded, then close everything."""
        self._is_open = False
        self.fleet.end_streams()
        await self.caching.see_followers_off(deadline_s=self.settings.drain_s)
        await self.background.aclose()
        await self.fleet.drain(deadline_s=DRAIN_S)
        await self.caching.drain(deadline_s=DRAIN_S)
        await self.ledger.drain(deadline_s=DRAIN_S)
        await self.history.drain(deadline_s=DRAIN_S)
        await self.embedder.aclose()
        await self.caching.aclose()
        await self.fleet.aclose()
        await self.guard.aclose()
        await self.upstreams.aclose()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.end)
        await self.client.aclose()
        if self._siblings is not None:
            await self._siblings.aclose()

    def limits(self) -> Limits:
        """What keys may use; there once the parts are opened."""
        return self._limits

    async def replayed_response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One response of the Responses API: replayed by Deja, or the provider's."""
        await responses.ReplayedResponse(self.caching.follow_ups, self.identity, self.passthrough)(scope, receive, send)

    def cached(self, path: str) -> App:
        """What answers requests to a path from the cache; the parts it needs are there once they are opened."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self.caching.routes[path](scope, receive, send)

        return answer

    def services(self) -> Services:
        """What the plain routes are given."""
        return Services(
            identity=self.identity,
            api_keys=self.api_keys,
            sessions=self.fleet.sessions,
            erasure=self.fleet.erasure,
            decisions=self.caching.decisions,
            live_decisions=self.caching.live_decisions,
            history=self.history,
            overviews=self.overviews,
            feedback=self.caching.feedback,
            upstreams=self.upstreams,
            models=self.upstreams.models(),
            error_budget=self.caching.error_budget.report,
            entries=self.entries,
            policies=self.policies,
            migration=self.caching.migrations.status,
            cached_routes={path: each for path, each in self.caching.routes.items() if isinstance(each, CachedRoute)},
            caches=self.caching.caches,
            ledger=self.ledger,
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
            scrape=self.scrape,
            readiness=self.readiness,
        )

    async def scrape(self) -> bytes:
        """What this process has counted, or all workers together."""
        if self._siblings is not None:
            return await self._siblings.scrape()
        return generate_latest(self.metrics.registry)

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether calls can be served, and the state of each part."""
        parts = {
            "redis": await self._redis_part(),
            "index": _part(self.caching.upkeep.index_state == "ready", self.caching.upkeep.index_state),
            "embedder": _part(self.embedder.is_ready, self.embedder.fingerprint),
            "recorder": _part(not self.fleet.recorder.dropped, f"{self.fleet.recorder.dropped} records dropped"),
            "upstream": self._upstream_part(),
        }
        return self._is_open, parts

    async def _redis_part(self) -> dict[str, str]:
        try:
            async with self.guard.within(self.settings.redis.deadline_ms / 1000):
                await self.client.ping()
        except StoreError as error:
            return _part(False, str(error))
        return _part(True, "answers")

    def _upstream_part(self) -> dict[str, str]:
        default = self.upstreams.default
        told = default.identity if default is not None else "model_list only"
        away = [f"{name} is {state}" for name, state in self.upstreams.states().items() if state is not State.CLOSED]
        return _part(not away, "; ".join([told, *away]))


class DejaApp(FastAPI):
    """FastAPI, but POSTs to cached routes go straight to the door and their application: its own layers would cost half of an exact hit.

    Attributes:
        hot: path -> application, which answers errors by itself and writes its own request id.
    """

    hot: Mapping[str, App]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and (route := self.hot.get(scope["path"])):
            await route(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Every route, with what it takes and answers; made when first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = schemas.completed(super().openapi(), self.router.routes)
        return self.openapi_schema


class _Endpoint:
    """An ASGI application as a route's endpoint: Starlette takes functions for request handlers."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    redis_url: str,
    environ: Mapping[str, str],
    shared: tuple[Path, str] | None = None,
) -> FastAPI:
    """Build the application; nothing is opened before its lifespan begins. The arguments are `Application`'s.

    Raises:
        ConfigError: a setting cannot be used.
    """
    deja = Application(settings, redis_url=redis_url, environ=environ, shared=shared)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await deja.open()
        app.state.services = deja.services()
        app.state.end_streams = deja.fleet.end_streams
        try:
            yield
        finally:
            await deja.aclose()

    app = DejaApp(title="Deja", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(RequestId, header=REQUEST_ID, mint=ids.request_id)
    cached = {f"/v1{path}": deja.cached(path) for path in (*(dialect.path for dialect in DIALECTS), embeddings.PATH)}
    door: dict[str, Any] = {"identity": deja.identity, "limits": deja.limits, "on_refusal": deja.metrics.show_refusal}
    app.add_middleware(Door, **door, now=time.time)
    fails = deja.metrics.show_failure
    app.add_middleware(Wall, on_failure=fails)
    app.hot = {
        path: Wall(Door(answer, **door, now=time.time), on_failure=fails, route=path) for path, answer in cached.items()
    }
    # Asked one after the other: those that agents call all the time come first.
    routes = (
        health,
        agents,
        tasks,
        event_groups,
        events,
        signals,
        journal,
        sessions,
        cache,
        entries,
        given_answers,
        policies,
        decisions,
        dashboard,
        budget,
        models,
        langcache,
    )
    for module in (*routes, memory, usage, users, admin, overview):
        # Not include_router, which matches each request twice (40 to 65 µs); no router is included with a prefix or anything else to add.
        app.router.routes.extend(each.original_route for each in iter_route_contexts(module.router.routes))
    for path, answer in cached.items():
        app.router.routes.append(Route(path, endpoint=_Endpoint(answer), methods=["POST"]))
    app.router.routes.append(
        Route(f"/v1{responses.PATH}", _Endpoint(deja.replayed_response), methods=responses.METHODS)
    )
    app.router.routes.append(Route("/v1/{path:path}", endpoint=deja.passthrough))
    allowed = Allowed(frozenset(settings.mcp.allowed_hosts), frozenset(settings.mcp.allowed_origins))
    tools = Endpoint(app, deja.identity, deja.background, version=VERSION, allowed=allowed)
    app.router.routes.append(Route("/mcp", tools))
    errors.install(app)
    return app


def open_identity(settings: Settings, secret: bytes) -> Identity:
    """Who may call and who may administer, as the settings and the data directory say."""
    auth, local = settings.auth, local_admin_key(settings)
    admin_keys = [(key.get_secret_value().encode(), "") for key in auth.admin_keys]
    admin_keys += [(local, LOCAL_ADMIN)] if local else []
    keys = [key.get_secret_value().encode() for key in auth.keys]
    return Identity(secret, keys, admin_keys=admin_keys, is_required=auth.required)


def open_upstreams(
    settings: Settings, environ: Mapping[str, str], *, metrics: telemetry.Metrics | None = None
) -> UpstreamRegistry:
    """The providers the settings name; the simulated one where they name none.

    Raises:
        ConfigError: an entry cannot be used.
    """
    wanted, policy = settings.upstream, parse_routing(settings.router_settings, settings.litellm_settings)
    if policy.unused:
        logger.warning("LiteLLM's settings that mean nothing here: %s", ", ".join(policy.unused))
    default: Upstream
    if wanted.base_url is None:
        default = simulated_upstream()
    else:
        default = OpenAIUpstream(
            wanted.base_url,
            api_key=wanted.api_key.get_secret_value() if wanted.api_key else None,
            connect_timeout_s=wanted.connect_timeout_s,
            read_timeout_s=policy.timeout_s or wanted.read_timeout_s,
            stream_timeout_s=policy.stream_timeout_s,
            max_connections=wanted.max_connections,
        )
    counted = metrics or telemetry.Metrics()
    registry = build_registry(
        default,
        settings.model_list,
        environ=environ,
        connect_timeout_s=wanted.connect_timeout_s,
        read_timeout_s=wanted.read_timeout_s,
        max_connections=wanted.max_connections,
        policy=policy,
        on_call=lambda upstream, result: counted.upstream_calls.labels(upstream, result).inc(),
        on_fallback=lambda _, fallback: counted.fallbacks.labels(fallback).inc(),
    )
    for upstream in registry.upstreams():
        counted.upstream_open.labels(upstream.name).set_function(upstream.openness)
    return registry


def _part(is_ok: bool, detail: str) -> dict[str, str]:
    return {"status": "ok" if is_ok else "degraded", "detail": detail}
