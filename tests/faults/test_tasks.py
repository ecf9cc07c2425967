"""Tasks when things are killed: workers, Redis, Deja. `loadtest/task_chaos.py` is the same at full size."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest

from loadtest.task_chaos import Chaos
from tests.deja_process import DejaProcess, running_deja

KEY = {"Authorization": "Bearer sk-faults"}


def post(deja: DejaProcess, path: str, body: object) -> httpx.Response:
    return httpx.post(f"{deja.base_url}/queues/q{path}", json=body, headers=KEY, timeout=20)


def until_answered(deja: DejaProcess, path: str, body: object) -> httpx.Response:
    """Send it again until there is an answer, as a worker does."""
    give_up_at = time.monotonic() + 20
    while True:
        answer = post(deja, path, body)
        if answer.status_code != 503:
            return answer
        assert time.monotonic() < give_up_at, answer.text
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_workers_and_redis_killed_at_random_lose_and_repeat_nothing() -> None:
    report = Chaos(300, 4, worker_kills=12, redis_kills=1).run()
    assert report.problems == []
    assert report.redis_kills == 1
    assert report.worker_kills == 12


def test_what_was_accepted_and_handed_out_outlives_deja() -> None:
    with running_deja() as deja:
        post(deja, "/tasks", {"tasks": [{"id": f"t{number}", "payload": number} for number in range(20)]})
        post(deja, "/tasks", {"id": "later", "delay_s": 1, "idempotency_key": "k"})
        held = post(deja, "/tasks/claim", {"worker": "w", "count": 5}).json()["data"]
        assert post(deja, "/tasks/t0/complete", {"lease": held[0]["lease"], "result": 1}).status_code == 200
        deja.kill()
        deja.start()
        # A lease is Redis': it holds across the restart, and what ended has ended.
        assert post(deja, "/tasks/t1/complete", {"lease": held[1]["lease"]}).status_code == 200
        assert post(deja, "/tasks/t0/complete", {"lease": held[0]["lease"]}).json()["result"] == 1
        assert post(deja, "/tasks", {"id": "later", "delay_s": 1, "idempotency_key": "k"}).status_code == 200
        left: list[str] = []
        while len(left) < 16:
            answer = post(deja, "/tasks/claim", {"worker": "w2", "count": 50, "wait_s": 5})
            left += [task["id"] for task in answer.json()["data"]]
        assert sorted(left) == sorted([*(f"t{number}" for number in range(5, 20)), "later"])


def test_while_redis_is_away_nothing_is_acknowledged_and_afterwards_all_goes_on() -> None:
    with running_deja(DEJA_REDIS__STORE_DEADLINE_MS="300") as deja:
        post(deja, "/tasks", {"id": "before"})
        (held,) = post(deja, "/tasks/claim", {"worker": "w"}).json()["data"]
        pid = deja.redis_pid()
        os.kill(pid, signal.SIGSTOP)  # it neither answers nor is it gone
        try:
            for path, body in (
                ("/tasks", {"id": "during"}),
                ("/tasks/before/complete", {"lease": held["lease"], "result": 7}),
                ("/tasks/claim", {"worker": "w", "wait_s": 1}),
            ):
                answer = post(deja, path, body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "redis_unavailable")
        finally:
            os.kill(pid, signal.SIGKILL)  # nor will it ever answer what it was asked meanwhile
        done = until_answered(deja, "/tasks/before/complete", {"lease": held["lease"], "result": 7})
        assert done.json()["result"] == 7
        assert until_answered(deja, "/tasks", {"id": "during"}).status_code in (200, 201)
        (task,) = until_answered(deja, "/tasks/claim", {"worker": "w", "wait_s": 5}).json()["data"]
        assert (task["id"], task["attempt"]) == ("during", 1)


def test_a_claim_that_redis_answered_too_late_is_not_lost() -> None:
    with running_deja(DEJA_REDIS__STORE_DEADLINE_MS="300") as deja:
        post(deja, "/tasks", {"id": "t"})
        pid = deja.redis_pid()
        os.kill(pid, signal.SIGSTOP)
        assert post(deja, "/tasks/claim", {"worker": "w", "lease_s": 3600}).status_code == 503
        os.kill(pid, signal.SIGCONT)  # now it runs the script whose caller has given up
        give_up_at = time.monotonic() + 20
        while not (got := until_answered(deja, "/tasks/claim", {"worker": "other", "wait_s": 1}).json()["data"]):
            assert time.monotonic() < give_up_at, "the task stayed with a worker that never heard of it"
        assert [(task["id"], task["attempt"]) for task in got] == [("t", 1)]
