"""The byte cap on a real Redis."""

from __future__ import annotations

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.errors import StoreUnavailableError
from proxy.stores.capacity import Capacity
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from tests.builders import ABOUT

NOW = 1_800_000_000.0
BODY = b"x" * 10_000


async def fill(client: Redis, count: int, *, vector: bytes | None = None) -> None:
    """Entries of some 10 KB; entry n expires n seconds after the others before it."""
    for number in range(count):
        entry_id = f"ent_{number:03}"
        await ResponseStore(client).put(
            Entry(entry_id, "q", BODY, WireMode.BOTH, NOW + number, 60),
            redis_key=keys.entry_key("f", "room", entry_id),
            partition="aa",
            vector=vector,
            exact_key=keys.exact_key("room", entry_id),
            context_key=None,
            condemned_key=keys.condemned_key("room"),
            record=ContextRecord(entry_id, 1.0),
            about=ABOUT,
        )


async def kept(client: Redis) -> list[str]:
    return sorted([key.decode()[-3:] async for key in client.scan_iter("deja:v1:entry:*")])


async def test_a_cache_below_its_cap_is_left_alone(own_client: Redis) -> None:
    await fill(own_client, 10)
    assert await Capacity(own_client, max_bytes=1 << 20).trim(now_s=NOW) == 0
    assert len(await kept(own_client)) == 10


async def test_what_would_expire_first_goes_when_the_cap_is_passed(own_client: Redis) -> None:
    await fill(own_client, 40)
    evicted = await Capacity(own_client, max_bytes=200_000).trim(now_s=NOW)
    left = await kept(own_client)
    assert evicted == 40 - len(left)
    assert 10 <= len(left) <= 20
    assert left == [f"{number:03}" for number in range(40 - len(left), 40)]


async def test_what_has_expired_does_not_count(own_client: Redis) -> None:
    await fill(own_client, 40)
    assert await Capacity(own_client, max_bytes=200_000).trim(now_s=NOW + 95) == 0
    assert await own_client.zcard(keys.EXPIRY) == 4


async def test_an_empty_cache_needs_no_care(own_client: Redis) -> None:
    assert await Capacity(own_client, max_bytes=1).trim(now_s=NOW) == 0


async def test_what_the_index_takes_counts_too(own_client: Redis) -> None:
    vector = np.ones(384, dtype=np.float32).tobytes()
    index = VectorIndex(own_client, fingerprint="f", dim=384)
    await index.ensure()
    before = (await own_client.info("memory"))["used_memory"]
    await fill(own_client, 1000, vector=vector)
    took = (await own_client.info("memory"))["used_memory"] - before
    weighed = await Capacity(own_client, max_bytes=1 << 30)._mean_bytes() * 1000
    assert weighed == pytest.approx(took, rel=0.1)


async def test_entries_that_went_by_themselves_weigh_nothing(own_client: Redis) -> None:
    await fill(own_client, 40)
    for number in range(20):
        await own_client.unlink(keys.entry_key("f", "room", f"ent_{number:03}"))
    assert await Capacity(own_client, max_bytes=300_000).trim(now_s=NOW) == 0
    assert len(await kept(own_client)) == 20


async def test_a_removal_that_was_cut_short_is_done_again(own_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(own_client, 40)

    async def lost(*_: object) -> int:
        raise ConnectionError

    capacity = Capacity(own_client, max_bytes=200_000)
    with monkeypatch.context() as cut:
        cut.setattr(capacity, "_remove", lost)
        with pytest.raises(StoreUnavailableError):
            await capacity.trim(now_s=NOW)
    assert await own_client.zcard(keys.EXPIRY) == 40
    assert await capacity.trim(now_s=NOW) > 0
    assert await own_client.zcard(keys.EXPIRY) == len(await kept(own_client))
