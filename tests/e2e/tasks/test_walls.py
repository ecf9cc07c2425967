"""What is not there, erased, mistyped or another tenant's: nobody meets a task on the way."""

from __future__ import annotations

from collections.abc import Callable

from tests.deja_process import DejaProcess
from tests.e2e.tasks.queueing import Queue, code


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


def test_erasing_a_session_erases_its_tasks(queue: Queue, deja: DejaProcess) -> None:
    queue.submit(id="mine", payload="private", session="s-1")
    queue.submit(id="other", session="s-2")
    answer = queue.http.delete(f"{deja.base_url}/sessions/s-1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["erased"]["tasks"] == 1
    assert [task["id"] for task in queue.get("/tasks").json()["data"]] == ["other"]
