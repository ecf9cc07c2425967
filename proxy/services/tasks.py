"""Queues of tasks: configure, submit, claim, settle. Looking at them is `task_views`.

Ids and leases are minted here; order, states and time are Redis'. What a call says is done has been done in one step and is kept (`kept`);
where the queue wants it, it is on disk. Without an answer it may or may not have been done, and can be sent again: submissions by their
idempotency key or id, a worker's steps by their lease, are done once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_lineage import ancestors_of, checked_name, outside
from proxy.core.coordination.task_replies import OK, REPEATED, Done, Fields
from proxy.core.coordination.task_requests import ClaimRequest, Submission, json_value, submission
from proxy.core.coordination.tasks import Durability, QueueConfig, config_fields, refused, shown_queue, shown_task
from proxy.errors import RequestError
from proxy.ports import Guard
from proxy.services.kept import Kept
from proxy.services.task_claims import Claims
from proxy.services.task_ports import TaskReader, TaskWriter

BATCH_DEADLINE_FACTOR = 10
"""How much longer than one task's a batch's script may take: a thousand tasks are 100 ms of Redis' one thread."""

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """Bounds and defaults.

    Attributes:
        defaults: how a queue works unless it is told.
        payload_bytes: largest payload, result, input, error.
        body_bytes: largest request.
        max_queues: of one tenant.
        deadline_s: for one script.
    """

    defaults: QueueConfig
    payload_bytes: int
    body_bytes: int
    max_queues: int
    deadline_s: float


