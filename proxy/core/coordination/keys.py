"""Redis names of what agents share; names of callers stand in them readably, since `core.names` keeps them plain.

    deja:v1:agent:{<tenant>}:<agent>              hash    an agent's state
    deja:v1:agent-history:{<tenant>}:<agent>      stream  its transitions, oldest first
    deja:v1:agents:{<tenant>}                     zset    agents by when they last changed (unix ms)
    deja:v1:agents-status:{<tenant>}:<status>     zset    the same, of one status
    deja:v1:agents-alive:{<tenant>}               zset    agents by when their heartbeat runs out (unix ms)
    deja:v1:agents-feed:{<tenant>}                stream  transitions of all its agents
    deja:v1:agents-floor:{<tenant>}               string  highest version of a deleted agent
    deja:v1:agent-tenants                         zset    tenants with heartbeats, by when they may be forgotten (unix ms)
    deja:v1:queue:{<tenant>/<queue>}:…            -       a queue; `QueueKeys` lists them
    deja:v1:queues:{<tenant>}                     set     a tenant's queues
    deja:v1:queue-tenants                         set     tenants that have queues
    deja:v1:task-sync                             string  written before each wait for the disk
    deja:v1:events:{<tenant>}:<stream>            stream  appended events
    deja:v1:events-policy:{<tenant>}:<stream>     hash    how much of it is kept; what its groups missed
    deja:v1:event-streams:{<tenant>}              set     a tenant's streams of events
    deja:v1:event-tenants                         set     tenants that have streams of events
    deja:v1:signal:{<tenant>}:<channel>           channel pub/sub

The braces are Redis Cluster's hash tag. An agent shares its slot with its tenant's other agents, so that one script keeps state, history
and lists together; a queue has a slot of its own. None of these keys has a TTL, since Redis evicts only keys that do; but the history of
a deleted agent.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.keys import PREFIX

AGENT_TENANTS = f"{PREFIX}agent-tenants"
QUEUE_TENANTS = f"{PREFIX}queue-tenants"
TASK_SYNC = f"{PREFIX}task-sync"
EVENT_TENANTS = f"{PREFIX}event-tenants"


def agent(tenant: str, agent_id: str) -> str:
    """An agent's state."""
    return f"{PREFIX}agent:{{{tenant}}}:{agent_id}"


def agent_history(tenant: str, agent_id: str) -> str:
    """An agent's transitions."""
    return f"{PREFIX}agent-history:{{{tenant}}}:{agent_id}"


def agents(tenant: str) -> str:
    """A tenant's agents by when they last changed."""
    return f"{PREFIX}agents:{{{tenant}}}"


def agents_of_status(tenant: str, status: str) -> str:
    """A tenant's agents of one status by when they last changed."""
    return f"{PREFIX}agents-status:{{{tenant}}}:{status}"


def agents_alive(tenant: str) -> str:
    """A tenant's agents by when their heartbeat runs out."""
    return f"{PREFIX}agents-alive:{{{tenant}}}"


def agents_feed(tenant: str) -> str:
    """Transitions of all of a tenant's agents."""
    return f"{PREFIX}agents-feed:{{{tenant}}}"


def agents_floor(tenant: str) -> str:
    """Highest version that a deleted agent of a tenant had."""
    return f"{PREFIX}agents-floor:{{{tenant}}}"


def queues(tenant: str) -> str:
    """Names of a tenant's queues."""
    return f"{PREFIX}queues:{{{tenant}}}"


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """Redis keys of one queue, all in one slot.

    Attributes:
        tenant: whose.
        queue: its name.
    """

    tenant: str
    queue: str

    @property
    def base(self) -> str:
        """What all of them begin with."""
        return f"{PREFIX}queue:{{{self.tenant}/{self.queue}}}:"

    def key(self, name: str) -> str:
        """One of them, such as `config` or `delayed`."""
        return f"{self.base}{name}"


def events(tenant: str, stream: str) -> str:
    """A stream of events."""
    return f"{PREFIX}events:{{{tenant}}}:{stream}"


def events_policy(tenant: str, stream: str) -> str:
    """How much of a stream of events is kept, and what its consumer groups missed."""
    return f"{PREFIX}events-policy:{{{tenant}}}:{stream}"


def event_streams(tenant: str) -> str:
    """Names of a tenant's streams of events."""
    return f"{PREFIX}event-streams:{{{tenant}}}"


def signal(tenant: str, channel: str) -> str:
    """A pub/sub channel."""
    return f"{PREFIX}signal:{{{tenant}}}:{channel}"
