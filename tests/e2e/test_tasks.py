"""Queues of tasks over HTTP, as a worker in any language meets them."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.tasks import DEATHS
from tests.deja_process import DejaProcess
from tests.queue_check import problems


class Queue:
    """One queue of a tenant of its own."""

    def __init__(self, deja: DejaProcess, key: str | None = None, name: str = "work") -> None:
        self.key = key or f"sk-{uuid.uuid4()}"
        self.root = f"{deja.base_url}/queues/{name}"
        self.http = httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=20)

    def post(self, path: str, body: Any = None, **how: Any) -> httpx.Response:
        return self.http.post(f"{self.root}{path}", json=body, **how)

    def get(self, path: str = "", **query: Any) -> httpx.Response:
        return self.http.get(f"{self.root}{path}", params=query)

    def put(self, body: Any = None) -> httpx.Response:
        return self.http.put(self.root, json=body)

    def submit(self, **task: Any) -> dict[str, Any]:
        answer = self.post("/tasks", task)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def claim(self, worker: str = "w", **how: Any) -> list[dict[str, Any]]:
        answer = self.post("/tasks/claim", {"worker": worker, **how})
        assert answer.status_code == 200, answer.text
        told: list[dict[str, Any]] = answer.json()["data"]
        return told


@pytest.fixture
def new_queue(deja: DejaProcess) -> Iterator[Callable[..., Queue]]:
    """Opens queues: of a tenant of their own, unless a key is given."""
    opened: list[Queue] = []

    def open_one(key: str | None = None, name: str = "work") -> Queue:
        opened.append(Queue(deja, key, name))
        return opened[-1]

    yield open_one
    for each in opened:
        each.http.close()


@pytest.fixture
def queue(new_queue: Callable[..., Queue]) -> Queue:
    return new_queue()


def code(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert len(error["message"]) > 20
    return answer.status_code, error["code"], error["param"]


def events(answer: httpx.Response) -> Iterator[tuple[str, str | None, Any]]:
    """(name, id, data) of each event."""
    name, event_id = "", None
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            yield name, event_id, json.loads(value)
            name, event_id = "", None


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


def test_submissions_sent_again_are_one_task(queue: Queue) -> None:
    header = {"Idempotency-Key": "k 1"}
    first = queue.post("/tasks", {"payload": 1}, headers=header)
    again = queue.post("/tasks", {"payload": 1}, headers=header)
    in_body = queue.post("/tasks", {"payload": 1, "idempotency_key": "k 1"})
    assert [each.status_code for each in (first, again, in_body)] == [201, 200, 200]
    assert len({each.json()["id"] for each in (first, again, in_body)}) == 1
    assert code(queue.post("/tasks", {"payload": 2}, headers=header)) == (
        409,
        "idempotency_conflict",
        "idempotency_key",
    )
    assert code(queue.post("/tasks", {"idempotency_key": "k 2"}, headers=header))[0] == 400
    assert queue.get().json()["tasks"]["submitted"] == 1


def test_a_batch_is_taken_as_a_whole_or_not_at_all(queue: Queue) -> None:
    batch = [{"id": f"t{number}", "payload": number} for number in range(3)]
    answer = queue.post("/tasks", {"tasks": batch})
    assert (answer.status_code, answer.json()["created"]) == (201, 3)
    assert [task["id"] for task in answer.json()["data"]] == ["t0", "t1", "t2"]
    more = queue.post("/tasks", {"tasks": [*batch, {"id": "t3"}]})
    assert (more.status_code, [task["created"] for task in more.json()["data"]]) == (201, [False, False, False, True])
    assert queue.post("/tasks", {"tasks": batch}).status_code == 200
    for wrong, expected in (
        ({"id": "t1", "payload": "other"}, (409, "task_exists", "tasks.1.id")),
        ({"id": "new"}, (400, "invalid_value", "tasks.1.id")),
        ({"priority": 10}, (400, "invalid_request", "tasks.1.priority")),
        ({"parent": "nobody"}, (404, "parent_not_found", "tasks.1.parent")),
        ({"id": "x", "parent": "x"}, (422, "cyclic_parent", "tasks.1.parent")),
    ):
        assert code(queue.post("/tasks", {"tasks": [{"id": "new"}, wrong]})) == expected
    assert queue.get("/tasks/new").status_code == 404


def test_parents_make_a_tree_that_can_be_listed(queue: Queue, new_queue: Callable[..., Queue]) -> None:
    queue.post("/tasks", {"tasks": [{"id": "leaf", "parent": "mid"}, {"id": "mid", "parent": "root"}, {"id": "root"}]})
    other = new_queue(queue.key, "other")
    other.submit(id="far", parent="work/root")
    assert [task["id"] for task in queue.get("/tasks", parent="root").json()["data"]] == ["mid"]
    assert [task["id"] for task in other.get("/tasks", parent="work/root").json()["data"]] == ["far"]
    assert other.get("/tasks/far").json()["parent"] == "work/root"
    # The chain would close: root is an ancestor of far already.
    assert code(queue.post("/tasks", {"id": "root", "parent": "other/far"})) == (422, "cyclic_parent", "parent")
    assert code(other.post("/tasks", {"parent": "none/root"})) == (404, "parent_not_found", "parent")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], (400, "invalid_request", "body")),
        ({"payload": 1, "prio": 3}, (400, "invalid_request", "prio")),
        ({"priority": "5"}, (400, "invalid_request", "priority")),
        ({"priority": True}, (400, "invalid_request", "priority")),
        ({"delay_s": -1}, (400, "invalid_request", "delay_s")),
        ({"delay_s": 1e300}, (400, "invalid_request", "delay_s")),
        ({"deadline_s": 0}, (400, "invalid_request", "deadline_s")),
        ({"delay_s": 1, "not_before": 2}, (400, "invalid_value", "delay_s")),
        ({"deadline_at": 1}, (400, "invalid_value", "deadline_at")),
        ({"max_attempts": 0}, (400, "invalid_request", "max_attempts")),
        ({"id": "a/b"}, (400, "invalid_name", "id")),
        ({"id": "{x}"}, (400, "invalid_name", "id")),
        ({"payload": "x" * (1 << 20)}, (413, "payload_too_large", "payload")),
        ({"tasks": []}, (400, "invalid_request", "tasks")),
        ({"tasks": [{}] * 1001}, (400, "invalid_request", "tasks")),
    ],
)
def test_a_submission_that_cannot_be_is_refused_by_field(
    queue: Queue, body: Any, expected: tuple[int, str, str]
) -> None:
    assert code(queue.post("/tasks", body)) == expected


def test_a_body_that_is_too_large_or_no_json_is_refused(queue: Queue) -> None:
    assert queue.http.post(f"{queue.root}/tasks", content=b"x" * (11 << 20)).status_code == 413
    assert code(queue.http.post(f"{queue.root}/tasks", content=b"{")) == (400, "invalid_json", "body")


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


def test_every_verb_on_a_queue_that_is_not_there_says_so(queue: Queue) -> None:
    lease = {"lease": "x"}
    for verb in ("renew", "complete", "fail", "release", "reject", "pause"):
        assert code(queue.post(f"/tasks/t/{verb}", lease))[:2] == (404, "queue_not_found")
    for path in ("/tasks/t/input", "/tasks/t/cancel", "/tasks/t/requeue", "/dead/requeue"):
        assert code(queue.post(path, {}))[:2] == (404, "queue_not_found")
    assert code(queue.post("/tasks/claim", {"worker": "w", "wait_s": 5}))[:2] == (404, "queue_not_found")
    for path in ("", "/tasks", "/tasks/t", "/dead", "/watch", "/tasks/t/watch"):
        assert code(queue.get(path))[:2] == (404, "queue_not_found")
    queue.put()
    for verb in ("renew", "complete", "fail", "release", "reject", "pause"):
        assert code(queue.post(f"/tasks/t/{verb}", lease))[:2] == (404, "task_not_found")
    for path in ("/tasks/t", "/tasks/t/watch"):
        assert code(queue.get(path))[:2] == (404, "task_not_found")


def test_another_tenant_meets_nothing_on_any_route(
    queue: Queue, new_queue: Callable[..., Queue], deja: DejaProcess
) -> None:
    task = queue.submit(payload="secret")["id"]
    (held,) = queue.claim()
    stranger = new_queue()
    before = queue.get(f"/tasks/{task}").json()
    for verb in ("renew", "complete", "fail", "release", "reject", "pause"):
        answer = stranger.post(f"/tasks/{task}/{verb}", {"lease": held["lease"]})
        assert code(answer)[:2] == (404, "queue_not_found")
    for path in (f"/tasks/{task}/input", f"/tasks/{task}/cancel", f"/tasks/{task}/requeue", "/dead/requeue"):
        assert stranger.post(path, {}).status_code == 404
    assert stranger.post("/tasks/claim", {"worker": "w"}).status_code == 404
    for path in ("", "/tasks", f"/tasks/{task}", "/dead", "/watch", f"/tasks/{task}/watch"):
        assert stranger.get(path).status_code == 404
    assert stranger.http.get(f"{deja.base_url}/queues").json()["data"] == []
    # With a queue of the same name it is no nearer.
    stranger.submit(parent=None)
    assert stranger.get(f"/tasks/{task}").status_code == 404
    assert code(stranger.post("/tasks", {"parent": task}))[:2] == (404, "parent_not_found")
    assert [each["id"] for each in stranger.get("/tasks").json()["data"]] != [task]
    assert queue.get(f"/tasks/{task}").json() == before


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


def test_a_queue_tells_how_it_works_and_stands(
    queue: Queue, new_queue: Callable[..., Queue], deja: DejaProcess
) -> None:
    assert queue.put({"lease_s": 5, "max_attempts": 7}).status_code == 201
    assert queue.put({"backoff_s": 2.5}).status_code == 200
    queue.submit(delay_s=100)
    queue.submit()
    told = queue.get().json()
    assert (told["lease_s"], told["max_attempts"], told["backoff_s"], told["durability"]) == (5, 7, 2.5, "everysec")
    assert (told["tasks"]["submitted"], told["delayed"], told["dead"]) == (2, 1, 0)
    assert told["oldest_ready_s"] >= 0
    assert code(queue.put({"durability": "always"}))[2] == "durability"
    for name in ("b", "a"):
        new_queue(queue.key, name).put()
    first = queue.http.get(f"{deja.base_url}/queues", params={"limit": 2}).json()
    assert [each["id"] for each in first["data"]] == ["a", "b"]
    rest = queue.http.get(f"{deja.base_url}/queues", params={"cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in rest["data"]] == ["work"]
    assert rest["next_cursor"] is None


def test_on_disk_before_the_answer(queue: Queue) -> None:
    assert queue.put({"durability": "fsync"}).json()["durability"] == "fsync"
    task = queue.submit(payload=1)["id"]
    (held,) = queue.claim()
    assert queue.post(f"/tasks/{task}/complete", {"lease": held["lease"]}).json()["state"] == "completed"


def test_lists_go_page_by_page(queue: Queue) -> None:
    queue.post("/tasks", {"tasks": [{"id": f"t{number:02}"} for number in range(30)]})
    held = queue.claim("w-9", count=5)
    seen: list[str] = []
    cursor = None
    while True:
        page = queue.get("/tasks", limit=7, **({"cursor": cursor} if cursor else {})).json()
        seen += [task["id"] for task in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"t{number:02}" for number in reversed(range(30))]
    assert {task["id"] for task in queue.get("/tasks", state="working").json()["data"]} == {task["id"] for task in held}
    assert len(queue.get("/tasks", worker="w-9").json()["data"]) == 5
    assert queue.get("/tasks", worker="w-8").json()["data"] == []
    assert code(queue.get("/tasks", cursor="x")) == (400, "invalid_value", "cursor")
    assert code(queue.get("/tasks", state="done"))[2] == "state"
    assert code(queue.get("/tasks", limit=1001))[2] == "limit"


def test_a_watcher_of_a_task_misses_nothing_even_when_it_reconnects(queue: Queue) -> None:
    task = queue.submit(payload="p")["id"]
    url = f"{queue.root}/tasks/{task}/watch"
    with httpx.stream("GET", url, headers=queue.http.headers, timeout=20) as answer:
        following = events(answer)
        name, last, data = next(following)
        assert (name, data["state"], data["payload"]) == ("task", "submitted", "p")
        queue.submit()  # another's changes are not shown
        (held, _) = queue.claim(count=2)
        name, last, data = next(following)
        assert (name, data["state"], data["worker"], data["from"]) == ("update", "working", "w", "submitted")
    queue.post(f"/tasks/{task}/release", {"lease": held["lease"]})
    (held,) = queue.claim("other")
    queue.post(f"/tasks/{task}/complete", {"lease": held["lease"], "result": 42})
    assert last is not None
    with httpx.stream("GET", url, headers={**queue.http.headers, "Last-Event-ID": last}, timeout=20) as answer:
        told = list(events(answer))
    assert [(name, data["state"]) for name, _, data in told] == [
        ("update", "submitted"),
        ("update", "working"),
        ("update", "completed"),
        ("task", "completed"),
    ]
    assert told[-1][2]["result"] == 42
    # Who has seen the end is told so: an EventSource would come back for ever.
    assert httpx.get(url, headers={**queue.http.headers, "Last-Event-ID": str(told[-1][1])}).status_code == 204
    with httpx.stream("GET", url, headers=queue.http.headers, timeout=20) as answer:
        assert [(name, data["result"]) for name, _, data in events(answer)] == [("task", 42)]


def test_a_watcher_of_a_queue_sees_every_change(queue: Queue) -> None:
    queue.put()
    with httpx.stream("GET", f"{queue.root}/watch", headers=queue.http.headers, timeout=20) as answer:
        following = events(answer)
        name, _, data = next(following)
        assert (name, data["id"]) == ("queue", "work")
        queue.post("/tasks", {"tasks": [{"id": "a"}, {"id": "b"}]})
        queue.claim(count=2)
        seen = [next(following) for _ in range(4)]
    told = [(data["id"], data["state"]) for _, _, data in seen]
    assert told == [("a", "submitted"), ("b", "submitted"), ("a", "working"), ("b", "working")]
    with httpx.stream("GET", f"{queue.root}/watch?after={seen[1][1]}", headers=queue.http.headers) as answer:
        again = events(answer)
        assert [next(again)[1] for _ in range(2)] == [seen[2][1], seen[3][1]]


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


def test_a_mistyped_path_does_not_go_to_the_provider(queue: Queue) -> None:
    for method, path in (
        ("POST", "/tasks/"),
        ("POST", "/tusks"),
        ("DELETE", ""),
        ("POST", "/tasks/t/finish"),
        ("PATCH", "/x"),
    ):
        answer = queue.http.request(method, f"{queue.root}{path}", json={"payload": "secret"})
        assert code(answer)[:2] == (404, "not_found")


def test_plain_redis_py_reads_it_all_as_documented(queue: Queue, deja: DejaProcess) -> None:
    queue.post(
        "/tasks", {"tasks": [{"id": f"t{n}", "payload": {"n": n}, "idempotency_key": f"k{n}"} for n in range(4)]}
    )
    queue.submit(id="later", delay_s=60, parent="t0", deadline_s=100)
    held = queue.claim("w-1", count=3)
    queue.post("/tasks/t0/complete", {"lease": held[0]["lease"], "result": [1]})
    queue.post("/tasks/t1/fail", {"lease": held[1]["lease"], "error": {"why": "x"}, "retry": False})
    with redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock"), decode_responses=True) as plain:
        keys = _keys_of(plain, "t0")
        assert keys.tenant in plain.smembers("deja:v1:queue-tenants")
        assert "work" in plain.smembers(f"deja:v1:queues:{{{keys.tenant}}}")
        record = plain.hgetall(keys.key("task:t0"))
        assert (record["state"], json.loads(record["payload"]), json.loads(record["result"])) == (
            "completed",
            {"n": 0},
            [1],
        )
        pending = plain.xpending_range(keys.key("ready:5"), "workers", "-", "+", 10)
        assert [
            (each["consumer"], plain.xrange(keys.key("ready:5"), each["message_id"])[0][1]) for each in pending
        ] == [("w-1", {"task": "t2"})]
        (group,) = plain.xinfo_groups(keys.key("ready:5"))
        assert (group["name"], group["pending"]) == ("workers", 1)
        ((_, letter),) = plain.xrange(keys.key("dead"))
        assert (letter["task"], letter["reason"], json.loads(letter["error"])) == ("t1", "not-retried", {"why": "x"})
        assert plain.zrange(keys.key("delayed"), 0, -1) == plain.zrange(keys.key("deadlines"), 0, -1) == ["later"]
        assert plain.zrange(keys.key("children:work/t0"), 0, -1) == ["later"]
        assert plain.zrange(keys.key("state:working"), 0, -1) == plain.zrange(keys.key("leases"), 0, -1) == ["t2"]
        assert plain.hget(keys.key("idempotency"), "k3") == "t3"
        assert all(plain.ttl(key) == -1 for key in plain.scan_iter(f"{keys.base}*"))
        assert problems(plain, keys) == []


def _keys_of(plain: redis.Redis, task: str) -> QueueKeys:
    newest = max(
        plain.scan_iter(f"deja:v1:queue:{{*/work}}:task:{task}"), key=lambda key: plain.hget(key, "submitted_at")
    )
    return QueueKeys(newest.partition("{")[2].partition("/")[0], "work")


def test_erasing_a_session_erases_its_tasks(queue: Queue, deja: DejaProcess) -> None:
    queue.submit(id="mine", payload="private", session="s-1")
    queue.submit(id="other", session="s-2")
    answer = queue.http.delete(f"{deja.base_url}/sessions/s-1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["erased"]["tasks"] == 1
    assert [task["id"] for task in queue.get("/tasks").json()["data"]] == ["other"]


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
