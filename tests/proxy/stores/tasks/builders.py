"""Tasks and a queue's settings with valid defaults, what a step needs beside its lease, and claims that must succeed."""

from __future__ import annotations

import secrets
from typing import Any

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.task_requests import ClaimRequest, Submission, submission
from proxy.stores.tasks import TaskStore

DEFAULTS = {
    "durability": "everysec",
    "max_attempts": "3",
    "lease_s": "60",
    "backoff_s": "1",
    "max_backoff_s": "300",
    "retention_s": "604800",
}
VERBS = {
    "renew": ("",),
    "complete": (b"1",),
    "fail": (b'"e"', "1", "", "0"),
    "release": (),
    "reject": (b'"r"',),
    "pause": ("input-required", b'"m"'),
}


def new(task_id: str | None = None, **fields: Any) -> Submission:
    return submission(
        fields | ({"id": task_id} if task_id else {}),
        queue="q",
        minted_id=f"task_{secrets.token_hex(6)}",
        payload_bytes=1 << 20,
    )


def leases(count: int) -> list[str]:
    return [f"lease_{secrets.token_hex(8)}" for _ in range(count)]


async def claim(
    store: TaskStore, queue: QueueKeys, worker: str = "w", count: int = 100, **how: Any
) -> list[dict[str, str]]:
    claimed = await store.claim(queue, ClaimRequest(worker, count, **how), leases(count))
    assert claimed.word == "ok"
    return [dict(record) for record in claimed.records]


async def ids(store: TaskStore, queue: QueueKeys, **how: Any) -> list[str]:
    return [record["id"] for record in await claim(store, queue, **how)]


async def submit(store: TaskStore, queue: QueueKeys, *tasks: Submission) -> None:
    assert (await store.submit(queue, tasks)).word == "ok"
