"""Memories drawn from what was said, off the path of requests: messages are gathered, and a task of Deja's own queue draws from them.

What a session says within one stretch of time is one group, and a group is one task: it waits until the stretch is over, so that a
conversation is read together. Theory of once and only once, whatever dies when:

- each step is kept before the next begins: it survives the death of Redis, too;
- the task is submitted before the first message is added, so no group is without a task; a group that is closed takes no message any more;
- a message is added once in a session, by its id; adding it again does nothing;
- what a model drew is written down before any of it is stored, and the first that is written counts; so a second run stores the same;
- the ids of memories name group and place, so that storing them again overwrites;
- the task is completed last, and without that it is claimed again once its lease is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from proxy.core.coordination.task_requests import ClaimRequest
from proxy.core.memory.extraction import (
    MAX_PROMPT_CHARS,
    MAX_SAID_CHARS,
    Group,
    Said,
    Source,
    Strategy,
    Unreadable,
    memories_of,
    memories_without_model,
    prompt_of,
    read_answer,
)
from proxy.core.memory.records import Memory
from proxy.core.memory_server.working import WorkingMemory
from proxy.errors import DejaError, RequestError, StoreError, where
from proxy.ports import Guard, Headers, Keeping, Upstream, UpstreamRequest, Upstreams
from proxy.services import ids
from proxy.services.asking_again import Asker, NoAnswer

logger = logging.getLogger("deja.memory")

TENANT = "deja"
"""Whose queue it is: Deja's own. No caller's tenant is called so: theirs are 32 hex digits, or `anonymous`."""
QUEUE = "memory-extraction"
CONFIG = {"max_attempts": 100, "backoff_s": 5.0, "max_backoff_s": 300.0, "retention_s": 3600.0}
"""A provider may be away for hours. Ended tasks hold no words, and are kept as long as their groups are."""
GIVE_UP_AFTER = 10
"""Attempts at a model, over some half an hour; then what can be had without one is better than nothing."""
AT_ONCE = 4
"""Tasks of one process: mostly waiting for models."""
WAIT_S = 20.0
RETRY_S = 1.0
STORED_AT_ONCE = 50
TAKEN_AT_ONCE = 100
CREDENTIALS = 1000
"""Sources whose callers' credential is held in this process, never elsewhere."""
_JSON = (b"content-type", b"application/json")


class LongTerm(Protocol):
    """Long-term memory; see `services.memories`."""

    async def store(
        self, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = True, ends_older: bool = False
    ) -> Any:
        """Store memories; the same id again overwrites."""

    async def delete(self, tenant: str, memory_ids: Sequence[str]) -> int:
        """Remove memories."""


class Store(Protocol):
    """Groups in Redis; see `stores.extraction`. Every method may raise StoreError."""

    async def add(self, source: Source, group: str, said: Sequence[Said]) -> int | None:
        """Add messages, each once; None if the group is closed."""

    async def close(self, tag: str, group: str) -> Group | None:
        """Close a group and read it."""

    async def erased(self, source: Source, said: Sequence[Said]) -> set[str]:
        """Ids of the messages that were taken before their session or user was erased."""

    async def settle(self, tag: str, group: str, drawn: Sequence[Memory]) -> tuple[Memory, ...] | None:
        """Write down what was drawn, unless it was before."""

    async def finish(self, tag: str, group: str) -> None:
        """Let a group go."""


class Queue(Protocol):
    """Deja's task queues; see `services.tasks`."""

    async def configure(self, tenant: str, queue: str, given: Mapping[str, Any]) -> Any:
        """Create a queue, or change it."""

    async def submit(self, tenant: str, queue: str, given: Sequence[Mapping[str, Any]], *, is_batch: bool) -> Any:
        """Submit tasks."""

    async def claim(self, tenant: str, queue: str, request: ClaimRequest, *, wait_s: float) -> list[dict[str, Any]]:
        """Claim tasks."""

    async def renew(self, tenant: str, queue: str, task_id: str, lease: str, *, lease_s: float | None) -> Any:
        """Hold a task longer."""

    async def complete(self, tenant: str, queue: str, task_id: str, lease: str, result: Any) -> Any:
        """Complete a task."""

    async def fail(
        self, tenant: str, queue: str, task_id: str, lease: str, error: Any, *, retry: bool, retry_in_s: float | None
    ) -> Any:
        """Let an attempt fail."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How memories are drawn.

    Attributes:
        model: None for none: what users plainly say of themselves is kept word for word.
        delay_s: a stretch of time whose messages are drawn from together.
        lease_s: how long this process may be silent before another takes a task over.
        deadline_s: for one step in Redis.
    """

    model: str | None
    delay_s: float
    lease_s: float
    deadline_s: float


