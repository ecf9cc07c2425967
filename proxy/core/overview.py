"""What an admin sees of all tenants together, and of each: counts of `core.history`, and what agents share. Pure; no words of anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.core import history


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """Agents, queues and tasks of all tenants.

    Attributes:
        agents: how many there are.
        alive: of these, with a heartbeat that has not run out.
        queues: how many there are.
        tasks: by state.
        dead: in dead letters.
    """

    agents: int
    alive: int
    queues: int
    tasks: Mapping[str, int]
    dead: int


@dataclass(frozen=True, slots=True)
class TenantName:
    """What admins call a tenant.

    Attributes:
        name: as it was named when its key was made; None of a tenant that no minted key names.
        keys: names of its keys.
    """

    name: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overview:
    """Some last slots of everybody.

    Attributes:
        slots: (start in unix seconds, counts) of all tenants together, oldest first.
        tenants: tenant -> its counts in those slots, the busiest first.
        names: what admins call them, where they do.
        fleet: agents, queues and tasks.
    """

    slots: Sequence[tuple[int, Mapping[str, int]]]
    tenants: Mapping[str, Mapping[str, int]]
    names: Mapping[str, TenantName]
    fleet: FleetTotals


def as_json(seen: Overview) -> dict[str, Any]:
    """As the API tells it."""
    fleet = seen.fleet
    return {
        "data": history.series(seen.slots),
        "total": history.summary(counts for _, counts in seen.slots),
        "tenants": [
            {"tenant": tenant, **_named(tenant, seen.names), **history.summary([counts])}
            for tenant, counts in seen.tenants.items()
        ],
        "agents": {"agents": fleet.agents, "alive": fleet.alive},
        "queues": {"queues": fleet.queues, "tasks": dict(fleet.tasks), "dead": fleet.dead},
    }


def _named(tenant: str, names: Mapping[str, TenantName]) -> dict[str, Any]:
    named = names.get(tenant, TenantName())
    return {"name": named.name, "keys": list(named.keys)}
