"""The byte cap on a real Redis."""

from __future__ import annotations

from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.capacity import Capacity
from proxy.stores.responses import ResponseStore

NOW = 1_800_000_000.0
BODY = b"x" * 10_000


async def fill(client: Redis, count: int) -> None:
    """Entries of some 10 KB; entry n expires n seconds after the others before it."""
    for number in range(count):
        entry_id = f"ent_{number:03}"
        await ResponseStore(client).put(
            Entry(entry_id, "q", BODY, WireMode.BOTH, NOW + number, 60),
            redis_key=keys.entry_key("f", "room", entry_id),
            partition="aa",
            vector=None,
            exact_key=keys.exact_key("room", entry_id),
            context_key=None,
            condemned_key=keys.condemned_key("room"),
            record=ContextRecord(entry_id, 1.0),
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
