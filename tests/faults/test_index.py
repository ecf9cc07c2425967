"""Redis killed while entries are stored, replaced, evicted, expired and trimmed: the index and the entries agree again by themselves."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.errors import StoreError
from proxy.stores.capacity import Capacity
from proxy.stores.client import open_client
from proxy.stores.embedded import EmbeddedRedis
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from tests.builders import ABOUT
from tests.redis_server import private_server

FINGERPRINT, ROOM, DIM = "faults", "5eed", 64
PARTITIONS = ("aa", "bb", "cc", "dd")
AT_MOST = 600
"""Entries a partition can come to hold here."""


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedRedis]:
    with private_server(max_memory_bytes=256 << 20) as opened:
        yield opened


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    opened = open_client(server.url, deadline_ms=2000)
    yield opened
    await opened.aclose()


def capacity_of(client: Redis) -> Capacity:
    return Capacity(client, max_bytes=4 << 20, cost_of=lambda _, size_bytes: size_bytes)


async def put(client: Redis, number: int, chance: random.Random) -> None:
    """Store an entry: sometimes one that replaces another, sometimes one that expires soon."""
    vector = np.random.default_rng(number).standard_normal(DIM).astype(np.float32)
    entry_id = f"ent_{number:06}"
    await ResponseStore(client).put(
        Entry(entry_id, "q", b"x" * 2000, WireMode.BOTH, time.time(), 1 if chance.random() < 0.2 else 600),
        redis_key=keys.entry_key(FINGERPRINT, ROOM, entry_id),
        partition=chance.choice(PARTITIONS),
        vector=(vector / np.linalg.norm(vector)).tobytes(),
        exact_key=keys.exact_key(ROOM, str(chance.randrange(1000))),
        context_key=None,
        condemned_key=keys.condemned_key(ROOM),
        record=ContextRecord(entry_id, 1.0),
        about=ABOUT,
    )


async def whole(index: VectorIndex) -> None:
    """Wait until Redis is back and the index holds what there is."""
    async with asyncio.timeout(20):
        while True:
            try:
                if not await index.ensure() and await index.is_complete():
                    return
            except StoreError:
                pass
            await asyncio.sleep(0.05)


async def stored(client: Redis) -> dict[str, set[str]]:
    """Ids of the entries that are there, by partition."""
    found: dict[str, set[str]] = {partition: set() for partition in PARTITIONS}
    async for key in client.scan_iter(f"{keys.entry_prefix(FINGERPRINT)}*", count=1000):
        fields: Any = await client.hmget(key, ["entry_id", "partition"])
        entry_id, partition = fields
        if entry_id is not None and partition is not None:
            found[partition.decode()].add(entry_id.decode())
    return found


async def indexed(index: VectorIndex) -> dict[str, set[str]]:
    """Ids of the entries that the index offers, by partition."""
    asked = np.full(DIM, DIM**-0.5, dtype=np.float32)
    return {each: {found.entry_id for found in await index.nearest(each, asked, k=AT_MOST)} for each in PARTITIONS}


async def agreeing(client: Redis, index: VectorIndex) -> dict[str, set[str]]:
    """Entries and index, once they agree: whatever expires between two looks is gone from the later one."""
    async with asyncio.timeout(10):
        while True:
            there = await stored(client)
            if there == await indexed(index) == await stored(client):
                return there
            await asyncio.sleep(0.2)


async def test_the_index_and_the_entries_agree_after_kills_evictions_and_a_flush(
    server: EmbeddedRedis, client: Redis
) -> None:
    chance = random.Random(6)
    index, capacity = VectorIndex(client, fingerprint=FINGERPRINT, dim=DIM), capacity_of(client)
    await index.ensure()
    number = 0
    for _ in range(3):
        kill_at = number + chance.randrange(200, 500)
        while number < kill_at:
            await asyncio.gather(*(put(client, number + ahead, chance) for ahead in range(20)))
            number += 20
            if chance.random() < 0.2:
                await capacity.trim(now_s=time.time())
        room = int((await client.info("memory"))["used_memory"])
        await client.config_set("maxmemory", room - 500_000)  # Redis evicts some by itself, the least used first
        writes = [asyncio.ensure_future(put(client, number + ahead, chance)) for ahead in range(50)]  # noqa: TID251
        number += 50
        await asyncio.sleep(0.01)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.gather(*writes, return_exceptions=True)
        await whole(index)
        assert sum(map(len, (await agreeing(client, index)).values())) > 0
    await capacity.trim(now_s=time.time())
    await client.flushall()
    await whole(index)
    assert not any((await agreeing(client, index)).values())
    await put(client, 0, chance)
    assert sum(map(len, (await agreeing(client, index)).values())) == 1
