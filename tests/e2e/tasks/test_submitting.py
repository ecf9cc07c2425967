"""Submitting tasks: once, in batches, as children of others, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.tasks.queueing import Queue, code


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
