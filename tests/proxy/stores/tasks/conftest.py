"""A queue of each test's own on the real Redis, its stores, and a plain client to look at what they left."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import redis
from redis.asyncio import Redis

from proxy.core.coordination.keys import QueueKeys
from proxy.stores.task_lists import TaskLists
from proxy.stores.tasks import TaskStore
from tests.proxy.stores.tasks.builders import DEFAULTS


@pytest.fixture
def queue() -> QueueKeys:
    return QueueKeys(uuid.uuid4().hex, "q")


@pytest.fixture
async def store(client: Redis, queue: QueueKeys) -> TaskStore:
    opened = TaskStore(client, max_updates=10_000)
    await opened.register(queue)
    await opened.configure(queue, {}, DEFAULTS)
    return opened


@pytest.fixture
def lists(client: Redis) -> TaskLists:
    return TaskLists(client)


@pytest.fixture
def plain(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened
