"""The worker helper against a made-up Deja: each promise without a network. The real one is in tests/e2e/test_worker.py."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from proxy.worker import Fatal, Retry, Task, Worker, WorkerError, wire

Answer = httpx.Response | Exception


class MadeUpDeja:
    """Hands out tasks once, notes what is reported, and answers as it is told to.

    Attributes:
        calls: (last part of the path, body), in order.
        answers: what to answer instead, by last part of the path, first come first.
    """

    def __init__(self, *payloads: Any, lease_s: float = 30.0) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, list[Answer]] = {}
        self.paths: list[str] = []
        self.headers: list[httpx.Headers] = []
        self._lease_s = lease_s
        self._waiting = [self._task(number, payload) for number, payload in enumerate(payloads, 1)]
        self._lock = threading.Lock()
        self.heard = threading.Condition()

    def _task(self, number: int, payload: Any) -> dict[str, Any]:
        times = {"started_at": 100.0, "lease_until": 100.0 + self._lease_s}
        return {"id": f"task_{number}", "payload": payload, "attempt": 1, "lease": f"lease_{number}", **times}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        verb = request.url.path.rpartition("/")[2]
        with self._lock:
            self.calls.append((verb, json.loads(request.content)))
            self.paths.append(f"{request.method} {request.url.raw_path.decode()}")
            self.headers.append(request.headers)
            scripted = self.answers.get(verb)
            answer = scripted.pop(0) if scripted else self._usual(verb)
        with self.heard:
            self.heard.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _usual(self, verb: str) -> httpx.Response:
        if verb != "claim":
            return httpx.Response(200, json={})
        count = self.calls[-1][1]["count"]
        given, self._waiting = self._waiting[:count], self._waiting[count:]
        if not given:
            time.sleep(0.005)  # stands for the long poll
        return httpx.Response(200, json={"object": "list", "data": given})

    def bodies(self, verb: str) -> list[dict[str, Any]]:
        return [body for called, body in list(self.calls) if called == verb]

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
        with self.heard:
            assert self.heard.wait_for(is_so, timeout_s), (
                f"never happened; calls: {Counter(verb for verb, _ in self.calls)}"
            )

    def has(self, verb: str, times: int = 1) -> Callable[[], bool]:
        return lambda: len(self.bodies(verb)) >= times


def no(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": "No.", "code": code}})


@contextmanager
def working(deja: MadeUpDeja, handler: Callable[[Task], Any], **options: Any) -> Iterator[Worker]:
    """A worker at work in a thread; stopped and awaited at the end."""
    worker = Worker("http://deja.test", "sk-1", "mails", "mails-1", transport=httpx.MockTransport(deja), **options)
    thread = threading.Thread(target=worker.run, args=(handler,))
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive(), "the worker did not stop"
        worker.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(wire, "MAX_PAUSE_S", 0.01)


# ── the usual ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_claimed_handled_and_completed_with_what_the_handler_returns() -> None:
    deja = MadeUpDeja({"to": "ada"})
    with working(deja, lambda task: {"sent_to": task.payload["to"], "attempt": task.attempt}):
        deja.wait_for(deja.has("complete"))
    assert deja.bodies("complete") == [{"lease": "lease_1", "result": {"sent_to": "ada", "attempt": 1}}]
    assert "POST /v1/queues/mails/tasks/task_1/complete" in deja.paths
    assert deja.headers[0]["authorization"] == "Bearer sk-1"


def test_only_the_first_claim_recovers_what_the_name_held_before() -> None:
    deja = MadeUpDeja()
    with working(deja, lambda task: None, lease_s=12.0, count=3):
        deja.wait_for(deja.has("claim", 3))
    first, *others = deja.bodies("claim")
    assert first == {"worker": "mails-1", "count": 3, "wait_s": 20.0, "lease_s": 12.0, "recover": True}
    assert all(claim["recover"] is False for claim in others)


def test_the_decorator_names_the_handler_and_leaves_it_as_it_is() -> None:
    deja = MadeUpDeja("a")
    worker = Worker("http://deja.test/v1/", None, "mails", "w", transport=httpx.MockTransport(deja))

    @worker.task
    def handle(task: Task) -> str:
        worker.stop()
        return f"{task.payload}!"

    worker.run()
    assert deja.bodies("complete")[0]["result"] == "a!"
    assert handle(Task({"id": "t", "payload": "b"})) == "b!"
    assert "authorization" not in deja.headers[0]


def test_a_coroutine_function_is_a_handler_too() -> None:
    loops = set()

    async def handle(task: Task) -> int:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        return task.payload * 2

    deja = MadeUpDeja(1, 2, 3)
    with working(deja, handle, count=2):
        deja.wait_for(deja.has("complete", 3))
    assert sorted(body["result"] for body in deja.bodies("complete")) == [2, 4, 6]
    assert len(loops) == 1, "one loop for all, so that clients can be shared"


def test_as_many_tasks_run_at_a_time_as_it_is_told() -> None:
    together = threading.Barrier(3, timeout=10)
    most = []
    running = Counter[str]()

    def handle(task: Task) -> None:
        running["now"] += 1
        most.append(running["now"])
        together.wait()
        running["now"] -= 1

    deja = MadeUpDeja(*range(6))
    with working(deja, handle, count=3):
        deja.wait_for(deja.has("complete", 6))
    assert max(most) == 3
    assert all(1 <= claim["count"] <= 3 for claim in deja.bodies("claim"))


def test_without_a_handler_or_a_url_it_says_so() -> None:
    with pytest.raises(TypeError, match=r"@worker\.task"):
        Worker("http://deja.test", None, "mails", "w").run()
    with pytest.raises(ValueError, match="http://"):
        Worker("localhost:8080", None, "mails", "w")


# ── failing ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        pytest.param(
            ValueError("no such address"),
            {"error": {"type": "ValueError", "message": "no such address"}, "retry": True},
            id="any exception",
        ),
        pytest.param(
            Retry("later", in_s=60.0),
            {"error": {"type": "Retry", "message": "later"}, "retry": True, "retry_in_s": 60.0},
            id="retry at a time",
        ),
        pytest.param(Retry(), {"error": {"type": "Retry", "message": ""}, "retry": True}, id="retry by back-off"),
        pytest.param(Fatal("never"), {"error": {"type": "Fatal", "message": "never"}, "retry": False}, id="fatal"),
        pytest.param(SystemExit(3), {"error": {"type": "SystemExit", "message": "3"}, "retry": True}, id="exit"),
        pytest.param(
            asyncio.CancelledError("gone"),
            {"error": {"type": "CancelledError", "message": "gone"}, "retry": True},
            id="cancellation",
        ),
        pytest.param(
            ValueError("\ud800" + "x" * 9999),
            {"error": {"type": "ValueError", "message": "?" + "x" * 1999}, "retry": True},
            id="long, and no Unicode",
        ),
    ],
)
def test_what_a_handler_raises_decides_whether_it_is_tried_again(raised: BaseException, told: dict[str, Any]) -> None:
    def handle(task: Task) -> None:
        raise raised

    deja = MadeUpDeja("a")
    with working(deja, handle):
        deja.wait_for(deja.has("fail"))
    assert deja.bodies("fail") == [{"lease": "lease_1"} | told]
    assert not deja.bodies("complete")


@pytest.mark.parametrize("result", [object(), float("nan"), {1, 2}], ids=["object", "nan", "set"])
def test_a_result_that_is_no_json_fails_the_task_and_not_the_worker(result: Any) -> None:
    deja = MadeUpDeja("a", "b")
    with working(deja, lambda task: result if task.payload == "a" else "fine"):
        deja.wait_for(deja.has("complete"))
    assert deja.bodies("fail")[0]["error"]["type"] in ("TypeError", "ValueError")
    assert deja.bodies("complete") == [{"lease": "lease_2", "result": "fine"}]


def test_a_result_that_deja_refuses_fails_the_task_for_good() -> None:
    deja = MadeUpDeja("a")
    deja.answers["complete"] = [no(413, "payload_too_large")]
    with working(deja, lambda task: "far too much"):
        deja.wait_for(deja.has("fail"))
    assert deja.bodies("fail")[0]["retry"] is False
    assert "payload_too_large" in deja.bodies("fail")[0]["error"]["message"]


def test_a_report_that_deja_refuses_is_logged_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def handle(task: Task) -> str:
        if task.payload == "a":
            raise Retry(in_s=-1)
        return "fine"

    deja = MadeUpDeja("a", "b")
    deja.answers["fail"] = [no(400, "invalid_value")]
    with working(deja, handle):
        deja.wait_for(deja.has("complete"))
    assert "task task_1 could not be reported (invalid_value)" in caplog.text
    assert deja.bodies("complete") == [{"lease": "lease_2", "result": "fine"}]


def test_nothing_of_a_payload_or_a_message_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def handle(task: Task) -> None:
        raise ValueError(f"cannot read {task.payload}")

    caplog.set_level(logging.DEBUG, logger="proxy.worker")
    deja = MadeUpDeja("a secret")
    with working(deja, handle):
        deja.wait_for(deja.has("fail"))
    assert "task_1" in caplog.text
    assert "secret" not in caplog.text


# ── Deja or Redis away ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_is_repeated_unchanged_until_it_is_heard() -> None:
    deja = MadeUpDeja("a")
    away = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        no(503, "redis_unavailable"),
        no(429, "slow_down"),
    ]
    deja.answers["complete"] = list(away)
    with working(deja, lambda task: "done"):
        deja.wait_for(deja.has("complete", len(away) + 1))
    assert deja.bodies("complete") == [{"lease": "lease_1", "result": "done"}] * (len(away) + 1)


def test_a_claim_whose_answer_was_lost_is_followed_by_one_that_recovers() -> None:
    deja = MadeUpDeja()
    deja.answers["claim"] = [
        no(503, "redis_unavailable"),
        httpx.Response(200, json={"data": []}),
        httpx.ReadError("gone"),
    ]
    with working(deja, lambda task: None):
        deja.wait_for(deja.has("claim", 5))
    assert [claim["recover"] for claim in deja.bodies("claim")[:5]] == [True, True, False, True, False]


def test_a_claim_that_never_left_is_simply_made_again() -> None:
    deja = MadeUpDeja()
    deja.answers["claim"] = [httpx.Response(200, json={"data": []}), httpx.ConnectError("refused")]
    with working(deja, lambda task: None):
        deja.wait_for(deja.has("claim", 4))
    assert [claim["recover"] for claim in deja.bodies("claim")[:4]] == [True, False, False, False]


def test_recovering_waits_until_nothing_is_held_which_it_would_take_away() -> None:
    deja = MadeUpDeja()
    deja.answers["claim"] = [httpx.Response(200, json={"data": [deja._task(7, "held")]}), httpx.ReadError("gone")]
    go_on = threading.Event()
    with working(deja, lambda task: go_on.wait(10) and None, count=2):
        deja.wait_for(deja.has("claim", 4))
        assert [claim["recover"] for claim in deja.bodies("claim")[1:]] == [False] * (len(deja.bodies("claim")) - 1)
        go_on.set()
        deja.wait_for(lambda: any(claim["recover"] for claim in deja.bodies("claim")[1:]))


def test_a_queue_that_is_not_there_is_made_and_claimed_from() -> None:
    deja = MadeUpDeja("a")
    deja.answers["claim"] = [no(404, "queue_not_found")]
    with working(deja, lambda task: None):
        deja.wait_for(deja.has("complete"))
    assert deja.paths[1] == "PUT /v1/queues/mails"


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (400, "invalid_name"), (404, "not_found")])
def test_a_claim_that_no_retry_mends_ends_the_worker_with_dejas_words(status: int, code: str) -> None:
    deja = MadeUpDeja()
    deja.answers["claim"] = [no(status, code)]
    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(deja))
    with pytest.raises(WorkerError, match=f"{status}: No") as caught:
        worker.run(lambda task: None)
    assert (caught.value.status, caught.value.code) == (status, code)


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lease_is_renewed_while_the_handler_runs_and_no_longer() -> None:
    deja = MadeUpDeja("a", lease_s=0.06)

    def handle(task: Task) -> None:
        deja.wait_for(deja.has("renew", 2))

    with working(deja, handle, lease_s=None):
        deja.wait_for(deja.has("complete"))
        renewed = len(deja.bodies("renew"))
        time.sleep(0.1)
        assert len(deja.bodies("renew")) <= renewed + 1, "one may have been on its way"
    assert {body["lease"] for body in deja.bodies("renew")} == {"lease_1"}


def test_a_renewal_that_fails_in_passing_is_tried_again() -> None:
    deja = MadeUpDeja("a")
    deja.answers["renew"] = [httpx.ConnectError("refused"), no(503, "redis_unavailable")]

    def handle(task: Task) -> bool:
        deja.wait_for(deja.has("renew", 3))
        return task.is_lost

    with working(deja, handle, lease_s=0.06):
        deja.wait_for(deja.has("complete"))
    assert deja.bodies("complete")[0]["result"] is False


@pytest.mark.parametrize(("status", "code"), [(409, "lease_lost"), (409, "task_canceled"), (404, "task_not_found")])
def test_a_handler_is_told_when_its_task_is_lost_and_nothing_is_reported(status: int, code: str) -> None:
    deja = MadeUpDeja("a", "b")
    deja.answers["renew"] = [no(status, code)]
    told = []

    def handle(task: Task) -> None:
        if task.payload == "a":
            give_up_at = time.monotonic() + 10
            while not task.is_lost and time.monotonic() < give_up_at:
                time.sleep(0.002)
            told.append(task.is_lost)

    with working(deja, handle, lease_s=0.03):
        deja.wait_for(deja.has("complete"))
    assert told == [True]
    assert [body["lease"] for body in deja.bodies("complete")] == ["lease_2"], "the worker goes on with the next task"


def test_a_completion_that_comes_too_late_is_dropped_and_the_worker_goes_on() -> None:
    deja = MadeUpDeja("a", "b")
    deja.answers["complete"] = [no(409, "lease_lost")]
    with working(deja, lambda task: None):
        deja.wait_for(deja.has("complete", 2))
    assert [body["lease"] for body in deja.bodies("complete")] == ["lease_1", "lease_2"]
    assert not deja.bodies("fail")


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_finishes_what_is_held_and_claims_no_more() -> None:
    deja = MadeUpDeja("a", "b")
    begun = threading.Event()

    def handle(task: Task) -> str:
        begun.set()
        time.sleep(0.05)
        return "finished"

    with working(deja, handle) as worker:
        assert begun.wait(10)
        worker.stop()
        claims = len(deja.bodies("claim"))
    assert deja.bodies("complete") == [{"lease": "lease_1", "result": "finished"}]
    assert len(deja.bodies("claim")) == claims


def test_what_the_last_poll_brings_after_a_stop_is_given_back() -> None:
    deja = MadeUpDeja()

    def claim_while_stopping(request: httpx.Request) -> httpx.Response:
        answer = deja(request)
        if request.url.path.endswith("/claim"):
            worker.stop()
            return httpx.Response(200, json={"data": [deja._task(1, "a")]})
        return answer

    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(claim_while_stopping))
    handled: list[Task] = []
    worker.run(handled.append)
    deja.wait_for(deja.has("release"))
    assert not handled
    assert deja.bodies("release") == [{"lease": "lease_1"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_and_the_handlers_of_before_are_put_back(number: signal.Signals) -> None:
    deja = MadeUpDeja("a", "b")
    before = signal.getsignal(number)
    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(deja))

    def handle(task: Task) -> str:
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 10
        while worker._is_claiming() and time.monotonic() < deadline:
            time.sleep(0.002)
        return "finished"

    worker.run(handle)
    assert deja.bodies("complete") == [{"lease": "lease_1", "result": "finished"}]
    assert signal.getsignal(number) is before


def test_after_a_stop_it_waits_for_a_silent_deja_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    deja = MadeUpDeja("a")
    deja.answers["complete"] = [httpx.ConnectError("refused") for _ in range(100_000)]
    with working(deja, lambda task: None, grace_s=0.05):
        deja.wait_for(deja.has("complete", 3))
    assert "task task_1 could not be reported (503)" in caplog.text


# ── handing over ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_submit_goes_on_until_it_is_heard() -> None:
    deja = MadeUpDeja()
    deja.answers["tasks"] = [
        httpx.ReadError("gone"),
        no(503, "redis_unavailable"),
        httpx.Response(201, json={"id": "task_9"}),
    ]
    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(deja))
    assert worker.submit("next", {"a": 1}, idempotency_key="k", priority=9) == {"id": "task_9"}
    assert deja.bodies("tasks") == [{"payload": {"a": 1}, "idempotency_key": "k", "priority": 9}] * 3
    assert deja.paths[0] == "POST /v1/queues/next/tasks"


def test_submit_tells_why_it_was_refused() -> None:
    deja = MadeUpDeja()
    deja.answers["tasks"] = [no(409, "idempotency_conflict")]
    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(deja))
    with pytest.raises(WorkerError) as caught:
        worker.submit("next", {"a": 2}, idempotency_key="k")
    assert caught.value.code == "idempotency_conflict"


def test_an_answer_that_is_no_json_is_told_by_its_status() -> None:
    deja = MadeUpDeja()
    deja.answers["tasks"] = [httpx.Response(404, text="<html>not Deja</html>")]
    worker = Worker("http://deja.test", None, "mails", "w", transport=httpx.MockTransport(deja))
    with pytest.raises(WorkerError, match="Deja answered 404") as caught:
        worker.submit("next", 1)
    assert caught.value.code == "404"
