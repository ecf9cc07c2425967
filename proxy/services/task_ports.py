"""What the services of tasks need of a store; `stores.tasks` and `stores.task_lists` have it. All raise `StoreError`s only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_replies import Claimed, Done, Fields, QueueStanding, Requeued, Seen, Submitted
from proxy.core.coordination.task_requests import ClaimRequest, Submission
from proxy.ports import StreamEntry


class TaskWriter(Protocol):
    """Steps, each atomic."""

    async def register(self, queue: QueueKeys) -> int:
        """Let sweeps know of a queue; returns how many the tenant has."""

    async def configure(
        self, queue: QueueKeys, given: Mapping[str, str], defaults: Mapping[str, str]
    ) -> tuple[bool, Fields]:
        """Create a queue or change it; returns whether it is new, and its fields."""

    async def submit(self, queue: QueueKeys, tasks: Sequence[Submission]) -> Submitted:
        """Submit tasks: all of them or none."""

    async def claim(self, queue: QueueKeys, request: ClaimRequest, leases: Sequence[str]) -> Claimed:
        """Hand ready tasks to a worker, each under one of `leases`."""

    async def step(self, verb: str, queue: QueueKeys, task_id: str, *arguments: str | bytes) -> Done:
        """One step of one task, by its script's name."""

    async def give_back(self, queue: QueueKeys, worker: str, leases: Sequence[str]) -> int:
        """Give back what a worker was handed under these leases; returns how many tasks that were."""

    async def requeue_dead(self, queue: QueueKeys, count: int) -> Requeued:
        """Make the tasks that have been in the dead letter longest ready again."""


class TaskReader(Protocol):
    """Records and lists."""

    async def task(self, queue: QueueKeys, task_id: str) -> Seen:
        """A task's record, and where the updates stood just then."""

    async def ancestors(self, tenant: str, references: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The ancestors of those tasks, named `<queue>/<task>`, that exist."""

    async def standing(self, queue: QueueKeys) -> QueueStanding | None:
        """How a queue stands, None if it is not there."""

    async def page(
        self, queue: QueueKeys, index: str, before: tuple[float, str] | None, count: int
    ) -> list[tuple[float, str]]:
        """(score, task) of a sorted set, highest first, after the one named."""

    async def briefs(self, queue: QueueKeys, task_ids: Sequence[str]) -> list[Fields]:
        """What lists show of these tasks; those that were removed meanwhile are left out."""

    async def dead(self, queue: QueueKeys, after: str, count: int) -> list[StreamEntry]:
        """Entries of the dead letter after an id, oldest first."""

    async def last_update(self, queue: QueueKeys) -> str:
        """Id of the newest update, "0-0" without any."""

    async def queues(self, tenant: str) -> list[str]:
        """Names of a tenant's queues, sorted."""


class TaskSweeper(Protocol):
    """What is to be seen to though nobody asks."""

    async def sweep(self, queues: Sequence[QueueKeys]) -> list[int | None]:
        """See to what is due; returns how much there was in each, None where it failed."""

    async def prune(self, queue: QueueKeys, *, keep: int) -> int:
        """Remove tasks that ended too long ago, or are more than `keep`; returns how many went."""


class QueueNames(Protocol):
    """Which queues there are."""

    async def tenants(self) -> list[str]:
        """Tenants that have queues."""

    async def queues(self, tenant: str) -> list[str]:
        """Names of a tenant's queues, sorted."""
