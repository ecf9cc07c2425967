"""Summary views: kept, run one partition at a time or as a whole by a task, and refreshed by the background where they ask for it.

A task runs in the process that was asked, and says every so often that it lives. One whose process died is told as failed: it may be
run again, and writes the same partitions anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from proxy.core.memory.records import Conditions, FoundMemories, Memory, Search
from proxy.core.memory_server.views import Group, Partition, Task, TaskStatus, View, partitioned
from proxy.errors import DejaError, RequestError, UpstreamError, where
from proxy.ports import Guard, Headers
from proxy.services.background import Background
from proxy.services.summaries import NO_MODEL, NoSummary, Summaries

logger = logging.getLogger("deja.memory")
T = TypeVar("T")

MAX_VIEWS = 1000
"""Of one tenant: all of them are listed at once."""
PAGE = 1000
MAX_MEMORIES = 10_000
"""Read for one run, the newest ones: what one ranked list gives. A view over more wants filters or a time window."""
BEAT_S = 10.0
"""Between a task's signs of life."""
SILENCE_S = 60.0
"""After which a task without one has died with its process."""
REFRESH_S = 3600
"""Between refreshes of a continuous view; the Agent Memory Server's default."""
LOOK_S = 60.0
"""Between looks for views whose turn it is."""


class LongTerm(Protocol):
    """Long-term memory; see `services.memories`."""

    async def search(self, tenant: str, wanted: Search, *, is_use: bool = True) -> FoundMemories:
        """Find, or list where there is no text."""


class Store(Protocol):
    """Views in Redis; `stores.summary_views` says what each method does. They raise StoreError."""

    async def add(self, tenant: str, view: View, *, most: int) -> bool:
        """Write a view."""

    async def views(self, tenant: str) -> list[View]:
        """All views."""

    async def view(self, tenant: str, view_id: str) -> View | None:
        """One view."""

    async def remove(self, tenant: str, view_id: str) -> None:
        """Remove one."""

    async def keep(self, tenant: str, partition: Partition) -> bool:
        """Write a partition."""

    async def partitions(self, tenant: str, view_id: str) -> list[Partition]:
        """All partitions."""

    async def drop_partitions(self, tenant: str, view_id: str, groups: Sequence[Group]) -> int:
        """Remove partitions."""

    async def write_task(self, tenant: str, task: Task) -> None:
        """Write a task."""

    async def task(self, tenant: str, task_id: str) -> Task | None:
        """One task."""

    async def tenants(self) -> list[str]:
        """Who has views."""

    async def take_turn(self, tenant: str, view_id: str, *, for_s: int) -> bool:
        """Whether to refresh a view now."""