class Tasks:
    """Queues of tasks. Every method may raise StoreError, and RequestError for what cannot be done.

    Args:
        writer: steps.
        reader: records and lists.
        claims: hands tasks out.
        kept: waits until what is acknowledged is kept.
        guard: bounds what Redis may cost.
        policy: bounds and defaults.
        on_step: told what was done, and to how many tasks.
        on_change: told of each task that a caller submitted, claimed or settled: what was done, the queue, the task's record.
    """

    def __init__(
        self,
        writer: TaskWriter,
        reader: TaskReader,
        claims: Claims,
        kept: Kept,
        guard: Guard,
        *,
        policy: TaskPolicy,
        on_step: Callable[[str, int], None],
        on_change: Callable[[str, QueueKeys, Fields], None],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._claims = claims
        self._kept = kept
        self._guard = guard
        self._policy = policy
        self._on_step = on_step
        self._on_change = on_change

    @property
    def body_bytes(self) -> int:
        """Largest request."""
        return self._policy.body_bytes

    # ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def configure(self, tenant: str, queue: str, given: Mapping[str, Any]) -> tuple[bool, Shown]:
        """Create a queue or change it; returns whether it is new, and how it works now."""
        keys = queue_keys(tenant, queue)
        if given.get("durability") == Durability.FSYNC:
            await self._kept.check_disk()
        is_new, config = await self._configured(keys, config_fields(given))
        return is_new, shown_queue(queue, config)

    async def _configured(self, keys: QueueKeys, given: Mapping[str, str]) -> tuple[bool, Fields]:
        life = await self._kept.life()
        async with self._guard.within(self._policy.deadline_s):
            names = await self._reader.queues(keys.tenant)
        if keys.queue not in names and len(names) >= self._policy.max_queues:
            raise RequestError(
                f"There are {len(names)} queues already: use one of them, or raise DEJA_TASKS__MAX_QUEUES.",
                status=409,
                code="too_many_queues",
                param="queue",
            )
        async with self._guard.within(self._policy.deadline_s):
            await self._writer.register(keys)
            done = await self._writer.configure(keys, given, self._policy.defaults.fields())
        await self._kept.written(life)
        return done

    # ── submitting ────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self, tenant: str, queue: str, given: Sequence[Mapping[str, Any]], *, is_batch: bool
    ) -> list[Shown]:
        """Submit tasks, all or none; returns them in order, each with `created`.

        Args:
            tenant: whose.
            queue: created if it is not there.
            given: fields that were given, of each task; their types are checked.
            is_batch: whether errors name `tasks.<n>.`.
        """
        keys = queue_keys(tenant, queue)
        prefixes = [f"tasks.{number}." if is_batch else "" for number in range(len(given))]
        tasks = [
            submission(
                each,
                queue=queue,
                minted_id=f"task_{secrets.token_hex(12)}",
                payload_bytes=self._policy.payload_bytes,
                param=prefix,
            )
            for each, prefix in zip(given, prefixes, strict=True)
        ]
        _refuse_twins(tasks, prefixes)
        tasks = await self._with_ancestors(keys, tasks, prefixes)
        life = await self._kept.life()
        deadline_s = self._policy.deadline_s * (BATCH_DEADLINE_FACTOR if is_batch else 1)
        async with self._guard.within(deadline_s):
            done = await self._writer.submit(keys, tasks)
        if done.word == "queue_not_found":
            await self._configured(keys, {})
            async with self._guard.within(deadline_s):
                done = await self._writer.submit(keys, tasks)
        if done.word != OK:
            raise _refused_submission(done.word, prefixes[done.position])
        await self._until_kept(done.durability, life)
        self._on_step("submit", sum(is_new for is_new, _ in done.tasks))
        for is_new, fields in done.tasks:
            if is_new:
                self._on_change("submit", keys, fields)
        return [shown_task(queue, fields, is_brief=True) | {"created": is_new} for is_new, fields in done.tasks]

    async def _with_ancestors(self, keys: QueueKeys, tasks: list[Submission], prefixes: list[str]) -> list[Submission]:
        batch = [(f"{keys.queue}/{task.task_id}", task.parent) for task in tasks]
        wanted = outside(batch)
        if not wanted:
            return tasks
        async with self._guard.within(self._policy.deadline_s):
            known = await self._reader.ancestors(keys.tenant, sorted(wanted))
        lines = ancestors_of(batch, known, [f"{prefix}parent" for prefix in prefixes])
        return [replace(task, ancestors=line) for task, line in zip(tasks, lines, strict=True)]

    # ── working ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, tenant: str, queue: str, request: ClaimRequest, *, wait_s: float) -> list[Shown]:
        """The tasks a worker gets, each with its lease; empty when none came in time. Give back what it cannot receive."""
        checked_name(request.worker, "worker")
        keys = queue_keys(tenant, queue)
        records = await self._claims.claim(keys, request, wait_s=wait_s)
        self._on_step("claim", len(records))
        for record in records:
            self._on_change("claim", keys, record)
        return [shown_task(queue, record, with_lease=True) for record in records]

    def give_back(self, tenant: str, queue: str, worker: str, claimed: Sequence[Shown]) -> None:
        """Give back, in the background, what a worker claimed and did not receive."""
        self._claims.give_back(queue_keys(tenant, queue), worker, [task["lease"] for task in claimed])

    async def renew(self, tenant: str, queue: str, task_id: str, lease: str, *, lease_s: float | None) -> Shown:
        """Hold a task longer, counted from now."""
        lease_ms = "" if lease_s is None else f"{lease_s * 1000:.0f}"
        done = await self._step("renew", tenant, queue, task_id, lease, lease_ms)
        return shown_task(queue, done.record, with_lease=True)

    async def complete(self, tenant: str, queue: str, task_id: str, lease: str, result: Any) -> Shown:
        """Complete a task, once."""
        return await self._settle("complete", tenant, queue, task_id, lease, self._json(result, "result"))

    async def fail(
        self, tenant: str, queue: str, task_id: str, lease: str, error: Any, *, retry: bool, retry_in_s: float | None
    ) -> Shown:
        """Let an attempt fail: tried again later if it may and attempts are left, else in the dead letter."""
        retry_ms = "" if retry_in_s is None else f"{retry_in_s * 1000:.0f}"
        chance = f"{secrets.randbelow(1000) / 1000}"
        written = self._json(error, "error")
        return await self._settle("fail", tenant, queue, task_id, lease, written, str(int(retry)), retry_ms, chance)

    async def release(self, tenant: str, queue: str, task_id: str, lease: str) -> Shown:
        """Give a task back unharmed."""
        return await self._settle("release", tenant, queue, task_id, lease)

    async def reject(self, tenant: str, queue: str, task_id: str, lease: str, reason: Any) -> Shown:
        """Nobody shall do it."""
        return await self._settle("reject", tenant, queue, task_id, lease, self._json(reason, "reason"))

    async def pause(self, tenant: str, queue: str, task_id: str, lease: str, state: str, message: Any) -> Shown:
        """Let a task wait for somebody's word."""
        return await self._settle("pause", tenant, queue, task_id, lease, state, self._json(message, "message"))

    # ── from outside ──────────────────────────────────────────────────────────────────────────────────────────────

    async def input(self, tenant: str, queue: str, task_id: str, given: Any) -> Shown:
        """Give a paused task what it waits for."""
        return await self._settle("input", tenant, queue, task_id, self._json(given, "input"))

    async def cancel(self, tenant: str, queue: str, task_id: str) -> Shown:
        """Cancel a task that has not ended."""
        return await self._settle("cancel", tenant, queue, task_id)

    async def requeue(self, tenant: str, queue: str, task_id: str) -> Shown:
        """Take a task out of the dead letter."""
        return await self._settle("requeue", tenant, queue, task_id)

    async def requeue_dead(self, tenant: str, queue: str, *, limit: int) -> tuple[int, int]:
        """Take the oldest tasks out of the dead letter; returns how many, and how many are left."""
        life = await self._kept.life()
        async with self._guard.within(self._policy.deadline_s * BATCH_DEADLINE_FACTOR):
            done = await self._writer.requeue_dead(queue_keys(tenant, queue), limit)
        if done.word != OK:
            raise refused(done.word, param="queue")
        await self._until_kept(done.durability, life)
        self._on_step("requeue", done.count)
        return done.count, done.left

    async def _settle(self, verb: str, tenant: str, queue: str, task_id: str, *arguments: str | bytes) -> Shown:
        done = await self._step(verb, tenant, queue, task_id, *arguments)
        return shown_task(queue, done.record)

    async def _step(self, verb: str, tenant: str, queue: str, task_id: str, *arguments: str | bytes) -> Done:
        keys = queue_keys(tenant, queue)
        checked_name(task_id, "task_id")
        life = await self._kept.life()
        async with self._guard.within(self._policy.deadline_s):
            done = await self._writer.step(verb, keys, task_id, *arguments)
        if done.word not in (OK, REPEATED):
            raise refused(done.word)
        await self._until_kept(
            done.durability, life
        )  # a repeated one, too: the answer that was lost may have been a 503
        if done.word == OK:
            self._on_step(verb, 1)
            if verb != "renew":  # nothing changes hands
                self._on_change(verb, keys, done.record)
        return done

    async def _until_kept(self, durability: str, life: str) -> None:
        if durability == Durability.FSYNC:
            await self._kept.on_disk(life)
        elif durability:
            await self._kept.written(life)

    def _json(self, value: Any, param: str) -> bytes:
        return json_value(value, param, self._policy.payload_bytes)


