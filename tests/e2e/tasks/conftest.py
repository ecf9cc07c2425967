"""Queues of the one Deja of all: each of a tenant of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.deja_process import DejaProcess
from tests.e2e.tasks.queueing import Queue


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
