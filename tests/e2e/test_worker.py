"""The worker helper against a real Deja: in threads, in processes that are killed, through restarts of Deja and Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.worker import Fatal, Retry, Task, Worker, WorkerError
from tests.deja_process import DejaProcess, running_deja

ROOT = Path(__file__).resolve().parent.parent.parent


class Queue:
    """A queue of a tenant of its own, looked at by HTTP."""

    def __init__(self, deja: DejaProcess) -> None:
        self.base_url = deja.base_url
        self.api_key = f"sk-{uuid.uuid4()}"
        self._workers: list[Worker] = []
        self._http = httpx.Client(
            base_url=f"{deja.base_url}/queues/jobs", headers={"Authorization": f"Bearer {self.api_key}"}, timeout=20
        )

    def close(self) -> None:
        self._http.close()
        for worker in self._workers:
            worker.close()

    def worker(self, name: str = "w-1", **options: Any) -> Worker:
        made = Worker(self.base_url, self.api_key, "jobs", name, **({"wait_s": 0.5} | options))
        self._workers.append(made)
        return made

    def submit(self, *payloads: Any, **fields: Any) -> list[str]:
        answers = [self._http.post("/tasks", json={"payload": payload} | fields) for payload in payloads]
        return [answer.raise_for_status().json()["id"] for answer in answers]

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._http.post(path, json=body or {}).raise_for_status().json()

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def wait_for(
        self, task_id: str, is_so: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0
    ) -> dict[str, Any]:
        """The task once it is so."""
        give_up_at = time.monotonic() + timeout_s
        while not is_so(task := self.task(task_id)):
            assert time.monotonic() < give_up_at, f"it never came to this: {task}"
            time.sleep(0.02)
        return task

    def wait_for_state(self, task_id: str, state: str) -> dict[str, Any]:
        return self.wait_for(task_id, lambda task: task["state"] == state)


@pytest.fixture
def queue(deja: DejaProcess) -> Iterator[Queue]:
    made = Queue(deja)
    yield made
    made.close()


@contextmanager
def working(worker: Worker, handler: Callable[[Task], Any]) -> Iterator[None]:
    thread = threading.Thread(target=worker.run, args=(handler,))
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(15)
        assert not thread.is_alive(), "the worker did not stop"


PROGRAM = """
import sys, time
from proxy.worker import Worker

base_url, api_key, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
worker = Worker(base_url, api_key, "jobs", "w-process", wait_s=0.5)


@worker.task
def handle(task):
    print("begun", task.id, task.attempt, flush=True)
    time.sleep(seconds)
    return {"attempt": task.attempt}


