"""Reading queues: records, lists in pages, how a queue stands. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_replies import Fields, QueueStanding, Seen
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.tasks import read_fields, task_script

BRIEF = (
    *("id", "state", "priority", "attempt", "max_attempts", "worker", "submitted_at", "ready_at", "started_at"),
    *("ended_at", "changed_at", "deadline_at", "lease_until", "parent", "session", "agent", "idempotency_key"),
    *("reason", "dead"),
)
"""Fields read for lists: without what may be long."""
TIES = 200
"""Read at once while looking past tasks of the same instant."""
SCANNED_AT_ONCE = 1000


class TaskLists:
    """Reads of queues. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._queue = client.register_script(task_script("queue"))

    async def task(self, queue: QueueKeys, task_id: str) -> Seen:
        """A task's record, and where the updates stood just then."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.exists(queue.key("config"))
                pipe.hgetall(queue.key(f"task:{task_id}"))
                pipe.xrevrange(queue.key("updates"), count=1)
                is_queue, record, newest = await pipe.execute()
        position = newest[0][0].decode() if newest else "0-0"
        return Seen(_texts(record) or None, position, bool(is_queue))

    async def ancestors(self, tenant: str, references: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The ancestors of those tasks, named `<queue>/<task>`, that exist."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for reference in references:
                    queue, _, task_id = reference.partition("/")
                    pipe.hget(QueueKeys(tenant, queue).key(f"task:{task_id}"), "ancestors")
                found = await pipe.execute()
        return {
            reference: tuple(line.decode().split())
            for reference, line in zip(references, found, strict=True)
            if line is not None
        }

    async def standing(self, queue: QueueKeys) -> QueueStanding | None:
        """How a queue stands, None if it is not there."""
        with translated():
            reply: Any = await self._queue(keys=[queue.key("config")], args=[0])
        if reply[0] != b"ok":
            return None
        counts = {name: int(count) for name, count in read_fields(reply[2]).items()}
        return QueueStanding(read_fields(reply[1]), counts, None if reply[3] == b"" else int(reply[3]) / 1000)

    async def page(
        self, queue: QueueKeys, index: str, before: tuple[float, str] | None, count: int
    ) -> list[tuple[float, str]]:
        """(score, task) of a sorted set, highest first, after the one named; tasks of the same instant in the order of their ids."""
        key, found, offset = queue.key(index), list[tuple[float, str]](), 0
        highest = "+inf" if before is None else repr(before[0])
        while len(found) < count:
            with translated():
                read: Any = await self._client.zrevrangebyscore(
                    key, highest, "-inf", start=offset, num=max(TIES, count), withscores=True
                )
            found += [
                (score, task.decode())
                for task, score in read
                if before is None or score < before[0] or task.decode() < before[1]
            ]
            offset += len(read)
            if len(read) < max(TIES, count):
                break
        return found[:count]

    async def briefs(self, queue: QueueKeys, task_ids: Sequence[str]) -> list[Fields]:
        """What lists show of these tasks; those that were removed meanwhile are left out."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for task_id in task_ids:
                    pipe.hmget(queue.key(f"task:{task_id}"), BRIEF)
                records = await pipe.execute()
        return [
            {name: (value or b"").decode() for name, value in zip(BRIEF, record, strict=True)}
            for record in records
            if record[0] is not None
        ]

    async def dead(self, queue: QueueKeys, after: str, count: int) -> list[StreamEntry]:
        """Entries of the dead letter after an id, oldest first."""
        with translated():
            entries: Any = await self._client.xrange(queue.key("dead"), min=f"({after}", count=count)
        return [StreamEntry(entry_id.decode(), _texts(fields)) for entry_id, fields in entries]

    async def last_update(self, queue: QueueKeys) -> str:
        """Id of the newest update, "0-0" without any."""
        with translated():
            newest: Any = await self._client.xrevrange(queue.key("updates"), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def queues(self, tenant: str) -> list[str]:
        """Names of a tenant's queues, sorted."""
        with translated():
            names: Any = await self._client.smembers(keys.queues(tenant))
        return sorted(name.decode() for name in names)

    async def tenants(self) -> list[str]:
        """Tenants that have queues."""
        with translated():
            return sorted(
                [name.decode() async for name in self._client.sscan_iter(keys.QUEUE_TENANTS, count=SCANNED_AT_ONCE)]
            )


def _texts(fields: Any) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
