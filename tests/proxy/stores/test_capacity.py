"""The byte cap on a real Redis."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys, worth
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.models import About, ContextRecord, Entry, WireMode
from proxy.core.usage import Usage
from proxy.core.worth import Trimmed, Why
from proxy.errors import StoreUnavailableError
from proxy.stores import capacity as capacity_module
from proxy.stores.capacity import MEMORY_SHARE, Capacity, Earnings
from proxy.stores.client import open_client
from proxy.stores.embeddings import EmbeddingStore
from proxy.stores.invalidations import Invalidations
from proxy.stores.named_caches import NamedCacheStore
from proxy.stores.responses import ResponseStore
from proxy.stores.vectors import VectorIndex
from tests.builders import ABOUT

NOW = 1_800_000_000.0
BODY = b"x" * 10_000


def capacity_of(client: Redis, *, max_bytes: int = 1 << 30) -> Capacity:
    """A cache whose entries' calls cost a pico-USD for each output token."""
    return Capacity(
        client, max_bytes=max_bytes, cost_of=lambda entry, _: entry.usage.output_tokens if entry.usage else 1
    )


async def put(
    client: Redis,
    number: int,
    *,
    vector: bytes | None = None,
    cost: int = 1000,
    body: bytes = BODY,
    age_s: float = 0.0,
    ttl_s: int = 60,
    exact: str | None = None,
) -> str:
    """An entry of some 10 KB, its exact key and its context; entry n is stored, and expires, n seconds after entry 0. Its id."""
    entry_id = f"ent_{number:03}"
    usage = Usage(0, cost).to_wire()
    await ResponseStore(client).put(
        Entry(entry_id, "q", body, WireMode.BOTH, NOW + number - age_s, ttl_s, usage=usage),
        redis_key=keys.entry_key("f", "room", entry_id),
        partition="aa",
        vector=vector,
        exact_key=keys.exact_key("room", exact or entry_id),
        context_key=keys.context_key("room", f"prefix-{number:03}"),
        condemned_key=keys.condemned_key("room"),
        record=ContextRecord(entry_id, 1.0),
        about=ABOUT,
    )
    return entry_id


async def fill(client: Redis, count: int, *, vector: bytes | None = None) -> None:
    """So many of them."""
    for number in range(count):
        await put(client, number, vector=vector)


async def kept(client: Redis) -> list[str]:
    return sorted([key.decode()[-3:] async for key in client.scan_iter("deja:v1:entry:*")])


async def test_a_cache_below_its_cap_is_left_alone(own_client: Redis) -> None:
    await fill(own_client, 10)
    assert await capacity_of(own_client, max_bytes=1 << 20).trim(now_s=NOW) == Trimmed()
    assert len(await kept(own_client)) == 10


async def test_of_equals_that_were_never_hit_the_oldest_go_when_the_cap_is_passed(own_client: Redis) -> None:
    for number in range(40):  # hours apart: hashes of one content differ by some bytes
        await put(own_client, number, age_s=3600 * (40 - number), ttl_s=200_000)
    trimmed = await capacity_of(own_client, max_bytes=200_000).trim(now_s=NOW)
    left = await kept(own_client)
    assert trimmed == Trimmed(40 - len(left), Why.CAP)
    assert 10 <= len(left) <= 20
    assert left == [f"{number:03}" for number in range(40 - len(left), 40)]


async def test_what_has_expired_does_not_count(own_client: Redis) -> None:
    await fill(own_client, 40)
    assert await capacity_of(own_client, max_bytes=200_000).trim(now_s=NOW + 95) == Trimmed()
    assert await own_client.zcard(keys.EXPIRY) == 4


async def test_an_empty_cache_needs_no_care(own_client: Redis) -> None:
    assert await capacity_of(own_client, max_bytes=1).trim(now_s=NOW) == Trimmed()


async def test_what_the_index_takes_counts_too(own_client: Redis) -> None:
    vector = np.ones(384, dtype=np.float32).tobytes()
    index = VectorIndex(own_client, fingerprint="f", dim=384)
    await index.ensure()
    before = (await own_client.info("memory"))["used_memory"]
    await fill(own_client, 1000, vector=vector)
    took = (await own_client.info("memory"))["used_memory"] - before
    weighed = await capacity_of(own_client, max_bytes=1 << 30)._mean_bytes() * 1000
    assert weighed == pytest.approx(took, rel=0.1)


async def test_entries_that_went_by_themselves_weigh_nothing(own_client: Redis) -> None:
    await fill(own_client, 40)
    for number in range(20):
        await own_client.unlink(keys.entry_key("f", "room", f"ent_{number:03}"))
    assert await capacity_of(own_client, max_bytes=300_000).trim(now_s=NOW) == Trimmed()
    assert len(await kept(own_client)) == 20