class Extraction:
    """Draws memories.

    Args:
        store: groups of messages.
        queue: tasks.
        long_term: takes the memories.
        asker: calls models.
        upstreams: knows where they are.
        guard: bounds what Redis may cost.
        kept: waits until a write survives the death of any process.
        policy: how.
        on_drawn: told of each group: how (`model`, `rules`, `nothing`, `failed`), and how many memories came of it.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue,
        long_term: LongTerm,
        asker: Asker,
        upstreams: Upstreams,
        guard: Guard,
        kept: Keeping,
        *,
        policy: Policy,
        on_drawn: Callable[[str, int], None],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._queue = queue
        self._long_term = long_term
        self._asker = asker
        self._upstreams = upstreams
        self._guard = guard
        self._kept = kept
        self._policy = policy
        self._on_drawn = on_drawn
        self._now = now
        self._is_configured = False
        self._submitted: OrderedDict[str, None] = OrderedDict()
        self._credentials: OrderedDict[str, tuple[Upstream, Headers]] = OrderedDict()

    # --- taking in -------------------------------------------------------------------------------------------------------------

    async def take(self, source: Source, said: Sequence[Said]) -> None:
        """Note messages that memories are to be drawn from; kept once this returns. The same messages again change nothing.

        Raises:
            StoreError: Redis gave no answer; try it again.
            RequestError: 503, it may not be kept; the same.
        """
        stretch = math.floor(self._now() / self._policy.delay_s) + 1
        while True:
            group = f"{stretch}-{self._policy.delay_s:g}"
            await self._submit(source.tag, group, at=stretch * self._policy.delay_s)
            async with self._kept.keeping(), self._guard.within(self._policy.deadline_s):
                if await self._store.add(source, group, said) is not None:
                    break
            stretch += 1  # closed or full

    async def take_session(self, tenant: str, memory: WorkingMemory, credentials: Headers) -> None:
        """Note the messages of a session's working memory, by its own strategy; of nobody's session none. Raises as `take` does."""
        name = memory.name
        said = [
            Said(each.message_id, each.role, each.content[:MAX_SAID_CHARS], each.created_at)
            for each in memory.messages
            if not each.is_extracted and each.content.strip()
        ]
        if not said or name.user is None:
            return
        prompt = str(memory.strategy_config.get("custom_prompt") or "")[:MAX_PROMPT_CHARS]
        source = Source(tenant, name.user, name.session, name.namespace, Strategy(memory.strategy), prompt)
        if self._policy.model is not None and credentials:
            with contextlib.suppress(RequestError):  # no such model: told when it is asked
                self.lend(source, self._upstreams.resolve(self._policy.model).upstream, credentials)
        for start in range(0, len(said), TAKEN_AT_ONCE):
            await self.take(source, said[start : start + TAKEN_AT_ONCE])

    def lend(self, source: Source, upstream: Upstream, credentials: Headers) -> None:
        """Hold a caller's credential, in this process alone, for calls to the very provider that it was sent for."""
        self._credentials[source.tag] = (upstream, credentials)
        self._credentials.move_to_end(source.tag)
        if len(self._credentials) > CREDENTIALS:
            self._credentials.popitem(last=False)

    async def _submit(self, tag: str, group: str, *, at: float) -> None:
        task_id = f"{tag}:{group}"
        if task_id in self._submitted:
            return
        await self._configure()
        # The moment is part of the task: whoever submits it for the same group submits the same.
        task = {"id": task_id, "payload": {"source": tag, "group": group}, "not_before": at}
        await self._queue.submit(TENANT, QUEUE, [task], is_batch=False)
        self._submitted[task_id] = None
        if len(self._submitted) > CREDENTIALS:
            self._submitted.popitem(last=False)

    async def _configure(self) -> None:
        if not self._is_configured:
            await self._queue.configure(TENANT, QUEUE, CONFIG | {"lease_s": self._policy.lease_s})
            self._is_configured = True

    # --- drawing ---------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim and do tasks, until cancelled."""
        worker = f"deja-{ids.request_id()}"
        await asyncio.gather(*(self._work(f"{worker}-{number}") for number in range(AT_ONCE)))

    async def _work(self, worker: str) -> None:
        while True:
            try:
                await self._configure()
                request = ClaimRequest(worker=worker)
                tasks = await self._queue.claim(TENANT, QUEUE, request, wait_s=WAIT_S)
            except DejaError as error:
                logger.debug("drawing memories is put off: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as error:  # whatever it is, the next task must still be claimed
                logger.error("claiming what memories are drawn from failed with %s", where(error))
                await asyncio.sleep(RETRY_S)
                continue
            for task in tasks:
                await self._do(task)

    async def _do(self, task: Mapping[str, Any]) -> None:
        task_id, lease, payload = task["id"], task["lease"], task["payload"]
        try:
            async with self._holding(task_id, lease):
                await self._draw(payload["source"], payload["group"], attempt=task["attempt"])
            await self._queue.complete(TENANT, QUEUE, task_id, lease, None)
        except NoAnswer as error:
            self._on_drawn("failed", 0)
            await self._put_off(task_id, lease, str(error))
        except (StoreError, RequestError) as error:
            # The lease runs out by itself, or has: then another process does it, and what it stores is the same.
            logger.debug("drawing memories is put off: %s", error)
        except Exception as error:
            # One group must not end the drawing of all others; it is tried again, and its task shows up as dead if that never helps.
            logger.error("drawing memories failed with %s", where(error))
            await self._put_off(task_id, lease, type(error).__name__)

    async def _put_off(self, task_id: str, lease: str, why: str) -> None:
        with contextlib.suppress(DejaError):  # the lease runs out by itself
            await self._queue.fail(TENANT, QUEUE, task_id, lease, {"reason": why}, retry=True, retry_in_s=None)

    async def _draw(self, tag: str, name: str, *, attempt: int) -> None:
        async with self._guard.within(self._policy.deadline_s):
            group = await self._store.close(tag, name)
        if group is None:
            return
        memories = group.drawn
        if erased := await self._erased(group):
            group = replace(group, said=tuple(each for each in group.said if each.message_id not in erased))
            memories = () if memories is not None or not group.said else None
        if memories is None:
            drawn, how = await self._drawn(group, name, attempt=attempt)
            async with self._kept.keeping(), self._guard.within(self._policy.deadline_s):
                memories = await self._store.settle(tag, name, drawn)
            if memories is None:
                return
            self._on_drawn(how if drawn else "nothing", len(drawn))
        for start in range(0, len(memories), STORED_AT_ONCE):
            await self._keep(group.source.tenant, memories[start : start + STORED_AT_ONCE])
        if memories and await self._erased(group):  # meanwhile: what it removed may have come back
            await self._long_term.delete(group.source.tenant, [each.memory_id for each in memories])
        async with self._kept.keeping(), self._guard.within(self._policy.deadline_s):
            await self._store.finish(tag, name)

    async def _erased(self, group: Group) -> set[str]:
        async with self._guard.within(self._policy.deadline_s):
            return await self._store.erased(group.source, group.said)

    async def _keep(self, tenant: str, memories: Sequence[Memory]) -> None:
        try:
            await self._long_term.store(tenant, memories, ends_older=True)
        except RequestError as error:  # one of them cannot be stored: what is wrong with it would be wrong for ever
            if len(memories) == 1:
                logger.warning("a memory that was drawn is left out: %s", error)
                return
            for each in memories:
                await self._keep(tenant, [each])

    async def _drawn(self, group: Group, name: str, *, attempt: int) -> tuple[Sequence[Memory], str]:
        model = self._policy.model
        if model is None:
            return memories_without_model(group.source, group.said), "rules"
        try:
            return memories_of(group.source, name, await self._ask(model, group), group.said), "model"
        except NoAnswer:
            if attempt < GIVE_UP_AFTER:
                raise
            logger.warning("the model %s draws no memories: what users plainly said is kept instead", model)
            return memories_without_model(group.source, group.said), "rules"

    async def _ask(self, model: str, group: Group) -> Any:
        try:
            route = self._upstreams.resolve(model)
        except RequestError as error:
            raise NoAnswer("failed") from error
        upstream, credentials = self._credentials.get(group.source.tag, (None, ()))
        headers = (_JSON, *(credentials if upstream == route.upstream else ()))
        body = orjson.dumps({"model": model, "messages": prompt_of(group.source, group.said)})
        request = UpstreamRequest("POST", "/chat/completions", b"", headers, body, model=model)
        answer = await self._asker.ask("extraction", route, request, tenant=group.source.tenant)
        try:
            return read_answer(answer)
        except Unreadable:
            raise NoAnswer("unusable") from None

    @contextlib.asynccontextmanager
    async def _holding(self, task_id: str, lease: str) -> AsyncIterator[None]:
        """Keep the lease alive meanwhile."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._policy.lease_s / 3)
                with contextlib.suppress(DejaError):
                    await self._queue.renew(TENANT, QUEUE, task_id, lease, lease_s=None)

        renewing = asyncio.get_running_loop().create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
