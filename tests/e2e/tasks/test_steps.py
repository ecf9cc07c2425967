"""What becomes of a task: completed, tried again, dead, paused, canceled, too late; and all of it counted."""

from __future__ import annotations

import json
import time

import httpx

from proxy.core.coordination.tasks import DEATHS
from tests.deja_process import DejaProcess
from tests.e2e.tasks.queueing import Queue, code, events


def test_a_task_from_submission_to_its_result(queue: Queue) -> None:
    made = queue.submit(payload={"n": [1, "ü"]}, priority=7, session="s/1", agent="triage")
    assert (made["created"], made["state"], made["queue"], made["priority"]) == (True, "submitted", "work", 7)
    assert "payload" not in made
    (task,) = queue.claim("w-1", lease_s=30)
    assert (task["id"], task["payload"], task["attempt"], task["worker"]) == (made["id"], {"n": [1, "ü"]}, 1, "w-1")
    assert 25 < task["lease_until"] - time.time() < 31
    renewed = queue.post(f"/tasks/{made['id']}/renew", {"lease": task["lease"], "lease_s": 90})
    assert renewed.json()["lease_until"] - task["lease_until"] > 50
    done = queue.post(f"/tasks/{made['id']}/complete", {"lease": task["lease"], "result": {"x": None}})
    assert (done.status_code, done.json()["state"], done.json()["result"]) == (200, "completed", {"x": None})
    again = queue.post(f"/tasks/{made['id']}/complete", {"lease": task["lease"], "result": "another"})
    assert again.json() == done.json()
    read = queue.get(f"/tasks/{made['id']}").json()
    assert read == done.json()
    assert "lease_" not in json.dumps(read).replace("lease_until", "")


def test_failing_retrying_and_the_dead_letter(queue: Queue) -> None:
    assert queue.put({"max_attempts": 2, "backoff_s": 0}).status_code == 201
    task = queue.submit()["id"]
    (held,) = queue.claim()
    failed = queue.post(
        f"/tasks/{task}/fail", {"lease": held["lease"], "error": {"kind": "timeout"}, "retry_in_s": 0.2}
    )
    assert (failed.json()["state"], failed.json()["reason"]) == ("submitted", "retry")
    assert queue.claim() == []
    (held,) = queue.claim(wait_s=5)
    dead = queue.post(f"/tasks/{task}/fail", {"lease": held["lease"], "error": "again"}).json()
    assert (dead["state"], dead["reason"], dead["is_dead"], dead["attempt"]) == ("failed", "attempts-used-up", True, 2)
    hopeless = queue.submit()["id"]
    (held,) = queue.claim()
    queue.post(f"/tasks/{hopeless}/fail", {"lease": held["lease"], "error": "no", "retry": False})
    letters = queue.get("/dead", limit=1).json()
    assert [(each["task"], each["reason"], each["error"]) for each in letters["data"]] == [
        (task, "attempts-used-up", "again")
    ]
    rest = queue.get("/dead", limit=1, cursor=letters["next_cursor"]).json()
    assert [each["task"] for each in rest["data"]] == [hopeless]
    assert queue.post(f"/tasks/{task}/requeue").json()["state"] == "submitted"
    assert code(queue.post(f"/tasks/{task}/requeue")) == (409, "not_dead", None)
    assert queue.post("/dead/requeue", {"limit": 5}).json() == {"object": "requeued", "requeued": 1, "left": 0}
    assert [each["id"] for each in queue.claim(count=9)] == [task, hopeless]


def test_canceling_pausing_rejecting_releasing(queue: Queue) -> None:
    task = queue.submit()["id"]
    (held,) = queue.claim()
    paused = queue.post(f"/tasks/{task}/pause", {"lease": held["lease"], "state": "auth-required", "message": "log in"})
    assert (paused.json()["state"], paused.json()["message"]) == ("auth-required", "log in")
    assert queue.post(f"/tasks/{task}/input", {"input": {"token": 1}}).json()["state"] == "submitted"
    (held,) = queue.claim()
    assert (held["input"], held["attempt"]) == ({"token": 1}, 1)
    assert queue.post(f"/tasks/{task}/release", {"lease": held["lease"]}).json()["attempt"] == 0
    (held,) = queue.claim()
    assert queue.post(f"/tasks/{task}/cancel").json()["state"] == "canceled"
    assert queue.post(f"/tasks/{task}/cancel").status_code == 200
    assert code(queue.post(f"/tasks/{task}/complete", {"lease": held["lease"]})) == (409, "task_canceled", None)
    assert code(queue.post(f"/tasks/{task}/input", {"input": 1})) == (409, "not_paused", None)
    refused = queue.submit()["id"]
    (held,) = queue.claim()
    assert (
        queue.post(f"/tasks/{refused}/reject", {"lease": held["lease"], "reason": "not mine"}).json()["state"]
        == "rejected"
    )
    assert code(queue.post(f"/tasks/{refused}/cancel")) == (409, "task_ended", None)


def test_a_deadline_that_passes_fails_the_task_though_nobody_asks(queue: Queue) -> None:
    task = queue.submit(deadline_s=0.2)["id"]
    with httpx.stream("GET", f"{queue.root}/tasks/{task}/watch", headers=queue.http.headers, timeout=20) as answer:
        told = [(name, data["state"]) for name, _, data in events(answer)]
    assert told == [("task", "submitted"), ("update", "failed"), ("task", "failed")]
    assert queue.get(f"/tasks/{task}").json()["reason"] == "deadline"
    assert queue.get("/dead").json()["data"] == []


def test_steps_are_counted(queue: Queue, deja: DejaProcess) -> None:
    queue.submit()
    queue.claim()
    metrics = httpx.get(f"{deja.root}/metrics").text
    counted = {line.rpartition(" ")[0] for line in metrics.splitlines() if line.startswith("deja_task")}
    assert {'deja_task_steps_total{step="submit"}', 'deja_task_steps_total{step="claim"}'} <= counted
    assert "deja_task_claims_waiting" in counted
    assert {f'deja_tasks_dead_total{{reason="{why}"}}' for why in DEATHS} <= counted, "there before the first of them"


def test_a_task_that_dies_because_nobody_came_back_is_counted(queue: Queue, deja: DejaProcess) -> None:
    def dead() -> float:
        metrics = httpx.get(f"{deja.root}/metrics").text
        counted = dict(line.rpartition(" ")[::2] for line in metrics.splitlines())
        return float(counted['deja_tasks_dead_total{reason="lease-expired"}'])

    before = dead()
    queue.submit(max_attempts=1)
    queue.claim(lease_s=1)
    give_up_at = time.monotonic() + 30
    while dead() == before:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert dead() == before + 1
