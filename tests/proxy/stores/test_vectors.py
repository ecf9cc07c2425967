"""The vector index on a real Redis: nothing outside the partition is ever a candidate."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.errors import IndexMissingError
from proxy.stores import search_policy, vectors
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from tests.builders import ABOUT

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
        about=ABOUT,
    )
    return entry_id


async def whole(index: VectorIndex) -> bool:
    """Wait until everything stored is in the index."""
    async with asyncio.timeout(10):
        while not await index.is_complete():  # noqa: ASYNC110 - Redis tells nobody when it is done
            await asyncio.sleep(0.01)
    return True


def _noted(execute: Callable[..., Awaitable[Any]], asked: list[str]) -> Callable[..., Awaitable[Any]]:
    async def noting(*arguments: Any) -> Any:
        if arguments[0] == "FT.SEARCH":
            asked.append(str(arguments[2]))
        return await execute(*arguments)

    return noting


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


async def test_not_even_a_burst_of_expired_entries_crowds_out_a_fresh_one(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    fresh = await put(client, fingerprint, "aa", "fresh", axis(0, 0.5))
    await asyncio.gather(
        *(put(client, fingerprint, "aa", f"gone {number}", axis(0, number / 1000)) for number in range(300))
    )
    expiring = [key async for key in client.scan_iter(f"{keys.entry_prefix(fingerprint)}*", count=1000)]
    async with client.pipeline(transaction=False) as pipe:
        for key in expiring:
            if not key.endswith(fresh.encode()):
                pipe.pexpire(key, 20)
        await pipe.execute()
    await asyncio.sleep(0.021)  # all have expired at once, and Redis has not got round to most of them
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=3)] == [fresh]


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


async def test_how_large_a_partition_is_gets_known_and_changes_nothing_found(
    client: Redis, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_policy, "CROSSING_LEAST", 40)
    monkeypatch.setattr(search_policy, "CROSSING_SLOPE", 0.0)
    index = await opened(client, fingerprint)
    for number in range(60):
        await put(client, fingerprint, "aa" if number < 50 else "bb", f"{number}", axis(number % 3, number / 100))
    assert await whole(index)
    asked: list[str] = []
    monkeypatch.setattr(client, "execute_command", _noted(client.execute_command, asked))
    for partition, policy in (("aa", "BATCHES"), ("bb", "ADHOC_BF")):
        first = await index.nearest(partition, axis(0), k=3)
        assert await index.nearest(partition, axis(0), k=3) == first
        assert policy in asked[-1]


async def test_a_search_that_ran_out_of_time_asks_for_the_nearest_alone(
    client: Redis, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = VectorIndex(client, fingerprint=fingerprint, dim=DIM, deadline_ms=4)
    await index.ensure()
    stored = await put(client, fingerprint, "aa", "near", axis(0))
    asked: list[str] = []
    execute = _noted(client.execute_command, asked)

    async def given_up(*arguments: Any) -> Any:
        reply = await execute(*arguments)
        if "KNN 1 " in str(arguments[2]):
            return reply
        await asyncio.sleep(0.002)
        return [0]

    monkeypatch.setattr(client, "execute_command", given_up)
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=3)] == [stored]
    assert len(asked) == 2


@pytest.mark.parametrize("unknown", ["FT.AGGREGATE", "HYBRID_POLICY"])
async def test_a_search_module_that_knows_no_policies_is_asked_without(
    unknown: str, client: Redis, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_policy, "CROSSING_LEAST", 5)
    index = await opened(client, fingerprint)
    for number in range(20):
        await put(client, fingerprint, "aa", f"{number}", axis(0, number / 10))
    assert await whole(index)
    execute = client.execute_command

    async def refusing(*arguments: Any) -> Any:
        if any(unknown in str(argument) for argument in arguments):
            raise ResponseError(f"Unexpected {unknown}")
        return await execute(*arguments)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(client, "execute_command", refusing)
    for _ in range(3):
        assert len(await index.nearest("aa", axis(0), k=3)) == 3


async def test_what_is_found_in_small_partitions_is_exact(client: Redis, fingerprint: str) -> None:
    index = await opened(client, fingerprint)
    random = np.random.default_rng(1)
    stored = random.standard_normal((300, DIM)).astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    await asyncio.gather(*(put(client, fingerprint, f"{row % 30:02x}", f"{row}", stored[row]) for row in range(300)))
    assert await whole(index)
    for partition in range(30):
        asked = random.standard_normal(DIM).astype(np.float32)
        asked /= np.linalg.norm(asked)
        rows = np.arange(partition, 300, 30)
        nearest = rows[np.argsort(-(stored[rows] @ asked))[:3]]
        found = await index.nearest(f"{partition:02x}", asked, k=3)
        assert [candidate.question for candidate in found] == [str(row) for row in nearest]


async def test_a_changed_definition_opens_a_new_index_and_the_old_one_serves_until_it_is_whole(
    client: Redis, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await opened(client, fingerprint)
    stored = await put(client, fingerprint, "aa", "before", axis(0))
    monkeypatch.setitem(vectors._GRAPH, "m", 4)
    after = VectorIndex(client, fingerprint=fingerprint, dim=DIM)
    assert after.name != before.name
    assert after.is_of_this_embedder(before.name)
    assert await after.ensure()
    assert [candidate.entry_id for candidate in await after.nearest("aa", axis(0), k=3)] == [stored]
    assert await whole(after)
    assert [candidate.entry_id for candidate in await after.nearest("aa", axis(0), k=3)] == [stored]
    with pytest.raises(IndexMissingError):
        await before.nearest("aa", axis(0), k=3)
    # A Deja of the earlier version beside this one may have its index back, and keep it.
    assert await before.ensure()
    await after.ensure()
    assert await whole(after)
    assert await whole(before)


async def test_nothing_found_in_an_index_that_is_not_whole_is_no_answer(
    client: Redis, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await opened(client, fingerprint)
    stored = await put(client, fingerprint, "aa", "there already", axis(0))

    async def half() -> dict[str, str]:
        return {"num_docs": "1", "percent_indexed": "0.5", "indexing": "1"}

    monkeypatch.setattr(index._index, "info", half)
    assert not await index.is_complete()
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=3)] == [stored]
    with pytest.raises(IndexMissingError):
        await index.nearest("bb", axis(0), k=3)


async def test_an_index_made_later_takes_in_what_was_stored_before(client: Redis, fingerprint: str) -> None:
    stored = await put(client, fingerprint, "aa", "before", axis(0))
    index = await opened(client, fingerprint)
    assert await whole(index)
    assert [candidate.entry_id for candidate in await index.nearest("aa", axis(0), k=3)] == [stored]
