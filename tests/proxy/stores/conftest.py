"""One real Redis for the store tests; each test has rooms of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from proxy.stores.client import open_client
from tests.redis_server import private_redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=5000)
    yield opened
    await opened.aclose()


@pytest.fixture
def own_url() -> Iterator[str]:
    """A Redis of this test's own, for what concerns the whole server."""
    with private_redis() as url:
        yield url


@pytest.fixture
async def own_client(own_url: str) -> AsyncIterator[Redis]:
    """Its client."""
    opened = open_client(own_url, deadline_ms=5000)
    yield opened
    await opened.aclose()
