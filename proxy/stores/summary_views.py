"""Summary views, what came of their partitions, and the tasks that ran them.

views      hash    id -> view (JSON)                    of a tenant
view       hash    group (JSON) -> partition (JSON)     of a view; partitions are sealed where keys are set
tenants    set     who has views: those that are refreshed by the background are found through it
turn       string  a process refreshes this view, or has just done so; goes by itself
task       hash    task_id, view_id, status, created_at, started_at, completed_at, alive_at (unix s), error; goes after a week
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core.memory_server import keys
from proxy.core.memory_server.views import (
    Group,
    Partition,
    Task,
    TaskStatus,
    View,
    group_key,
    partition_from_json,
    to_json,
    view_from_json,
)
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

TASK_TTL_S = 7 * 86_400
"""A task is asked for while it runs, or soon after; a week leaves time to look at a failure."""


class SummaryViewStore:
    """Views in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        seal: encrypts what came of partitions.
    """

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._partition = SealedField(seal, "partition")
        self._keep = client.register_script(script("summary_view_keep"))

    async def add(self, tenant: str, view: View, *, most: int) -> bool:
        """Write a view; False where the tenant has so many already. Two round trips."""
        with translated():
            if int(await self._client.hlen(keys.views(tenant))) >= most:
                return False
            # First, and in another slot of a cluster: a view that is there is always found.
            await self._client.sadd(keys.VIEW_TENANTS, tenant)
            await self._client.hset(keys.views(tenant), view.view_id, to_json(view))
        return True

    async def views(self, tenant: str) -> list[View]:
        """A tenant's views, in the order of their ids. One round trip."""
        with translated():
            found: Any = await self._client.hgetall(keys.views(tenant))
        return sorted((view_from_json(raw) for raw in found.values()), key=lambda view: view.view_id)

    async def view(self, tenant: str, view_id: str) -> View | None:
        """A view, None if there is none. One round trip."""
        with translated():
            raw: Any = await self._client.hget(keys.views(tenant), view_id)
        return None if raw is None else view_from_json(raw)

    async def remove(self, tenant: str, view_id: str) -> None:
        """Remove a view and its summaries, at once. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hdel(keys.views(tenant), view_id)
                pipe.unlink(keys.view(tenant, view_id))
                await pipe.execute()

    async def keep(self, tenant: str, partition: Partition) -> bool:
        """Write what came of a partition, unless the view is gone; whether it was written. One round trip, atomic."""
        names = [keys.views(tenant), keys.view(tenant, partition.view_id)]
        with translated():
            summary = self._partition.put(to_json(partition), of=names[1])
            return bool(await self._keep(names, [partition.view_id, group_key(partition.group), summary]))

    async def partitions(self, tenant: str, view_id: str) -> list[Partition]:
        """What came of a view's partitions so far, as far as it can be read, in the order of their groups. One round trip."""
        name = keys.view(tenant, view_id)
        with translated():
            found: Any = await self._client.hgetall(name)
        read = (self._partition.get(found[group], of=name) for group in sorted(found))
        return [partition_from_json(partition) for partition in read if partition is not None]

    async def drop_partitions(self, tenant: str, view_id: str, groups: Sequence[Group]) -> int:
        """Remove summaries of partitions; how many there were. One round trip."""
        if not groups:
            return 0
        with translated():
            return int(await self._client.hdel(keys.view(tenant, view_id), *map(group_key, groups)))

    async def write_task(self, tenant: str, task: Task) -> None:
        """Write how a task stands. One round trip."""
        fields: Any = {
            "task_id": task.task_id,
            "view_id": task.view_id,
            "status": task.status.value,
            "created_at": _time(task.created_at),
            "started_at": _time(task.started_at),
            "completed_at": _time(task.completed_at),
            "alive_at": _time(task.alive_at),
            "error": task.error or "",
        }
        name = keys.task(tenant, task.task_id)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(name, mapping=fields)
                pipe.expire(name, TASK_TTL_S)
                await pipe.execute()

    async def task(self, tenant: str, task_id: str) -> Task | None:
        """A task as it was last written, None if there is none. One round trip."""
        with translated():
            found: Any = await self._client.hgetall(keys.task(tenant, task_id))
        if not found:
            return None
        word = {name.decode(): value.decode() for name, value in found.items()}
        return Task(
            task_id=word["task_id"],
            view_id=word["view_id"],
            status=TaskStatus(word["status"]),
            created_at=float(word["created_at"]),
            alive_at=float(word["alive_at"]),
            started_at=float(word["started_at"]) if word["started_at"] else None,
            completed_at=float(word["completed_at"]) if word["completed_at"] else None,
            error=word["error"] or None,
        )

    async def tenants(self) -> list[str]:
        """Who has, or had, views. One round trip."""
        with translated():
            found: Any = await self._client.smembers(keys.VIEW_TENANTS)
        return sorted(tenant.decode() for tenant in found)

    async def take_turn(self, tenant: str, view_id: str, *, for_s: int) -> bool:
        """Whether the caller may refresh a view now: nobody else may for so long. One round trip."""
        with translated():
            return bool(await self._client.set(keys.view_turn(tenant, view_id), "1", nx=True, ex=for_s))


def _time(at: float | None) -> str:
    return "" if at is None else repr(at)