async def test_a_removal_that_was_cut_short_is_done_again(own_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(own_client, 40)

    async def lost(*_: object) -> int:
        raise ConnectionError

    capacity = capacity_of(own_client, max_bytes=200_000)
    with monkeypatch.context() as cut:
        cut.setattr(capacity, "_remove", lost)
        with pytest.raises(StoreUnavailableError):
            await capacity.trim(now_s=NOW)
    assert await own_client.zcard(keys.EXPIRY) == 40
    assert (await capacity.trim(now_s=NOW)).count > 0
    assert await own_client.zcard(keys.EXPIRY) == len(await kept(own_client))


async def test_what_saved_least_for_its_size_goes_first(own_client: Redis) -> None:
    for number in range(60):
        await put(own_client, number)
    dear = await put(own_client, 60, cost=100_000, age_s=60)
    hit = await put(own_client, 61, age_s=60)
    small = await put(own_client, 62, body=b"x" * 100, age_s=60)
    cheap = await put(own_client, 63, cost=10)
    large = await put(own_client, 64, body=b"x" * 100_000)
    await Earnings(own_client).add({hit: worth.earned(2000, at_s=NOW)})
    capacity = capacity_of(own_client, max_bytes=600_000)
    assert (await capacity.trim(now_s=NOW)).why is Why.CAP
    left = await kept(own_client)
    assert {one[-3:] for one in (dear, hit, small)} <= set(left)
    assert not {one[-3:] for one in (cheap, large)} & set(left)
    assert len(left) > 30


async def test_earnings_add_up_in_redis_as_they_do_here(own_client: Redis) -> None:
    earned = [worth.earned(cost, at_s=NOW + after_s) for cost, after_s in ((7, 0), (10**9, 3600), (10**12, -864_000))]
    for each in earned:
        await Earnings(own_client).add({"ent_1": each, "ent_2": 5.0})
    told = await own_client.zscore(keys.EARNED, "ent_1")
    assert told == pytest.approx(worth.together(worth.together(*earned[:2]), earned[2]), abs=1e-9)
    assert await own_client.ttl(keys.EARNED) == -1


async def test_with_an_entry_goes_all_that_leads_to_it_and_the_context_it_opened(own_client: Redis) -> None:
    await fill(own_client, 40)
    # A newer answer to the question of entry 0, and an older meaning of the words of entry 1.
    await own_client.set(keys.exact_key("room", "ent_000"), "another")
    await own_client.set(keys.context_key("room", "prefix-001"), "ent_before 1.000000")
    await Earnings(own_client).add({"ent_000": 1.0, "ent_039": 1e6})
    await capacity_of(own_client, max_bytes=200_000).trim(now_s=NOW)
    left = await kept(own_client)
    assert "001" not in left
    assert "039" in left
    exact = [key.decode()[-3:] async for key in own_client.scan_iter("deja:v1:exact:*")]
    assert sorted(exact) == ["000", *left]
    contexts = [key.decode()[-3:] async for key in own_client.scan_iter("deja:v1:context:*")]
    assert sorted(contexts) == ["001", *left]
    assert await own_client.zrange(keys.EARNED, 0, -1) == [b"ent_039"]


async def test_vectors_and_entries_of_named_caches_go_like_the_others(own_client: Redis) -> None:
    vectors = EmbeddingStore(own_client)
    vector = Vector(b"\0" * 6144, Form.SINGLE)
    at = [keys.embedding_key("room", f"text {number}") for number in range(20)]
    made = [StoredEmbedding(keys.embedding_id(key), vector, "m", 9, False, NOW, 60) for key in at]
    await vectors.put(at, made, about=About("0a", "", "m", "embeddings"))
    named = keys.entry_key("f", "0b", "ent_999")
    await NamedCacheStore(own_client).put(
        Entry("ent_999", "q", BODY, WireMode.JSON, NOW, 60),
        room="0b",
        redis_key=named,
        tags="aa",
        vector=None,
        prints=["p1", "p2"],
        ttl_ms=60_000,
    )
    await put(own_client, 0, cost=10**9)
    assert (await capacity_of(own_client, max_bytes=60_000).trim(now_s=NOW)).count >= 10
    assert "000" in await kept(own_client)
    await capacity_of(own_client, max_bytes=1).trim(now_s=NOW)
    assert await kept(own_client) == []
    assert not await own_client.exists(*at, named, keys.exact_key("0b", "p1"), keys.exact_key("0b", "p2"))


async def test_redis_near_its_maxmemory_is_relieved_before_it_evicts_by_itself(own_client: Redis) -> None:
    for number in range(100):
        await put(own_client, number, cost=10 if number < 70 else 1000)
    await own_client.set("deja:v1:session:{s}:meta", "1", ex=3600)
    await own_client.setbit(
        "deja:v1:queue", 8 << 25, 1
    )  # 32 MiB: what Redis leaves free is more than our own commands take
    memory = await own_client.info("memory")
    used = memory["used_memory"] - memory["mem_not_counted_for_evict"]
    await own_client.config_set("maxmemory", int((used - 250_000) / MEMORY_SHARE))
    trimmed = await capacity_of(own_client).trim(now_s=NOW)
    assert trimmed.why is Why.MEMORY
    left = await kept(own_client)
    assert trimmed.count == 100 - len(left) > 0
    assert left[-30:] == [f"{number:03}" for number in range(70, 100)]
    stats = await own_client.info("stats")
    assert stats["evicted_keys"] == 0
    assert await own_client.exists("deja:v1:session:{s}:meta")


async def test_where_more_has_to_go_than_a_round_removes_it_says_so(
    own_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity_module, "ROUND", 5)
    await fill(own_client, 40)
    capacity = capacity_of(own_client, max_bytes=200_000)
    rounds = [await capacity.trim(now_s=NOW) for _ in range(6)]
    assert rounds[0] == Trimmed(5, Why.CAP, is_behind=True)
    assert not rounds[-1].is_behind
    assert len(await kept(own_client)) == 40 - sum(one.count for one in rounds)


async def test_what_an_entry_that_expired_had_earned_is_forgotten_with_it(own_client: Redis) -> None:
    await fill(own_client, 10)
    await Earnings(own_client).add({f"ent_{number:03}": float(number) for number in range(10)})
    await capacity_of(own_client).trim(now_s=NOW + 65.5)
    assert await own_client.zrange(keys.EARNED, 0, -1) == [f"ent_{number:03}".encode() for number in range(6, 10)]


async def test_earnings_of_what_is_gone_cannot_outnumber_the_entries(own_client: Redis) -> None:
    await fill(own_client, 3)
    await Earnings(own_client).add({f"ent_{number:03}": float(number) for number in range(50)})
    await capacity_of(own_client).trim(now_s=NOW)
    assert await own_client.zrange(keys.EARNED, 0, -1) == [b"ent_047", b"ent_048", b"ent_049"]


async def test_other_processes_are_told_what_went(own_url: str, own_client: Redis) -> None:
    changes = Invalidations(open_client(own_url, deadline_ms=None, max_connections=1), keys.ANSWERS)
    changed: set[str | None] = set()
    is_live = asyncio.Event()
    await fill(own_client, 40)
    following = asyncio.ensure_future(changes.follow(on_live=is_live.set, on_change=changed.add))  # noqa: TID251
    try:
        await asyncio.wait_for(is_live.wait(), 10)
        await capacity_of(own_client, max_bytes=200_000).trim(now_s=NOW)
        gone = {f"ent_{number:03}" for number in range(40)} - {f"ent_{one}" for one in await kept(own_client)}
        expected = {keys.exact_key("room", one) for one in gone} | {keys.entry_key("f", "room", one) for one in gone}
        async with asyncio.timeout(10):
            while changed != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await changes.aclose()


async def test_an_answer_that_takes_the_place_of_another_inherits_what_that_earned(own_client: Redis) -> None:
    await put(own_client, 0)
    await Earnings(own_client).add({"ent_000": 7.5})
    await put(own_client, 1, exact="ent_000")
    assert await own_client.zrange(keys.EARNED, 0, -1, withscores=True) == [(b"ent_001", 7.5)]
    await put(own_client, 2, exact="ent_002")
    await put(own_client, 3, exact="ent_002")
    assert await own_client.zcard(keys.EARNED) == 1, "what had earned nothing leaves nothing"


async def test_while_redis_fills_fast_the_next_round_should_come_soon(own_client: Redis) -> None:
    capacity = capacity_of(own_client)
    await own_client.config_set("maxmemory", 64 << 20)
    assert not (await capacity.trim(now_s=NOW)).is_behind
    await own_client.setbit("deja:v1:queue:1", 8 << 24, 1)  # 16 MiB in five seconds: full in less than ten more
    assert (await capacity.trim(now_s=NOW + 5)).is_behind
    assert not (await capacity.trim(now_s=NOW + 10)).is_behind
    await own_client.setbit("deja:v1:queue:2", 8 << 20, 1)  # a MiB in a minute
    assert not (await capacity.trim(now_s=NOW + 70)).is_behind
