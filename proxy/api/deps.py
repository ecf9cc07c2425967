"""What the plain FastAPI routes are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from proxy.api.cached_route import CachedRoute
from proxy.api.identity import Identity
from proxy.core.decision import Scope
from proxy.core.evidence import Report
from proxy.ports import Upstreams
from proxy.services.agents import Agents
from proxy.services.api_keys import ApiKeys
from proxy.services.background import Background
from proxy.services.decisions import Decisions
from proxy.services.entries import Entries
from proxy.services.erasure import Erasure
from proxy.services.event_groups import EventGroups
from proxy.services.events import Events
from proxy.services.feedback import Feedback
from proxy.services.history import History
from proxy.services.ledger import Ledger
from proxy.services.live_decisions import LiveDecisions
from proxy.services.memories import Memories
from proxy.services.named_caches import NamedCaches
from proxy.services.overview import Overviews
from proxy.services.policies import Policies
from proxy.services.replay import Replay
from proxy.services.sessions import Sessions
from proxy.services.signals import Signals
from proxy.services.summary_views import SummaryViews
from proxy.services.task_views import TaskViews
from proxy.services.tasks import Tasks
from proxy.services.timeline import Timeline
from proxy.services.working_memory import WorkingMemories
from proxy.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts a route may call.

    Attributes:
        identity: who is asking.
        api_keys: administration: keys, sharing, the audit log.
        sessions: what was said in sessions, and what is known of them.
        erasure: removes sessions and users everywhere.
        upstreams: the configured providers.
        models: configured model names, for `/v1/models`.
        decisions: what was decided, and why.
        live_decisions: what is decided now, for who looks on.
        history: how requests went over time.
        overviews: all tenants at a glance, for admins.
        feedback: takes what callers say of hits.
        error_budget: how a namespace keeps it; RequestError 409 where nothing is calibrated, StoreError without Redis.
        entries: what tenants have stored.
        policies: what owners decided for their namespaces.
        migration: how far entries are embedded anew after a change of embedder; StoreError without Redis.
        cached_routes: path below `/v1` -> what answers it from the cache.
        caches: named caches, for LangCache's routes.
        ledger: what calls cost and hits saved.
        agents: agents' states.
        memories: long-term memory.
        working_memories: sessions of the Agent Memory Server.
        summary_views: its summaries of memories.
        events: streams of events.
        event_groups: who shares reading them.
        signals: what is sent to whoever listens.
        tasks: queues of tasks.
        task_views: looking at them.
        timeline: what happened in a session.
        replay: recorded requests, once more.
        background: runs what outlives a request.
        metrics: what is counted.
        scrape: what all workers have counted, in Prometheus' text format.
        readiness: the state of each part, and whether calls can be served.
    """

    identity: Identity
    api_keys: ApiKeys
    sessions: Sessions
    erasure: Erasure
    upstreams: Upstreams
    models: tuple[str, ...]
    decisions: Decisions
    live_decisions: LiveDecisions
    history: History
    overviews: Overviews
    feedback: Feedback
    error_budget: Callable[[Scope], Awaitable[Report]]
    entries: Entries
    policies: Policies
    migration: Callable[[], Awaitable[dict[str, Any]]]
    cached_routes: Mapping[str, CachedRoute]
    caches: NamedCaches
    ledger: Ledger
    agents: Agents
    memories: Memories
    working_memories: WorkingMemories
    summary_views: SummaryViews
    events: Events
    event_groups: EventGroups
    signals: Signals
    tasks: Tasks
    task_views: TaskViews
    timeline: Timeline
    replay: Replay
    background: Background
    metrics: Metrics
    scrape: Callable[[], Awaitable[bytes]]
    readiness: Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def tenant(request: Request) -> str:
    """The tenant of a request; RequestError 401 where a key is required and missing."""
    return services(request).identity.tenant(request.scope)


# FastAPI runs a plain function in a thread of its own, a coroutine where it is: two hops a request saved.
async def _services(request: Request) -> Services:
    return services(request)


async def _tenant(request: Request) -> str:
    return tenant(request)


Tenant = Annotated[str, Depends(_tenant)]
Deps = Annotated[Services, Depends(_services)]