def queue_keys(tenant: str, queue: str) -> QueueKeys:
    """Keys of a queue; RequestError 400 where it cannot be called so."""
    return QueueKeys(tenant, checked_name(queue, "queue"))


def _refuse_twins(tasks: Sequence[Submission], prefixes: Sequence[str]) -> None:
    """RequestError 400 where a batch names an id or a key twice: which of them would be the task?"""
    for name in ("task_id", "key"):
        values = [getattr(task, name) for task in tasks]
        seen: set[str] = set()
        for value, prefix in zip(values, prefixes, strict=True):
            if value in seen:
                field = f"{prefix}{'id' if name == 'task_id' else 'idempotency_key'}"
                raise RequestError(
                    f"`{field}` stands in this batch twice: leave one of the tasks out.",
                    param=field,
                    code="invalid_value",
                )
            if value is not None:
                seen.add(value)


def _refused_submission(word: str, prefix: str) -> RequestError:
    if word == "deadline_passed":
        return RequestError(
            f"`{prefix}deadline_at` lies in the past: give a later one.",
            param=f"{prefix}deadline_at",
            code="invalid_value",
        )
    field = {"idempotency_conflict": "idempotency_key", "task_exists": "id"}.get(word)
    return refused(word, param=f"{prefix}{field}" if field else None)
