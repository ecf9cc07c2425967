"""Policies against a real Redis: written and removed with their version in one step, and bounded in number."""

from __future__ import annotations

import uuid

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.models import Mode
from proxy.core.policies import Policy
from proxy.stores import policies as module
from proxy.stores.policies import PolicyStore

EXACT = Policy(mode=Mode.EXACT, ttl_s=60, families=("chat",))


async def test_a_policy_is_there_until_it_is_removed_and_each_change_is_told(client: Redis) -> None:
    store, tenant = PolicyStore(client), uuid.uuid4().hex
    versions = [await store.version()]
    assert await store.put(tenant, "", EXACT)
    versions.append(await store.version())
    version, found = await store.all()
    assert (version, found[tenant, ""]) == (versions[-1], EXACT)
    assert await store.put(tenant, "a:b", Policy(ttl_s=5))
    assert (await store.all())[1][tenant, "a:b"] == Policy(ttl_s=5), "a namespace may hold a colon"
    assert await store.remove(tenant, "")
    versions.append(await store.version())
    assert (tenant, "") not in (await store.all())[1]
    assert len(set(versions)) == 3
    assert not await store.remove(tenant, "")
    assert await store.version() == versions[-1], "nothing changed"


async def test_there_may_only_be_so_many_and_those_can_still_be_changed(
    own_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_POLICIES", 2)
    store = PolicyStore(own_client)
    assert [await store.put("0a", name, EXACT) for name in ("a", "b", "c", "a")] == [True, True, False, True]
    assert len((await store.all())[1]) == 2


async def test_what_cannot_be_read_is_left_out(client: Redis) -> None:
    store, tenant = PolicyStore(client), uuid.uuid4().hex
    for number, raw in enumerate((b"no JSON", b"7", b'{"mode": "fast"}')):
        await client.hset(keys.POLICIES, f"{tenant}:{number}", raw)
    assert not any(owner == tenant for owner, _ in (await store.all())[1])
