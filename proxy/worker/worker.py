"""The worker: claims, has tasks handled, keeps their leases alive, reports. How calls are repeated is in `wire.py`."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from urllib.parse import quote

import httpx

from proxy.worker.tasks import Fatal, Retry, Task, failure
from proxy.worker.wire import ANSWER_S, Wire, WorkerError, accepted, code, is_loss, is_passing, pauses

log = logging.getLogger(__name__)

WAIT_S = 20.0
"""Of one long poll: below the 30 s after which some proxies in between close a silent connection."""
GRACE_S = 25.0
"""After a stop, as long as calls that get no answer are repeated: below the 30 s after which Kubernetes kills."""
RENEWALS = 3
"""Renewals in the time of one lease: two may get lost."""

Handler = Callable[[Task], Any]


class Worker:
    """Claims tasks of one queue and hands them to a handler, `count` at a time. The queue is created if it is not there.

    Args:
        base_url: of Deja, with or without /v1.
        api_key: decides the tenant, and so whose queues these are; None for the anonymous one.
        queue: its name.
        name: of this worker. No two that run may share one; the same after a restart, so that it gets back at once what it held before.
        lease_s: a task whose worker is silent for so long goes to another; renewed while the handler runs. None for the queue's.
        count: tasks at a time.
        wait_s: of one long poll.
        grace_s: how long after a stop a report that Deja does not answer is repeated.
        transport: replaces the network, for tests.

    Raises:
        ValueError: `base_url` is no HTTP URL.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        queue: str,
        name: str,
        *,
        lease_s: float | None = 30.0,
        count: int = 1,
        wait_s: float = WAIT_S,
        grace_s: float = GRACE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.queue = queue
        self.name = name
        self._lease_s = lease_s
        self._count = count
        self._wait_s = wait_s
        self._grace_s = grace_s
        self._is_stopping = False
        self._wire = Wire(base_url, api_key, transport)
        self._handler: Handler | None = None
        self._stops: SimpleQueue[None] = SimpleQueue()  # unlike an Event's `set`, its `put` may interrupt anything
        self._claimer: threading.Thread | None = None
        self._broken: Exception | None = None
        self._held = 0
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None

    def task(self, handler: Handler) -> Handler:
        """Decorator: this is what is done with a task. What it returns (any JSON value) is the task's result."""
        self._handler = handler
        return handler

    def run(self, handler: Handler | None = None) -> None:
        """Work until `stop`, SIGTERM or SIGINT, then finish what is held. Signals are minded in the main thread alone.

        Raises:
            WorkerError: Deja refuses to be claimed from; a broken connection or a Redis that is away are waited out.
        """
        self._handler = handler or self._handler
        if self._handler is None:
            raise TypeError("no handler: decorate one with @worker.task, or give it to run()")
        with (
            _signals(self.stop),
            _loop_in_a_thread() as self._loop,
            ThreadPoolExecutor(self._count, "deja-task") as pool,
        ):
            self._claimer = threading.Thread(target=self._claim_on, args=(pool,), name="deja-claims", daemon=True)
            self._claimer.start()
            self._stops.get()
            with self._changed:
                self._changed.wait_for(lambda: self._held == 0)
        if self._broken is not None:
            raise self._broken

    def stop(self) -> None:
        """Claim no more; `run` returns when what is held is finished. From any thread, or a handler."""
        if not self._is_stopping:
            self._wire.give_up_at = time.monotonic() + self._grace_s
        self._is_stopping = True
        self._stops.put(None)

    def close(self) -> None:
        """Close the connections, after `run`; waits for the last poll, whose tasks are given back."""
        if self._claimer is not None:
            self._claimer.join()
        self._wire.close()

    def submit(self, queue: str, payload: Any, **fields: Any) -> dict[str, Any]:
        """Submit a task, and go on trying until Deja has it.

        Args:
            queue: to which; it is created if it is not there.
            payload: any JSON value.
            fields: as POST /v1/queues/{queue}/tasks takes them. Give an `idempotency_key`, or a lost answer may make two tasks of one.

        Returns:
            The task; an earlier one if the key had been used for the same.

        Raises:
            WorkerError: Deja refuses it; code `idempotency_conflict`: the key was used for another.
        """
        answer = self._wire.call("POST", _tasks(queue), {"payload": payload} | fields)
        found: dict[str, Any] = accepted(answer).json()
        return found

    # ── claiming ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _claim_on(self, pool: ThreadPoolExecutor) -> None:
        """Claim until stopped; in a thread of its own, so that a stop need not wait for a long poll to end."""
        try:
            recover = True  # what a predecessor of this name held is this one's
            while (slots := self._slots()) and self._is_claiming():
                tasks, recover = self._claim(slots, recover=recover)
                self._take(tasks, pool)
        except Exception as error:  # raised by `run`
            self._broken = error
            self.stop()

    def _take(self, tasks: list[Task], pool: ThreadPoolExecutor) -> None:
        """Have tasks worked at; or give them back, if the stop came first."""
        with self._changed:
            is_late = not self._is_claiming()
            self._held += 0 if is_late else len(tasks)
        for task in tasks:
            if is_late:
                self._report(task, "release", {})
            else:
                pool.submit(self._work, task)

    def _claim(self, slots: int, *, recover: bool) -> tuple[list[Task], bool]:
        """Poll until there is an answer: the tasks, and whether some may have been handed out in an answer that was lost.

        Recovering brings those back; but it would take away what is held, too, and so waits until nothing is.
        """
        wish: dict[str, Any] = {"worker": self.name, "count": slots, "wait_s": self._wait_s}
        if self._lease_s is not None:
            wish["lease_s"] = self._lease_s
        for pause_s in pauses():
            wish["recover"] = recover and self._held == 0
            try:
                answer = self._wire.send("POST", f"{_tasks(self.queue)}/claim", wish, timeout_s=self._wait_s + ANSWER_S)
            except httpx.TransportError as error:
                log.warning("cannot reach Deja to claim (%s)", type(error).__name__)
                recover = recover or not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            else:
                if code(answer) == "queue_not_found":
                    self._create()
                elif is_passing(answer):
                    log.warning("cannot claim now (status %d)", answer.status_code)
                else:
                    tasks = [Task(fields) for fields in accepted(answer).json()["data"]]
                    return tasks, recover and not wish["recover"]
            time.sleep(pause_s)
            if not self._is_claiming():
                break
        return [], recover

    def _create(self) -> None:
        """Make the queue; one that somebody made meanwhile stays as it is."""
        answer = self._wire.call("PUT", _queue(self.queue), {}, is_wanted=self._is_claiming)
        if self._is_claiming():
            accepted(answer)

    def _is_claiming(self) -> bool:
        return not self._is_stopping

    def _slots(self) -> int:
        """How many tasks more can be worked at; waits until it is one at least."""
        with self._changed:
            self._changed.wait_for(lambda: self._held < self._count)
            return self._count - self._held

    # ── working ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self, task: Task) -> None:
        """Handle a task from claim to report; runs in the pool."""
        keeper = threading.Thread(target=self._keep, args=(task,), name=f"deja-lease-{task.id}", daemon=True)
        keeper.start()
        try:
            self._report(task, *self._outcome(task))
        except WorkerError as error:
            log.error("task %s could not be reported (%s); its lease runs out", task.id, error.code)
        finally:
            task.over.set()
            with self._changed:
                self._held -= 1
                self._changed.notify_all()

    def _outcome(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Run the handler: which report to make, and what it says besides the lease."""
        try:
            result = self._handled(task)
            json.dumps(result, allow_nan=False)
        except Retry as wish:
            return "fail", failure(wish, retry=True) | ({} if wish.in_s is None else {"retry_in_s": wish.in_s})
        except Fatal as wish:
            return "fail", failure(wish, retry=False)
        except BaseException as error:  # a cancellation or an exit, too: nobody waits for this thread to tell it
            log.warning("task %s failed in attempt %d (%s)", task.id, task.attempt, type(error).__name__)
            return "fail", failure(error, retry=True)
        return "complete", {"result": result}

    def _handled(self, task: Task) -> Any:
        assert self._handler is not None
        found = self._handler(task)
        if inspect.iscoroutine(found):
            assert self._loop is not None
            return asyncio.run_coroutine_threadsafe(found, self._loop).result()
        return found

    def _report(self, task: Task, verb: str, body: dict[str, Any]) -> None:
        """Tell Deja, until it has heard: what was done is not to be done again because nobody wrote it down."""
        if task.is_lost:
            return
        url = f"{_tasks(self.queue)}/{task.id}/{verb}"
        answer = self._wire.call(
            "POST", url, {"lease": task.fields["lease"]} | body, is_wanted=lambda: not task.is_lost
        )
        if is_loss(answer):
            task.lose(code(answer))
        elif answer.is_client_error and verb == "complete":  # too large, for one: the next attempt's would be so too
            self._report(task, "fail", failure(Fatal(f"the result was refused: {code(answer)}"), retry=False))
        elif not task.is_lost:
            accepted(answer)

    def _keep(self, task: Task) -> None:
        """Renew a task's lease until it is over or lost; runs in a thread of its own."""
        lease_s = self._lease_s or float(task.fields["lease_until"]) - float(task.fields["started_at"])
        url = f"{_tasks(self.queue)}/{task.id}/renew"
        pause_s = lease_s / RENEWALS
        while not task.over.wait(pause_s):
            lease = {"lease": task.fields["lease"]}
            timeout_s = min(pause_s, ANSWER_S)
            answer = self._wire.call("POST", url, lease, timeout_s=timeout_s, is_wanted=lambda: not task.over.is_set())
            if is_loss(answer):
                task.lose(code(answer))
                return


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT stop; a second one does what it did before, so that Ctrl-C twice ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, _frame: object) -> None:
        stop()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="deja-loop", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _queue(queue: str) -> str:
    return f"queues/{quote(queue, safe='')}"


def _tasks(queue: str) -> str:
    return f"{_queue(queue)}/tasks"
