"""Task queues in Redis: every step is one atomic script (`lua/task_*.lua`); lists are read by `task_lists`.

    config             hash    how the queue works
    task:<id>          hash    a task's record
    ready:<priority>   stream  tasks ready or being worked at, entries {task}; one consumer group, `workers`, a consumer for each worker.
                               Entries pending with the consumer `~returned` came back from their workers and are handed out first
    delayed, leases, deadlines   zset  task by the unix ms at which something is due
    tasks, state:<state>, children:<queue>/<task>   zset  tasks by when they were submitted, changed, submitted (unix ms)
    idempotency        hash    key -> task
    dead               stream  the dead letter: task, reason, attempts, error, at
    updates            stream  every change of a state: task, from, state, attempt, worker, reason, at
    wake               channel how many tasks became ready

Scripts count time by Redis' clock. One that was sent may have run although no answer came; what follows is told in `services.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from proxy.core.coordination import keys
from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_replies import OK, Claimed, Done, Fields, Requeued, Submitted
from proxy.core.coordination.task_requests import ClaimRequest, Submission
from proxy.stores.client import translated
from proxy.stores.responses import script

SWEPT_AT_ONCE = 100
"""Due leases, delays and deadlines that one script sees to, each: some 5 ms of Redis' one thread."""
PRUNED_AT_ONCE = 500
CONSUMER_KEPT_MS = 3_600_000
"""After an hour in which it neither asked nor held anything, a worker's name is forgotten."""
_SCRIPTS = (
    *("configure", "submit", "claim", "renew", "complete", "fail", "release", "return", "pause", "input"),
    *("reject", "cancel", "requeue", "sweep", "prune", "erase"),
)


