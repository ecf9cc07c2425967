"""A worker for Deja's task queues: claims tasks, keeps their leases alive, reports what became of them. For users to import.

    from proxy.worker import Fatal, Retry, Task, Worker

    worker = Worker("http://127.0.0.1:8080", "sk-…", queue="mails", name="mails-1")

    @worker.task
    def send(task: Task) -> dict[str, str]:
        return {"sent_to": task.payload["to"]}

    worker.run()  # until SIGTERM; then what is held is finished

It imports nothing of Deja's: copy the file into any project that has httpx. A handler may be a function, which runs in a thread of the
pool, or a coroutine function, which runs on one loop that all share. What goes over HTTP is told in docs/guide/tasks.md.

A task may be done twice (a worker dies after the deed and before it could say so), but is completed once: let what a handler does elsewhere
carry an idempotency key made of `task.id`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

log = logging.getLogger(__name__)

WAIT_S = 5.0
"""Of one long poll, and so the longest an idle worker takes to stop: half of the 10 s that `docker stop` grants."""
ANSWER_S = 10.0
"""For Deja's answer to anything but a long poll."""
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
"""Longest pause between two tries; drawn evenly from below the doubling limit, so that a fleet does not return in step."""
GRACE_S = 25.0
"""After a stop, as long as calls that get no answer are repeated: below the 30 s after which Kubernetes kills."""
RENEWALS = 3
"""Renewals in the time of one lease: two may get lost."""
MESSAGE_CHARS = 2000
"""Of an error's message that is kept with a task."""

Handler = Callable[["Task"], Any]


