"""Working memories in a real Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from proxy.core.memory.records import Memory, MemoryType
from proxy.core.memory_server import keys
from proxy.core.memory_server.working import KeptMemory, Message, SessionName, WorkingMemory
from proxy.stores.working_memory import WorkingMemoryStore

MEMORY = Memory(
    memory_id="m1", text="User likes tea", memory_type=MemoryType.SEMANTIC, user=None, session=None, namespace=None,
    topics=("tea",), entities=(), created_at=1.5, updated_at=1.5, accessed_at=1.5,
)  # fmt: skip


@pytest.fixture
def store(client: Redis) -> WorkingMemoryStore:
    return WorkingMemoryStore(client)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def clean_waiting(client: Redis) -> AsyncIterator[None]:
    await client.delete(keys.WAITING)
    yield
    await client.delete(keys.WAITING)


def session(name: str = "s", user: str | None = None, namespace: str | None = None) -> WorkingMemory:
    return WorkingMemory(
        SessionName(name, user, namespace),
        messages=(Message("1", "user", "Hello, 世界", 12.25),),
        memories=(KeptMemory(MEMORY),),
        data={"a": {"b": [1, None]}},
        context="They met.",
        tokens=7,
        strategy="summary",
        strategy_config={"max": 3},
        accessed_at=3.5,
    )


async def test_what_was_put_is_found_with_when_and_how_often(store: WorkingMemoryStore, tenant: str) -> None:
    put = await store.put(tenant, session())
    assert (put.version, put.created_at) == (1, put.updated_at)
    assert await store.find(tenant, SessionName("s")) == (1, put)
    again = await store.put(tenant, replace(session(), context=None))
    assert (again.version, again.created_at) == (2, put.created_at)
    assert again.updated_at >= put.updated_at
    assert await store.find(tenant, SessionName("s")) == (1, again)


async def test_a_caller_may_say_when_it_was_created(store: WorkingMemoryStore, tenant: str) -> None:
    assert (await store.put(tenant, replace(session(), created_at=4.5))).created_at == 4.5


async def test_another_tenant_finds_lists_and_drops_nothing(store: WorkingMemoryStore, tenant: str) -> None:
    put = await store.put(tenant, session(user="u", namespace="n"))
    stranger = uuid.uuid4().hex
    assert await store.find(stranger, put.name) == (0, None)
    assert await store.find(stranger, SessionName("s")) == (0, None)
    assert await store.page(stranger, namespace=None, user=None, offset=0, count=10) == (0, [])
    assert not await store.drop(stranger, put.name)
    assert await store.find(tenant, put.name) == (1, put)


async def test_the_only_session_of_an_id_is_found_without_its_user_and_namespace(
    store: WorkingMemoryStore, tenant: str
) -> None:
    put = await store.put(tenant, session(user="u", namespace="n"))
    for name in (SessionName("s"), SessionName("s", user="u"), SessionName("s", namespace="n")):
        assert await store.find(tenant, name) == (1, put)
    for name in (SessionName("t"), SessionName("s", user="v"), SessionName("s", "u", "other")):
        assert await store.find(tenant, name) == (0, None)


async def test_of_several_the_exact_one_is_found_and_else_none(store: WorkingMemoryStore, tenant: str) -> None:
    one = await store.put(tenant, session(user="u"))
    two = await store.put(tenant, session(user="v", namespace="n"))
    assert await store.find(tenant, SessionName("s")) == (2, None)
    assert await store.find(tenant, SessionName("s", user="v")) == (1, two)
    bare = await store.put(tenant, session())
    assert await store.find(tenant, SessionName("s")) == (1, bare)
    assert await store.find(tenant, SessionName("s", user="u")) == (1, one)


async def test_lists_show_those_that_changed_last_first(store: WorkingMemoryStore, tenant: str) -> None:
    for name, user, namespace in (("a", "u", "n"), ("b", "u", None), ("c", None, "n"), ("d", None, None)):
        await store.put(tenant, session(name, user, namespace))
        await asyncio.sleep(0.002)
    await store.put(tenant, session("a", "u", "n"))

    async def page(namespace: str | None = None, user: str | None = None, offset: int = 0) -> tuple[int, list[str]]:
        return await store.page(tenant, namespace=namespace, user=user, offset=offset, count=3)

    assert await page() == (4, ["a", "d", "c"])
    assert await page(offset=3) == (4, ["b"])
    assert await page(namespace="n") == (2, ["a", "c"])
    assert await page(user="u") == (2, ["a", "b"])
    assert await page(namespace="n", user="u") == (1, ["a"])
    assert await page(namespace="u") == (0, [])


async def test_what_was_dropped_is_gone_from_all_lists(store: WorkingMemoryStore, client: Redis, tenant: str) -> None:
    put = await store.put(tenant, replace(session(user="u", namespace="n"), ttl_s=60))
    assert await store.drop(tenant, put.name)
    assert not await store.drop(tenant, put.name)
    assert await store.find(tenant, put.name) == (0, None)
    assert [key async for key in client.scan_iter(f"deja:v1:*{tenant}*")] == []


async def test_a_session_goes_when_its_time_is_over_and_leaves_nothing(
    store: WorkingMemoryStore, client: Redis, tenant: str
) -> None:
    stays = await store.put(tenant, session("stays"))
    goes = await store.put(tenant, replace(session("goes", "u", "n"), ttl_s=1))
    assert 0 < await client.pttl(keys.working_memory(tenant, goes.name)) <= 1000
    assert await client.pttl(keys.working_memory(tenant, stays.name)) == -1
    await asyncio.sleep(1.1)
    assert await store.find(tenant, goes.name) == (0, None)
    assert await store.page(tenant, namespace=None, user=None, offset=0, count=10) == (1, ["stays"])
    left = sorted([key async for key in client.scan_iter(f"deja:v1:*{tenant}*")])
    assert left == sorted(
        name.encode()
        for name in (
            keys.working_memory(tenant, stays.name),
            *(keys.list_prefix(tenant) + tag for tag in keys.list_tags(stays.name)),
        )
    )


async def test_a_put_renews_the_time_and_one_without_ends_it(
    store: WorkingMemoryStore, client: Redis, tenant: str
) -> None:
    name = keys.working_memory(tenant, SessionName("s"))
    await store.put(tenant, replace(session(), ttl_s=100))
    await store.put(tenant, replace(session(), ttl_s=200))
    assert 100_000 < await client.pttl(name) <= 200_000
    await store.put(tenant, session())
    assert await client.pttl(name) == -1
    assert await client.exists(keys.due(tenant)) == 0


async def test_what_redis_evicted_is_not_listed(store: WorkingMemoryStore, client: Redis, tenant: str) -> None:
    for name in ("a", "b", "c"):
        await store.put(tenant, replace(session(name), ttl_s=100))
    await client.delete(keys.working_memory(tenant, SessionName("b")))
    total, found = await store.page(tenant, namespace=None, user=None, offset=0, count=10)
    assert (total, sorted(found)) == (2, ["a", "c"])


async def test_memories_are_marked_unless_the_session_was_put_meanwhile(
    store: WorkingMemoryStore, client: Redis, tenant: str
) -> None:
    put = await store.put(tenant, replace(session(), ttl_s=100))
    assert await store.mark(tenant, put.promoted(9.0))
    _, found = await store.find(tenant, put.name)
    assert found == put.promoted(9.0)
    assert await client.pttl(keys.working_memory(tenant, put.name)) > 0
    await store.put(tenant, session())
    assert not await store.mark(tenant, put.promoted(9.0))


@pytest.mark.usefixtures("clean_waiting")
async def test_a_note_waits_until_it_is_settled_and_a_later_one_is_another(
    store: WorkingMemoryStore, tenant: str
) -> None:
    name = SessionName("s", "u")
    first = await store.wait(tenant, name)
    assert await store.waiting(since_s=60.0) == []
    ((who, redis_key, mark),) = await store.waiting(since_s=0.0)
    assert (who, redis_key) == (tenant, keys.working_memory(tenant, name))
    assert float(mark) == float(first)
    second = await store.wait(tenant, name)
    await store.settle(tenant, redis_key, mark)
    assert len(await store.waiting(since_s=0.0)) == 1
    await store.settle(tenant, redis_key, second)
    assert await store.waiting(since_s=0.0) == []


async def test_fifty_writers_leave_one_whole_session(store: WorkingMemoryStore, tenant: str) -> None:
    await asyncio.gather(*(store.put(tenant, replace(session(), data={"n": n}, tokens=n)) for n in range(50)))
    _, found = await store.find(tenant, SessionName("s"))
    assert found is not None
    assert found.version == 50
    assert found.data == {"n": found.tokens}


async def test_any_redis_client_reads_a_session(store: WorkingMemoryStore, client: Redis, tenant: str) -> None:
    put = await store.put(tenant, session(user="u"))
    plain = await client.hgetall(keys.working_memory(tenant, put.name))
    assert plain[b"session_id"] == b"s"
    assert plain[b"user_id"] == b"u"
    assert plain[b"context"] == b"They met."
    assert "世界" in plain[b"messages"].decode()


async def test_a_list_is_dropped_some_at_a_time(
    store: WorkingMemoryStore, client: Redis, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.stores.working_memory.DROPPED", 2)
    for name, user in (("a", "u"), ("b", "u"), ("c", "u"), ("d", "v"), ("a", None)):
        await store.put(tenant, replace(session(name, user), ttl_s=100))
    await client.delete(keys.working_memory(tenant, SessionName("b", "u")))  # evicted
    of_user = keys.list_tag(user="u")
    steps = [await store.drop_some(tenant, of_user) for _ in range(3)]
    assert [may_be_more for _, may_be_more in steps] == [True, True, False]
    assert sum(dropped for dropped, _ in steps) == 2
    assert sorted((await store.page(tenant, namespace=None, user=None, offset=0, count=9))[1]) == ["a", "d"]
