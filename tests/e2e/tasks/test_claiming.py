"""Claiming tasks: leases, waiting for one, hanging up, coming back."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import httpx

from tests.deja_process import DejaProcess
from tests.e2e.tasks.queueing import Queue, code


def test_a_claim_that_cannot_be_is_refused_by_field(queue: Queue) -> None:
    queue.put()
    for body, field in (
        ({}, "worker"),
        ({"worker": "w", "count": 0}, "count"),
        ({"worker": "w", "count": 1001}, "count"),
        ({"worker": "w", "wait_s": 61}, "wait_s"),
        ({"worker": "w", "lease_s": 0.5}, "lease_s"),
        ({"worker": "w", "recover": 1}, "recover"),
        ({"worker": "~returned"}, "worker"),
    ):
        status, _, param = code(queue.post("/tasks/claim", body))
        assert (status, param) == (400, field)


def test_a_lease_that_is_not_the_current_one_is_refused_alike(queue: Queue) -> None:
    task = queue.submit()["id"]
    (old,) = queue.claim("w-1", lease_s=1)
    other = queue.submit()["id"]
    (foreign,) = queue.claim("w-2")
    assert foreign["id"] == other
    deadline = time.monotonic() + 10
    while not (taken := queue.claim("w-3", wait_s=2)):
        assert time.monotonic() < deadline
    assert (taken[0]["id"], taken[0]["attempt"]) == (task, 2)
    stale = queue.post(f"/tasks/{task}/complete", {"lease": old["lease"]})
    forged = queue.post(f"/tasks/{task}/complete", {"lease": "lease_" + "0" * 32})
    anothers = queue.post(f"/tasks/{task}/complete", {"lease": foreign["lease"]})
    assert code(stale) == (409, "lease_lost", None)
    assert stale.json() == forged.json() == anothers.json()
    assert queue.post(f"/tasks/{task}/complete", {"lease": taken[0]["lease"]}).status_code == 200


def test_a_waiting_claim_is_answered_when_a_task_comes(queue: Queue) -> None:
    queue.put()
    got: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: got.extend(queue.claim("w-1", wait_s=15)))
    started = time.monotonic()
    waiting.start()
    time.sleep(0.3)
    queue_two = httpx.post(f"{queue.root}/tasks", json={"payload": "now"}, headers=queue.http.headers)
    assert queue_two.status_code == 201
    waiting.join()
    assert [task["payload"] for task in got] == ["now"]
    assert time.monotonic() - started < 5


def test_who_hangs_up_takes_no_task_along(queue: Queue, deja: DejaProcess) -> None:
    queue.put()
    body = json.dumps({"worker": "gone", "wait_s": 20}).encode()
    head = (
        f"POST {httpx.URL(queue.root).path}/tasks/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {queue.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    sockets = [socket.create_connection(("127.0.0.1", deja.port)) for _ in range(5)]
    for each in sockets:
        each.sendall(head + body)
    time.sleep(0.3)
    for each in sockets:
        each.close()
    queue.post("/tasks", {"tasks": [{"id": f"t{number}"} for number in range(3)]})
    got: list[dict[str, Any]] = []
    deadline = time.monotonic() + 10
    while len(got) < 3 and time.monotonic() < deadline:
        got += queue.claim("stays", count=3, wait_s=1)
    assert {task["id"]: task["attempt"] for task in got} == {"t0": 1, "t1": 1, "t2": 1}


def test_a_restarted_worker_gets_its_tasks_under_new_leases(queue: Queue) -> None:
    queue.post("/tasks", {"tasks": [{"id": "a"}, {"id": "b"}]})
    before = {task["id"]: task["lease"] for task in queue.claim("w-1", count=2)}
    after = {task["id"]: task["lease"] for task in queue.claim("w-1", count=2, recover=True)}
    assert set(before) == set(after)
    assert not set(before.values()) & set(after.values())
    assert code(queue.post("/tasks/a/complete", {"lease": before["a"]})) == (409, "lease_lost", None)
    assert queue.post("/tasks/a/complete", {"lease": after["a"]}).status_code == 200
