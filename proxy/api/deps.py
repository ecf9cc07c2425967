"""What the plain FastAPI routes are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from proxy.api.identity import Identity
from proxy.core.decision import Scope
from proxy.core.evidence import Report
from proxy.ports import SessionReader, Upstreams
from proxy.services.agents import Agents
from proxy.services.decisions import Decisions
from proxy.services.feedback import Feedback
from proxy.services.named_caches import NamedCaches
from proxy.services.replay import Replay
from proxy.services.timeline import Timeline
from proxy.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts a route may call.

    Attributes:
        identity: who is asking.
        sessions: recorded sessions.
        upstreams: the configured providers.
        models: configured model names, for `/v1/models`.
        decisions: what was decided, and why.
        feedback: takes what callers say of hits.
        error_budget: how a namespace keeps it; RequestError 409 where nothing is calibrated, StoreError without Redis.
        caches: named caches, for LangCache's routes.
        agents: agents' states.
        timeline: what happened in a session.
        replay: recorded requests, once more.
        metrics: what is counted.
        readiness: the state of each part, and whether calls can be served.
    """

    identity: Identity
    sessions: SessionReader
    upstreams: Upstreams
    models: tuple[str, ...]
    decisions: Decisions
    feedback: Feedback
    error_budget: Callable[[Scope], Awaitable[Report]]
    caches: NamedCaches
    agents: Agents
    timeline: Timeline
    replay: Replay
    metrics: Metrics
    readiness: Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def tenant(request: Request) -> str:
    """The tenant of a request; RequestError 401 where a key is required and missing."""
    return services(request).identity.tenant(request.scope["headers"])


# FastAPI runs a plain function in a thread of its own, a coroutine where it is: two hops a request saved.
async def _services(request: Request) -> Services:
    return services(request)


async def _tenant(request: Request) -> str:
    return tenant(request)


Tenant = Annotated[str, Depends(_tenant)]
Deps = Annotated[Services, Depends(_services)]
