"""A queue of tasks over HTTP, as a worker in any language meets it, and reading what it answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from tests.deja_process import DejaProcess


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