class TaskStore:
    """Writes to queues. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        max_updates: changes of state kept per queue, about.
        on_death: told why a task failed for good, by whatever step of this process; the words are `core.coordination.tasks.DEATHS`.
    """

    def __init__(self, client: Redis, *, max_updates: int, on_death: Callable[[str], None] = lambda _: None) -> None:
        self._client = client
        self._max_updates = max_updates
        self._on_death = on_death
        self._scripts = {name: client.register_script(task_script(name)) for name in _SCRIPTS}

    async def _run(self, name: str, queue: QueueKeys, *arguments: Any) -> list[Any]:
        with translated():
            reply: list[Any] = await self._scripts[name](
                keys=[queue.key("config")], args=[self._max_updates, *arguments]
            )
        return [self._heard(reply[0]), *reply[1:]]

    def _heard(self, said: bytes) -> str:
        """The word of a reply; behind it stand the reasons of tasks that failed for good."""
        word, *reasons = said.decode().split()
        for reason in reasons:
            self._on_death(reason)
        return word

    async def register(self, queue: QueueKeys) -> int:
        """Let sweeps know of a queue, before anything is in it; returns how many the tenant has."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.sadd(keys.QUEUE_TENANTS, queue.tenant)
                pipe.sadd(keys.queues(queue.tenant), queue.queue)
                pipe.scard(keys.queues(queue.tenant))
                return int((await pipe.execute())[-1])

    async def configure(
        self, queue: QueueKeys, given: Mapping[str, str], defaults: Mapping[str, str]
    ) -> tuple[bool, Fields]:
        """Create a queue or change it; returns whether it is new, and its fields."""
        word, fields = await self._run("configure", queue, *_flat(given), "-", *_flat(defaults))
        return word == "created", read_fields(fields)

    async def submit(self, queue: QueueKeys, tasks: Sequence[Submission]) -> Submitted:
        """Submit tasks whose parents are known to be there: all of them or none."""
        arguments = [part for task in tasks for part in _written(task)]
        word, *rest = await self._run("submit", queue, len(tasks), *arguments)
        if word != OK:
            return Submitted(word, position=int(rest[0]) if rest else 0)
        durability, *records = rest
        told = tuple((bool(record[0]), read_fields(record[1:])) for record in records)
        return Submitted(OK, told, durability.decode())

    async def claim(self, queue: QueueKeys, request: ClaimRequest, leases: Sequence[str]) -> Claimed:
        """Hand ready tasks to a worker, each under one of `leases`; sees to what is due first."""
        lease_ms = "" if request.lease_s is None else f"{request.lease_s * 1000:.0f}"
        word, *rest = await self._run(
            "claim", queue, request.worker, request.count, lease_ms, int(request.is_recovering), SWEPT_AT_ONCE, *leases
        )
        if word != OK:
            return Claimed(word)
        wait_ms, *records = rest
        return Claimed(OK, tuple(map(read_fields, records)), None if wait_ms < 0 else wait_ms / 1000)

    async def step(self, verb: str, queue: QueueKeys, task_id: str, *arguments: str | bytes) -> Done:
        """One step of one task, by its script's name; the arguments are those its script lists."""
        word, *rest = await self._run(verb, queue, task_id, *arguments)
        return Done(word, read_fields(rest[1]), rest[0].decode()) if rest else Done(word, {})

    async def give_back(self, queue: QueueKeys, worker: str, leases: Sequence[str]) -> int:
        """Give back what a worker was handed under these leases; returns how many tasks that were."""
        return int((await self._run("return", queue, worker, *leases))[1])

    async def requeue_dead(self, queue: QueueKeys, count: int) -> Requeued:
        """Make the tasks that have been in the dead letter longest ready again."""
        word, *rest = await self._run("requeue", queue, "", count)
        if not rest:
            return Requeued(word)
        durability, revived, left = rest
        return Requeued(OK, revived, left, durability.decode())

    async def sweep(self, queues: Sequence[QueueKeys]) -> list[int | None]:
        """See to what is due in these queues, in one round trip; returns how much there was in each, None where it failed."""
        with translated():
            replies = await self._sweep_all(queues)
            if any(
                isinstance(reply, NoScriptError) for reply in replies
            ):  # a fresh Redis, or one with its scripts flushed
                await self._client.script_load(self._scripts["sweep"].script)
                replies = await self._sweep_all(queues)
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                with translated():
                    raise reply
        return [None if isinstance(reply, Exception) else self._seen_to(reply) for reply in replies]

    def _seen_to(self, reply: Sequence[Any]) -> int:
        self._heard(reply[0])
        return int(reply[1])

    async def _sweep_all(self, queues: Sequence[QueueKeys]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.evalsha(
                    self._scripts["sweep"].sha, 1, queue.key("config"), str(self._max_updates), str(SWEPT_AT_ONCE)
                )
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

    async def prune(self, queue: QueueKeys, *, keep: int) -> int:
        """Remove tasks that ended too long ago, or are more than `keep`; returns how many went."""
        return int((await self._run("prune", queue, keep, PRUNED_AT_ONCE, CONSUMER_KEPT_MS))[1])

    async def erase(self, queue: QueueKeys, session: str, task_ids: Sequence[str]) -> int:
        """Remove those of some tasks that were submitted in a session; returns how many there were."""
        return int((await self._run("erase", queue, session, *task_ids))[1])


def task_script(name: str) -> str:
    """A script of a queue with what all of them share around it."""
    return f"{script('task_prelude')}\nlocal function step()\n{script(f'task_{name}')}\nend\nreturn told(step())\n"


def read_fields(flat: Sequence[Any]) -> dict[str, str]:
    """Names and values in turn, as scripts reply them."""
    texts = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _flat(pairs: Mapping[str, str]) -> Iterable[str]:
    return (part for pair in pairs.items() for part in pair)


def _written(task: Submission) -> tuple[str | bytes | int, ...]:
    return (
        task.task_id,
        task.payload,
        task.priority,
        task.start,
        task.deadline,
        "" if task.max_attempts is None else task.max_attempts,
        task.parent or "",
        " ".join(task.ancestors),
        task.key or "",
        task.digest,
        task.session or "",
        task.agent or "",
    )
