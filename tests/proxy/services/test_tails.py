"""Following streams: every entry, in order, once, whoever else follows and however late one comes; on a real Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from redis.asyncio import Redis

from proxy.ports import StreamEntry
from proxy.services import tails as tails_module
from proxy.services.background import Background
from proxy.services.tails import GAP, Gap, Tails
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.tails import StreamTails
from tests.redis_server import private_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=5000)
    yield opened
    await opened.aclose()


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    opened = Background()
    yield opened
    await opened.aclose()


@pytest.fixture
async def tails(redis_url: str, client: Redis, background: Background) -> AsyncIterator[Tails]:
    store = StreamTails(client, open_client(redis_url, deadline_ms=None, max_connections=1))
    guard = Guard(client.ping)
    yield Tails(store, guard, background, deadline_s=5.0)
    await background.aclose()  # the reader goes before its connection
    await guard.aclose()
    await store.aclose()


@pytest.fixture
def key() -> str:
    return f"stream:{uuid.uuid4()}"


async def numbers(followed: AsyncIterator[list[StreamEntry] | Gap], count: int) -> list[int]:
    """The first `count` numbers that arrive."""
    found: list[int] = []
    async with asyncio.timeout(20), aclosing(followed):  # type: ignore[type-var]
        async for entries in followed:
            assert not isinstance(entries, Gap)
            found += [int(entry.fields["n"]) for entry in entries]
            if len(found) >= count:
                return found
    raise AssertionError("it ended early")


async def append(client: Redis, key: str, first: int, count: int) -> str:
    last = b""
    for n in range(first, first + count):
        last = await client.xadd(key, {"n": n})
    return last.decode()


async def test_a_follower_gets_what_was_there_and_what_comes(
    client: Redis, tails: Tails, background: Background, key: str
) -> None:
    await append(client, key, 0, 5)
    follower = background.spawn(numbers(tails.follow(key, after="0-0"), 8), name="test")
    await asyncio.sleep(0.1)
    await append(client, key, 5, 3)
    assert await follower == list(range(8))


async def test_without_an_id_only_what_comes_is_followed(
    client: Redis, tails: Tails, background: Background, key: str
) -> None:
    await append(client, key, 0, 5)
    follower = background.spawn(numbers(tails.follow(key, after=None), 2), name="test")
    await asyncio.sleep(0.1)
    await append(client, key, 5, 2)
    assert await follower == [5, 6]


async def test_after_an_id_exactly_the_rest_follows(client: Redis, tails: Tails, key: str) -> None:
    left_at = await append(client, key, 0, 3)
    await append(client, key, 3, 4)
    assert await numbers(tails.follow(key, after=left_at), 4) == [3, 4, 5, 6]


async def test_many_followers_of_many_streams_all_get_everything(
    client: Redis, tails: Tails, background: Background, key: str
) -> None:
    keys = [f"{key}:{n}" for n in range(7)]
    followers = [
        background.spawn(numbers(tails.follow(one, after="0-0"), 200), name="test") for one in keys for _ in range(20)
    ]
    for n in range(200):
        async with client.pipeline(transaction=False) as pipe:
            for one in keys:
                pipe.xadd(one, {"n": n})
            await pipe.execute()
    for follower in followers:
        assert await follower == list(range(200))


async def test_who_falls_behind_the_buffer_still_misses_nothing(
    client: Redis, tails: Tails, background: Background, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails_module, "BUFFER", 3)
    seen: list[int] = []
    async with asyncio.timeout(20), aclosing(tails.follow(key, after="0-0")) as followed:  # type: ignore[type-var]
        writer = background.spawn(append(client, key, 0, 60), name="test")
        async for entries in followed:
            assert not isinstance(entries, Gap)
            seen += [int(entry.fields["n"]) for entry in entries]
            await asyncio.sleep(0.02)  # slower than the writer
            if len(seen) == 60:
                break
        await writer
    assert seen == list(range(60))


async def test_a_quiet_stream_is_told_as_quiet(tails: Tails, key: str) -> None:
    async with asyncio.timeout(5), aclosing(tails.follow(key, after=None, idle_s=0.05)) as followed:  # type: ignore[type-var]
        assert await anext(followed) == []


async def test_what_was_trimmed_away_before_it_was_read_is_told(client: Redis, tails: Tails, key: str) -> None:
    left_at = await append(client, key, 0, 3)
    await append(client, key, 3, 10)
    await client.xtrim(key, maxlen=2, approximate=False)
    async with asyncio.timeout(5), aclosing(tails.follow(key, after=left_at)) as followed:  # type: ignore[type-var]
        assert await anext(followed) is GAP
        entries = await anext(followed)
        assert not isinstance(entries, Gap)
        assert [entry.fields["n"] for entry in entries] == ["11", "12"]


async def test_closing_ends_every_follower(tails: Tails, background: Background, key: str) -> None:
    async def until_end() -> None:
        async for _ in tails.follow(key, after=None):
            pass

    followers = [background.spawn(until_end(), name="test") for _ in range(3)]
    await asyncio.sleep(0.1)
    tails.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*followers)


async def test_a_follower_outlives_a_connection_that_is_cut(
    client: Redis, tails: Tails, background: Background, key: str
) -> None:
    follower = background.spawn(numbers(tails.follow(key, after=None), 2), name="test")
    await asyncio.sleep(0.1)
    await append(client, key, 0, 1)
    await asyncio.sleep(0.1)
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    await append(client, key, 1, 1)
    assert await follower == [0, 1]
