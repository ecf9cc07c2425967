"""Queues looked at: their settings, their lists, and what stands in Redis of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import redis

from proxy.core.coordination.keys import QueueKeys
from tests.deja_process import DejaProcess
from tests.e2e.tasks.queueing import Queue, code
from tests.queue_check import problems


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
