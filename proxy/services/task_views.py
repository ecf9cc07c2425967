"""Looking at queues and tasks: how they stand, lists in pages, watching every change. Nothing here changes them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_lineage import checked_name, reference
from proxy.core.coordination.task_replies import Fields, Seen
from proxy.core.coordination.tasks import ENDED, refused, shown_dead, shown_queue, shown_task, shown_update
from proxy.core.stream_ids import BEGINNING, order
from proxy.errors import RequestError
from proxy.ports import Guard
from proxy.services.tails import Gap, Tails
from proxy.services.task_ports import TaskReader
from proxy.services.tasks import queue_keys

SCANNED_PAGES = 10
"""Pages looked through for tasks of one worker or state; a list may then hold fewer than were asked for, and goes on."""
_CURSOR = re.compile(r"(\d{1,15}(?:\.\d{1,3})?):([A-Za-z0-9][A-Za-z0-9_.:@-]{0,127})\Z")

Shown = dict[str, Any]
Event = tuple[str, Shown, str | None]
"""Of a watch: its name, what it says, and the id to go on from."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None shows all.

    Attributes:
        state: in this state.
        parent: children of this one.
        worker: last given to this worker.
    """

    state: str | None = None
    parent: str | None = None
    worker: str | None = None


class TaskViews:
    """Reads queues. Every method may raise StoreError, and RequestError for what is not there.

    Args:
        reader: records and lists.
        tails: follows updates.
        guard: bounds what Redis may cost.
        deadline_s: for one call.
    """

    def __init__(self, reader: TaskReader, tails: Tails, guard: Guard, *, deadline_s: float) -> None:
        self._reader = reader
        self._tails = tails
        self._guard = guard
        self._deadline_s = deadline_s

    async def queue(self, tenant: str, queue: str) -> Shown:
        """How a queue works and stands."""
        async with self._guard.within(self._deadline_s):
            standing = await self._reader.standing(queue_keys(tenant, queue))
        if standing is None:
            raise refused("queue_not_found", param="queue")
        counts = dict(standing.counts)
        waiting = {name: counts.pop(name) for name in ("delayed", "dead")}
        shown = shown_queue(queue, standing.config)
        return shown | {"tasks": counts} | waiting | {"oldest_ready_s": standing.oldest_ready_s}

    async def queues(self, tenant: str, *, limit: int, after: str | None) -> tuple[list[Shown], str | None]:
        """A tenant's queues by name, and from where to go on."""
        async with self._guard.within(self._deadline_s):
            names = [name for name in await self._reader.queues(tenant) if after is None or name > after]
        shown = []
        for name in names[:limit]:
            try:
                shown.append(await self.queue(tenant, name))
            except RequestError as error:
                if error.code != "queue_not_found":  # registered by a submission that did not come to its end
                    raise
        return shown, names[limit - 1] if len(names) > limit else None

    async def task(self, tenant: str, queue: str, task_id: str) -> Shown:
        """A task."""
        return shown_task(queue, (await self._seen(tenant, queue, task_id))[1])

    async def tasks(
        self, tenant: str, queue: str, wanted: TaskFilter, *, limit: int, cursor: str | None
    ) -> tuple[list[Shown], str | None]:
        """Tasks, newest first, and from where to go on: those of a state by when they came into it, others by when they were submitted."""
        keys = queue_keys(tenant, queue)
        index = f"state:{wanted.state}" if wanted.state else "tasks"
        if wanted.parent:
            index = f"children:{reference(queue, wanted.parent)}"
        before = _cursor(cursor)
        found: list[Shown] = []
        async with self._guard.within(self._deadline_s):
            await self._known(keys)
            for _ in range(SCANNED_PAGES):
                page = await self._reader.page(keys, index, before, limit)
                records = {
                    record["id"]: record for record in await self._reader.briefs(keys, [task for _, task in page])
                }
                for score, task_id in page:
                    before = score, task_id
                    record = records.get(task_id)
                    if record is not None and _is_wanted(record, wanted):
                        found.append(shown_task(queue, record, is_brief=True))
                    if len(found) == limit:
                        return found, _written_cursor(before)
                if len(page) < limit:
                    return found, None
        return found, _written_cursor(before)

    async def dead(self, tenant: str, queue: str, *, limit: int, after: str | None) -> tuple[list[Shown], str | None]:
        """The dead letter, oldest first, and from where to go on."""
        keys = queue_keys(tenant, queue)
        async with self._guard.within(self._deadline_s):
            await self._known(keys)
            entries = await self._reader.dead(keys, after or BEGINNING, limit)
        shown = [shown_dead(entry.entry_id, entry.fields) for entry in entries]
        return shown, entries[-1].entry_id if len(entries) == limit else None

    async def watch_task(
        self, tenant: str, queue: str, task_id: str, *, after: str | None
    ) -> AsyncIterator[Event | None] | None:
        """A task as it stands and every change of its state, until it has ended; None where there is nothing more to come.

        None among the events says that nothing happened for a while.

        Args:
            tenant: whose.
            queue: its queue.
            task_id: its id.
            after: id of the last event the caller has: only what came later.
        """
        seen, record = await self._seen(tenant, queue, task_id)
        if after is not None and record["state"] in ENDED and order(after) >= order(record["update"]):
            return None
        return self._watch_task(tenant, queue, task_id, seen, record, after)

    async def _watch_task(
        self, tenant: str, queue: str, task_id: str, seen: Seen, record: Fields, after: str | None
    ) -> AsyncIterator[Event | None]:
        if after is None:
            yield _task_event(queue, record)
            if record["state"] in ENDED:
                return
        key = queue_keys(tenant, queue).key("updates")
        async with aclosing(self._tails.follow(key, after=after or seen.position)) as tail:  # type: ignore[type-var]
            async for entries in tail:
                is_over, is_quiet = False, True
                for entry in () if isinstance(entries, Gap) else entries:
                    if entry.fields["task"] == task_id:
                        yield "update", shown_update(queue, entry.fields), entry.entry_id
                        is_over, is_quiet = entry.fields["state"] in ENDED, False
                if is_over or isinstance(entries, Gap):  # what was missed is in how it stands
                    _, record = await self._seen(tenant, queue, task_id)
                    yield _task_event(queue, record)
                    if record["state"] in ENDED:
                        return
                elif is_quiet and not entries:
                    yield None

    async def watch_queue(self, tenant: str, queue: str, *, after: str | None) -> AsyncIterator[Event | Gap | None]:
        """A queue as it stands and every change of a task's state, for ever; the former only where `after` is None."""
        keys = queue_keys(tenant, queue)
        async with self._guard.within(self._deadline_s):
            newest = await self._reader.last_update(keys)
        return self._watch_queue(queue, keys, await self.queue(tenant, queue), after, newest)

    async def _watch_queue(
        self, queue: str, keys: QueueKeys, standing: Shown, after: str | None, newest: str
    ) -> AsyncIterator[Event | Gap | None]:
        if after is None:
            yield "queue", standing, newest
        async with aclosing(self._tails.follow(keys.key("updates"), after=after or newest)) as tail:  # type: ignore[type-var]
            async for entries in tail:
                if isinstance(entries, Gap):
                    yield entries
                    continue
                if not entries:
                    yield None
                for entry in entries:
                    yield "update", shown_update(queue, entry.fields), entry.entry_id

    async def _seen(self, tenant: str, queue: str, task_id: str) -> tuple[Seen, Fields]:
        keys = queue_keys(tenant, queue)
        checked_name(task_id, "task_id")
        async with self._guard.within(self._deadline_s):
            seen = await self._reader.task(keys, task_id)
        if seen.record is None:
            raise refused("task_not_found" if seen.is_queue else "queue_not_found")
        return seen, seen.record

    async def _known(self, keys: QueueKeys) -> None:
        if not (await self._reader.task(keys, "-")).is_queue:
            raise refused("queue_not_found", param="queue")


def _is_wanted(record: Fields, wanted: TaskFilter) -> bool:
    return wanted.state in (None, record["state"]) and wanted.worker in (None, record["worker"])


def _cursor(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    match = _CURSOR.match(cursor)
    if match is None:
        raise RequestError(
            "`cursor` cannot be used: send `next_cursor` as it was.", param="cursor", code="invalid_value"
        )
    return float(match[1]), match[2]


def _written_cursor(position: tuple[float, str] | None) -> str | None:
    return None if position is None else f"{position[0]:.3f}:{position[1]}"


def _task_event(queue: str, record: Fields) -> Event:
    return "task", shown_task(queue, record), record["update"]