worker.run()
print("ended well", flush=True)
"""


@contextmanager
def process(queue: Queue, *, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, whose handler takes so long; it tells on its output when it begins a task."""
    command = [sys.executable, "-c", PROGRAM, queue.base_url, queue.api_key, str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def line(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def test_it_makes_its_queue_and_completes_what_comes(queue: Queue) -> None:
    worker = queue.worker()
    with working(worker, lambda task: task.payload["number"] * 2):
        task = worker.submit("jobs", {"number": 21}, priority=7, idempotency_key="the only one")
        same = worker.submit("jobs", {"number": 21}, priority=7, idempotency_key="the only one")
        done = queue.wait_for_state(task["id"], "completed")
    assert same["id"] == task["id"]
    assert (done["result"], done["worker"], done["attempt"]) == (42, "w-1", 1)
    with pytest.raises(WorkerError) as caught:
        worker.submit("jobs", {"number": 22}, idempotency_key="the only one")
    assert caught.value.code == "idempotency_conflict"


def test_coroutines_handle_several_tasks_at_a_time(queue: Queue) -> None:
    together = asyncio.Barrier(4)

    async def handle(task: Task) -> int:
        await asyncio.wait_for(together.wait(), 15)
        return task.payload + 1

    ids = queue.submit(1, 2, 3, 4)
    with working(queue.worker(count=4), handle):
        assert [queue.wait_for_state(task_id, "completed")["result"] for task_id in ids] == [2, 3, 4, 5]


def test_what_fails_is_tried_again_as_the_handler_wishes(queue: Queue) -> None:
    def handle(task: Task) -> str:
        if task.attempt == 1 and task.payload == "retry":
            raise Retry("not yet", in_s=0.1)
        if task.payload == "fatal":
            raise Fatal("never")
        if task.payload == "bad":
            raise ValueError("no such thing")
        return "at last"

    queue.post("/tasks", {"payload": "retry", "id": "retry"})
    queue.post("/tasks", {"payload": "fatal", "id": "fatal"})
    queue.post("/tasks", {"payload": "bad", "id": "bad", "max_attempts": 1})
    with working(queue.worker(), handle):
        retried = queue.wait_for_state("retry", "completed")
        fatal = queue.wait_for_state("fatal", "failed")
        bad = queue.wait_for_state("bad", "failed")
    assert (retried["result"], retried["attempt"]) == ("at last", 2)
    assert (fatal["is_dead"], fatal["attempt"]) == (True, 1)
    assert fatal["error"] == {"type": "Fatal", "message": "never"}
    assert bad["error"] == {"type": "ValueError", "message": "no such thing"}


def test_a_handler_learns_that_its_task_was_canceled_and_its_result_goes_nowhere(queue: Queue) -> None:
    told = threading.Event()

    def handle(task: Task) -> str:
        give_up_at = time.monotonic() + 15
        while not task.is_lost and time.monotonic() < give_up_at:
            time.sleep(0.02)
        if task.is_lost:
            told.set()
        return "too late"

    (task_id,) = queue.submit("a")
    with working(queue.worker(lease_s=1.0), handle):
        queue.wait_for_state(task_id, "working")
        queue.post(f"/tasks/{task_id}/cancel")
        assert told.wait(15)
    assert queue.task(task_id)["state"] == "canceled"
    assert queue.task(task_id)["result"] is None


def test_a_task_outlasts_its_lease_as_long_as_its_worker_lives(queue: Queue) -> None:
    (task_id,) = queue.submit("a")
    with working(queue.worker(lease_s=1.0), lambda task: time.sleep(2.5)):
        done = queue.wait_for_state(task_id, "completed")
    assert done["attempt"] == 1


def test_a_killed_worker_gets_its_task_back_when_it_is_started_again(queue: Queue) -> None:
    (task_id,) = queue.submit("a")
    with process(queue, seconds=60) as first:
        assert line(first) == f"begun {task_id} 1"
        first.kill()
    with process(queue, seconds=0) as second:
        assert line(second) == f"begun {task_id} 2"  # long before the lease of 30 s ran out
        assert queue.wait_for_state(task_id, "completed")["result"] == {"attempt": 2}
        second.terminate()
        assert line(second) == "ended well"


def test_sigterm_lets_a_worker_finish_what_it_holds_and_take_no_more(queue: Queue) -> None:
    held, waiting = queue.submit("a", "b")
    with process(queue, seconds=0.5) as worker:
        assert line(worker) == f"begun {held} 1"
        worker.send_signal(signal.SIGTERM)
        assert line(worker) == "ended well"
        assert worker.wait(10) == 0
    assert queue.task(held)["state"] == "completed"
    assert (queue.task(waiting)["state"], queue.task(waiting)["attempt"]) == ("submitted", 0)


def test_a_step_that_is_done_is_reported_though_deja_and_redis_were_killed_meanwhile() -> None:
    with running_deja() as deja:
        queue = Queue(deja)
        begun, go_on = threading.Event(), threading.Event()
        handled = []

        def handle(task: Task) -> str:
            handled.append(task.payload)
            begun.set()
            go_on.wait(30)
            return "done once"

        before_deja, before_redis, after = queue.submit("before Deja dies", "before Redis dies", "after")
        with working(queue.worker(lease_s=60.0), handle):
            assert begun.wait(10)
            deja.kill()
            go_on.set()  # the report finds nobody
            time.sleep(0.3)
            begun.clear()
            go_on.clear()
            deja.start(until="serving")
            assert queue.wait_for_state(before_deja, "completed")["attempt"] == 1
            assert begun.wait(20)
            os.kill(deja.redis_pid(), signal.SIGKILL)
            go_on.set()
            deja.wait_until_whole()
            assert queue.wait_for_state(before_redis, "completed")["attempt"] == 1
            assert queue.wait_for_state(after, "completed")["result"] == "done once"
        assert handled == ["before Deja dies", "before Redis dies", "after"]
        queue.close()