class WorkerError(Exception):
    """Deja refused something that no retry mends: the key, the queue's name, the lease's length.

    Attributes:
        status: of the answer.
        code: Deja's word for it.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Retry(Exception):  # noqa: N818  reads as what a handler wants: raise Retry(in_s=60)
    """Raised by a handler: try this task again later. It counts as an attempt.

    Args:
        message: why, kept with the task.
        in_s: seconds from now; None for the queue's back-off.
    """

    def __init__(self, message: str = "", *, in_s: float | None = None) -> None:
        super().__init__(message)
        self.in_s = in_s


class Fatal(Exception):  # noqa: N818
    """Raised by a handler: this task will never succeed; it goes to the dead letter at once."""


class Task:
    """A task that this worker holds.

    Attributes:
        fields: all that Deja tells of it.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.over = threading.Event()
        self._lost = threading.Event()

    @property
    def id(self) -> str:
        """Its id, the same in every attempt: what to make idempotency keys of."""
        return str(self.fields["id"])

    @property
    def payload(self) -> Any:
        """What was submitted: any JSON value."""
        return self.fields["payload"]

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return int(self.fields["attempt"])

    @property
    def is_lost(self) -> bool:
        """Whether Deja said that the task is no longer this worker's: lease run out, canceled, too late. Drop the work then; the result
        goes nowhere. While Deja cannot be reached it cannot say so.
        """
        return self._lost.is_set()

    def lose(self, why: str) -> None:
        """Note that it is another's now, or nobody's."""
        if not self._lost.is_set() and not self.over.is_set():
            log.warning("task %s is no longer held (%s)", self.id, why)
        self._lost.set()


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
        if not base_url.startswith(("http://", "https://")):
            raise ValueError("base_url is to begin with http:// or https://, such as http://127.0.0.1:8080")
        self.queue = queue
        self.name = name
        self._lease_s = lease_s
        self._count = count
        self._wait_s = wait_s
        self._grace_s = grace_s
        self._stopped_at = math.inf
        self._handler: Handler | None = None
        self._stopping = threading.Event()
        self._held = 0
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = httpx.Client(
            base_url=f"{base_url.rstrip('/').removesuffix('/v1')}/v1/",
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            transport=transport,
        )

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
        with self._signals(), self._async_loop(), ThreadPoolExecutor(self._count, "deja-task") as pool:
            recover = True  # what a predecessor of this name held is this one's
            while (slots := self._slots()) and self._is_claiming():
                tasks, recover = self._claim(slots, recover=recover)
                for task in tasks:
                    self._hold(1)
                    pool.submit(self._work, task)

    def stop(self) -> None:
        """Claim no more; `run` returns when what is held is finished. From any thread, or a handler."""
        self._stopped_at = min(self._stopped_at, time.monotonic())
        self._stopping.set()

    def close(self) -> None:
        """Close the connections, after `run`."""
        self._http.close()

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
        answer = self._call("POST", _tasks(queue), {"payload": payload} | fields)
        found: dict[str, Any] = _accepted(answer).json()
        return found

    # ── claiming ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _claim(self, slots: int, *, recover: bool) -> tuple[list[Task], bool]:
        """Poll until there is an answer: the tasks, and whether some may have been handed out in an answer that was lost.

        Recovering brings those back; but it would take away what is held, too, and so waits until nothing is.
        """
        wish: dict[str, Any] = {"worker": self.name, "count": slots, "wait_s": self._wait_s}
        if self._lease_s is not None:
            wish["lease_s"] = self._lease_s
        for pause_s in _pauses():
            wish["recover"] = recover and self._held == 0
            try:
                answer = self._send("POST", f"{_tasks(self.queue)}/claim", wish, timeout_s=self._wait_s + ANSWER_S)
            except httpx.TransportError as error:
                log.warning("cannot reach Deja to claim (%s)", type(error).__name__)
                recover = True
            else:
                if _code(answer) == "queue_not_found":
                    self._create()
                elif _is_passing(answer):
                    log.warning("cannot claim now (status %d)", answer.status_code)
                else:
                    tasks = [Task(fields) for fields in _accepted(answer).json()["data"]]
                    return tasks, recover and not wish["recover"]
            if self._stopping.wait(pause_s):
                break
        return [], recover

    def _create(self) -> None:
        """Make the queue; one that somebody made meanwhile stays as it is."""
        answer = self._call("PUT", _queue(self.queue), {}, is_wanted=self._is_claiming)
        if self._is_claiming():
            _accepted(answer)

    def _is_claiming(self) -> bool:
        return not self._stopping.is_set()

    def _slots(self) -> int:
        """How many tasks more can be worked at; waits until it is one at least."""
        with self._changed:
            self._changed.wait_for(lambda: self._held < self._count)
            return self._count - self._held

    def _hold(self, change: int) -> None:
        with self._changed:
            self._held += change
            self._changed.notify()

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
            self._hold(-1)

    def _outcome(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Run the handler: which report to make, and what it says besides the lease."""
        if self._stopping.is_set():
            return "release", {}  # claimed by the poll that the signal came into
        try:
            result = self._handled(task)
            json.dumps(result, allow_nan=False)
        except Retry as wish:
            return "fail", _failure(wish, retry=True) | ({} if wish.in_s is None else {"retry_in_s": wish.in_s})
        except Fatal as wish:
            return "fail", _failure(wish, retry=False)
        except (Exception, SystemExit) as error:
            log.warning("task %s failed in attempt %d (%s)", task.id, task.attempt, type(error).__name__)
            return "fail", _failure(error, retry=True)
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
        answer = self._call("POST", url, {"lease": task.fields["lease"]} | body, is_wanted=lambda: not task.is_lost)
        if _is_loss(answer):
            task.lose(_code(answer))
        elif answer.is_client_error and verb == "complete":  # too large, for one: the next attempt's would be so too
            self._report(task, "fail", _failure(Fatal(f"the result was refused: {_code(answer)}"), retry=False))
        elif not task.is_lost:
            _accepted(answer)

    def _keep(self, task: Task) -> None:
        """Renew a task's lease until it is over or lost; runs in a thread of its own."""
        lease_s = self._lease_s or float(task.fields["lease_until"]) - float(task.fields["started_at"])
        url = f"{_tasks(self.queue)}/{task.id}/renew"
        pause_s = lease_s / RENEWALS
        while not task.over.wait(pause_s):
            lease = {"lease": task.fields["lease"]}
            timeout_s = min(pause_s, ANSWER_S)
            answer = self._call("POST", url, lease, timeout_s=timeout_s, is_wanted=lambda: not task.over.is_set())
            if _is_loss(answer):
                task.lose(_code(answer))
                return

    # ── the wire ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float = ANSWER_S,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> httpx.Response:
        """Call until there is an answer that another try would not change, or nobody wants one any more.

        For idempotent calls: one whose answer was lost is made again.
        """
        for pause_s in _pauses():
            try:
                answer = self._send(method, url, body, timeout_s=timeout_s)
            except httpx.TransportError as error:
                log.warning("cannot reach Deja (%s)", type(error).__name__)
                answer = httpx.Response(503)
            is_late = time.monotonic() > self._stopped_at + self._grace_s
            if not _is_passing(answer) or is_late or not is_wanted():
                return answer
            time.sleep(max(pause_s, _retry_after_s(answer)))
        raise AssertionError("pauses have no end")

    def _send(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float,
    ) -> httpx.Response:
        """One call.

        Raises:
            httpx.TransportError: no answer.
        """
        content = json.dumps(body, allow_nan=False)  # escapes what is no Unicode, where httpx would raise
        return self._http.request(method, url, content=content, timeout=timeout_s)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop; a second one does what it did before, so that Ctrl-C twice ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def on_signal(number: int, _frame: object) -> None:
            self.stop()
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _async_loop(self) -> Iterator[None]:
        """A loop in a thread for handlers that are coroutine functions."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="deja-loop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()


def _queue(queue: str) -> str:
    return f"queues/{quote(queue, safe='')}"


def _tasks(queue: str) -> str:
    return f"{_queue(queue)}/tasks"


def _pauses() -> Iterator[float]:
    limit_s = FIRST_PAUSE_S
    while True:
        yield random.uniform(0.0, limit_s)  # noqa: S311  no secret
        limit_s = min(MAX_PAUSE_S, limit_s * 2)


def _is_passing(answer: httpx.Response) -> bool:
    """Whether waiting may mend it: Redis away, Deja starting, too many at once."""
    return answer.status_code >= 500 or answer.status_code in (408, 429)


def _is_loss(answer: httpx.Response) -> bool:
    return answer.status_code in (404, 409, 410)


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_PAUSE_S) if text.isdigit() else 0.0


def _code(answer: httpx.Response) -> str:
    return str(_error(answer).get("code") or answer.status_code)


def _error(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a yes.

    Raises:
        WorkerError: it is a no.
    """
    if answer.is_success:
        return answer
    message = _error(answer).get("message") or "no reason given"
    raise WorkerError(answer.status_code, _code(answer), f"Deja answered {answer.status_code}: {message}")


def _failure(error: BaseException, *, retry: bool) -> dict[str, Any]:
    message = str(error)[:MESSAGE_CHARS].encode(errors="replace").decode()
    told = {"type": type(error).__name__, "message": message}
    return {"error": told, "retry": retry}
