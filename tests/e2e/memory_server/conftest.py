"""The Agent Memory Server's own client, unmodified, against the one Deja of all: each a tenant of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig

from tests.deja_process import DejaProcess


def tenant_of(client: MemoryAPIClient, api_key: str | None = None) -> MemoryAPIClient:
    """The client as a tenant of its own; it has no setting for a key."""
    client._client.headers["Authorization"] = f"Bearer {api_key or uuid.uuid4()}"
    return client


@pytest.fixture
async def memory(deja: DejaProcess) -> AsyncIterator[MemoryAPIClient]:
    async with MemoryAPIClient(MemoryClientConfig(base_url=deja.root)) as client:
        yield tenant_of(client)


@pytest.fixture
async def stranger(deja: DejaProcess) -> AsyncIterator[MemoryAPIClient]:
    async with MemoryAPIClient(MemoryClientConfig(base_url=deja.root)) as client:
        yield tenant_of(client)
