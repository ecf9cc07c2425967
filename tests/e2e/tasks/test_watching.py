"""Watching a task or a queue: every change, in order, also after a broken connection."""

from __future__ import annotations

import httpx

from tests.e2e.tasks.queueing import Queue, events


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
