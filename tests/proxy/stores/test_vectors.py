"""The vector index on a real Redis: nothing outside the partition is ever a candidate."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.errors import IndexMissingError
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex

DIM = 8


def axis(number: int, tilt: float = 0.0) -> NDArray[np.float32]:
    """A unit vector along one axis, tilted a little towards the next."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[number], vector[(number + 1) % DIM] = 1.0, tilt
    return vector / np.float32(np.linalg.norm(vector))


async def opened(client: Redis, fingerprint: str) -> VectorIndex:
    index = VectorIndex(client, fingerprint=fingerprint, dim=DIM)
    await index.ensure()
    return index


async def put(
    client: Redis, fingerprint: str, partition: str, question: str, vector: NDArray[np.float32] | None
) -> str:
    room, entry_id = uuid.uuid4().hex, f"ent_{uuid.uuid4().hex}"
    await ResponseStore(client).put(
        Entry(entry_id, question, b"{}", WireMode.BOTH, 1_800_000_000.5, 60),
        redis_key=keys.entry_key(fingerprint, room, entry_id),
        partition=partition,
        vector=None if vector is None else vector.tobytes(),
        exact_key=keys.exact_key(room, "f"),
        context_key=None,
        condemned_key=keys.condemned_key(room),
        record=ContextRecord(entry_id, 1.0),
    )
    return entry_id


@pytest.fixture
def fingerprint() -> str:
    return f"test-{uuid.uuid4().hex}"


async def test_the_nearest_of_the_partition_come_first(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    near = await put(client, fingerprint, "aa", "near", axis(0, 0.1))
    far = await put(client, fingerprint, "aa", "far", axis(0, 0.9))
    found = await index.nearest("aa", axis(0), k=3)
    assert [candidate.entry_id for candidate in found] == [near, far]
    assert found[0].question == "near"
    assert found[0].similarity == pytest.approx(float(axis(0) @ axis(0, 0.1)), abs=1e-4)
    assert (found[0].created_at, found[0].ttl_s) == (1_800_000_000.5, 60)


async def test_another_partitions_nearest_neighbour_is_never_offered(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    for number in range(200):
        await put(client, fingerprint, "bb", f"other {number}", axis(0, number / 10_000))
    mine = await put(client, fingerprint, "aa", "mine", axis(3))
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=5)] == [mine]
    assert await index.nearest("cc", axis(0), k=5) == []


async def test_at_most_k_are_offered(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    for number in range(10):
        await put(client, fingerprint, "aa", f"{number}", axis(0, number / 10))
    assert len(await index.nearest("aa", axis(0), k=3)) == 3


async def test_an_entry_without_a_vector_is_never_offered(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    await put(client, fingerprint, "aa", "exact only", None)
    assert await index.nearest("aa", axis(0), k=3) == []


async def test_expired_entries_do_not_crowd_out_fresh_ones(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    fresh = await put(client, fingerprint, "aa", "fresh", axis(0, 0.5))
    for number in range(3):
        entry_id = await put(client, fingerprint, "aa", f"gone {number}", axis(0, number / 100))
        async for key in client.scan_iter(f"*{entry_id}"):
            await client.pexpire(key, 1)
    found = await index.nearest("aa", axis(0), k=3)
    assert fresh in {candidate.entry_id for candidate in found}


async def test_each_embedder_has_an_index_of_its_own(client: Redis, fingerprint: str) -> None:
    await put(client, fingerprint, "aa", "of one model", axis(0))
    other = await opened(client, f"{fingerprint}-other")
    assert await other.nearest("aa", axis(0), k=3) == []


async def test_creating_twice_changes_nothing(client: Redis, fingerprint: str) -> None:
    index = VectorIndex(client, fingerprint=fingerprint, dim=DIM)
    assert await index.ensure() is True
    assert await index.ensure() is False


async def test_a_missing_index_is_named(client: Redis, fingerprint: str) -> None:
    with pytest.raises(IndexMissingError):
        await VectorIndex(client, fingerprint=fingerprint, dim=DIM).nearest("aa", axis(0), k=3)


async def test_an_index_made_later_takes_in_what_was_stored_before(client: Redis, fingerprint: str) -> None:
    import asyncio

    stored = await put(client, fingerprint, "aa", "before", axis(0))
    index = await opened(client, fingerprint)
    async with asyncio.timeout(10):
        while not await index.is_complete():  # noqa: ASYNC110 - Redis tells nobody when it is done
            await asyncio.sleep(0.01)
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=3)] == [stored]