class SummaryViews:
    """Views of all tenants. Every method may raise StoreError.

    Args:
        store: where they are.
        long_term: what they summarise.
        summaries: asks the model.
        guard: bounds what Redis may cost.
        background: runs tasks.
        deadline_s: for one command.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        long_term: LongTerm,
        summaries: Summaries,
        guard: Guard,
        background: Background,
        *,
        deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._long_term = long_term
        self._summaries = summaries
        self._guard = guard
        self._background = background
        self._deadline_s = deadline_s
        self._now = now

    async def create(self, tenant: str, view: View) -> View:
        """Keep a view.

        Raises:
            RequestError: 400, there are too many.
        """
        if not await self._bounded(self._store.add(tenant, view, most=MAX_VIEWS)):
            raise RequestError(f"There are {MAX_VIEWS} summary views already; delete one first.", code="too_many_views")
        return view

    async def views(self, tenant: str) -> list[View]:
        """All views of a tenant."""
        return await self._bounded(self._store.views(tenant))

    async def view(self, tenant: str, view_id: str) -> View:
        """One view.

        Raises:
            RequestError: 404.
        """
        found = await self._bounded(self._store.view(tenant, view_id))
        if found is None:
            raise RequestError(f"SummaryView {view_id} not found", status=404, code="view_not_found", param="view_id")
        return found

    async def delete(self, tenant: str, view_id: str) -> None:
        """Remove a view and its summaries; one that is not there is no error."""
        await self._bounded(self._store.remove(tenant, view_id))

    async def partitions(self, tenant: str, view_id: str, wanted: Group) -> list[Partition]:
        """What came of a view's partitions so far, of those with some values.

        Raises:
            RequestError: 404.
        """
        await self.view(tenant, view_id)
        found = await self._bounded(self._store.partitions(tenant, view_id))
        return [partition for partition in found if partition.is_in(wanted)]

    async def run_partition(self, tenant: str, view_id: str, group: Group, credentials: Headers) -> Partition:
        """Summarise one partition now.

        Raises:
            RequestError: 404; 400, the group is not one of this view, or there is no model.
            UpstreamError: the model gave no summary.
        """
        view = await self.view(tenant, view_id)
        if set(group) != set(view.group_by):
            raise RequestError(
                f"group keys {sorted(group)} must exactly match view.group_by {sorted(view.group_by)}",
                param="group",
            )
        self._check_model(view)
        conditions = view.wanted(now=self._now(), group=group)
        memories = [] if conditions is None else await self._memories(tenant, conditions)
        return await self._summarise(tenant, view, group, memories, credentials)

    async def run(self, tenant: str, view_id: str, task_id: str, credentials: Headers) -> Task:
        """Begin to summarise all partitions; the task that tells how it goes. One that is under way is told as it stands.

        Raises:
            RequestError: 404; 400, there is no model.
        """
        view = await self.view(tenant, view_id)
        self._check_model(view)
        known = await self.task(tenant, task_id)
        if known is not None and not known.is_over:
            return known
        now = self._now()
        task = Task(task_id, view_id, TaskStatus.PENDING, created_at=now, alive_at=now)
        await self._bounded(self._store.write_task(tenant, task))
        self._background.spawn(self._work(tenant, view, task, credentials), name="summary view")
        return task

    async def task(self, tenant: str, task_id: str) -> Task | None:
        """How a task stands, None if there is none."""
        found = await self._bounded(self._store.task(tenant, task_id))
        return None if found is None else found.seen_at(self._now(), silence_s=SILENCE_S)

    async def erase_session(self, tenant: str, session: str) -> int:
        """Remove the summaries that may tell of a session; how many. The next run makes them anew from what is left."""
        return await self._erase(tenant, "session_id", session)

    async def erase_user(self, tenant: str, user: str) -> int:
        """Remove the summaries that may tell of a user; how many. The next run makes them anew from what is left."""
        return await self._erase(tenant, "user_id", user)

    async def _erase(self, tenant: str, field: str, value: str) -> int:
        erased = 0
        for view in await self.views(tenant):
            found = await self._bounded(self._store.partitions(tenant, view.view_id))
            groups = [each.group for each in found if each.group.get(field, value) == value]
            erased += await self._bounded(self._store.drop_partitions(tenant, view.view_id, groups))
        return erased

    async def keep_fresh(self) -> None:
        """Refresh the views that ask for it, each in one process at a time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.refresh_due()
            except DejaError as error:
                logger.debug("refreshing summary views is put off: %s", error)
            except Exception as error:  # whatever it is, the next look must still come
                logger.error("refreshing summary views failed with %s", where(error))

    async def refresh_due(self) -> None:
        """Refresh those views whose turn it is; what cannot be summarised now waits for its next turn."""
        for tenant in await self._bounded(self._store.tenants()):
            for view in await self.views(tenant):
                is_able = view.is_continuous and (view.model or self._summaries.model) is not None
                if is_able and await self._bounded(self._store.take_turn(tenant, view.view_id, for_s=REFRESH_S)):
                    try:
                        await self._run_all(tenant, view, ())
                    except DejaError as error:
                        logger.warning("a summary view is not refreshed: %s", error)

    async def _work(self, tenant: str, view: View, task: Task, credentials: Headers) -> None:
        task = replace(task, status=TaskStatus.RUNNING, started_at=self._now(), alive_at=self._now())
        error = None
        try:
            async with self._alive(tenant, task):
                await self._run_all(tenant, view, credentials)
        except DejaError as failure:
            error = str(failure)
        except Exception as failure:  # a task must end, whatever happens in it
            logger.error("a summary view failed with %s", where(failure))
            error = "Deja failed on this task and has logged where."
        status = TaskStatus.SUCCESS if error is None else TaskStatus.FAILED
        ended = replace(task, status=status, completed_at=self._now(), alive_at=self._now(), error=error)
        await self._bounded(self._store.write_task(tenant, ended))

    @asynccontextmanager
    async def _alive(self, tenant: str, task: Task) -> AsyncIterator[None]:
        async def beat() -> None:
            while True:
                try:
                    await self._bounded(self._store.write_task(tenant, replace(task, alive_at=self._now())))
                except DejaError as error:
                    logger.debug("a task's sign of life is left out: %s", error)
                await asyncio.sleep(BEAT_S)

        beating = self._background.spawn(beat(), name="summary view's signs of life")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)  # or it could write after the end

    async def _run_all(self, tenant: str, view: View, credentials: Headers) -> None:
        conditions = view.wanted(now=self._now())
        memories = [] if conditions is None else await self._memories(tenant, conditions)
        for group, members in partitioned(view, memories):
            await self._summarise(tenant, view, group, members, credentials)

    async def _summarise(
        self, tenant: str, view: View, group: Group, memories: list[Memory], credentials: Headers
    ) -> Partition:
        summary = ""
        if memories:
            try:
                summary = await self._summaries.of_memories(
                    memories, group=group, wish=view.prompt, model=view.model, credentials=credentials, tenant=tenant
                )
            except NoSummary as error:
                raise UpstreamError(f"The partition is not summarised: {error}.") from error
        partition = Partition(view.view_id, group, summary, len(memories), computed_at=self._now())
        await self._bounded(self._store.keep(tenant, partition))
        return partition

    async def _memories(self, tenant: str, conditions: Conditions) -> list[Memory]:
        found: list[Memory] = []
        offset: int | None = 0
        while offset is not None and offset < MAX_MEMORIES:
            page = await self._long_term.search(
                tenant, Search(text="", conditions=conditions, limit=PAGE, offset=offset), is_use=False
            )
            found += [each.memory for each in page.found]
            offset = page.next_offset
        return found

    def _check_model(self, view: View) -> None:
        if view.model is None and self._summaries.model is None:
            raise RequestError(NO_MODEL, code="no_model")

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            async with self._guard.within(self._deadline_s):
                return await call
        finally:
            call.close()  # where Redis is known to be away it was never begun
