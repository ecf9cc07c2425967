"""Agents, queues and tasks of all tenants, counted in a real Redis of their own."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.keys import QueueKeys
from proxy.stores.fleet_totals import PAGE, FleetTotalsStore

NOW_MS = int(time.time() * 1000)


async def test_agents_queues_and_tasks_of_all_tenants_add_up(own_client: Redis) -> None:
    for tenant, alive in (("a", 2), ("b", 1)):
        agents = {f"agent{number}": NOW_MS for number in range(3)}
        await own_client.zadd(keys.agents(tenant), agents)
        until = {name: NOW_MS + (60_000 if at < alive else -1) for at, name in enumerate(agents)}
        await own_client.zadd(keys.agents_alive(tenant), until)
    await own_client.zadd(keys.AGENT_TENANTS, {"a": NOW_MS})
    for tenant, queue in (("b", "mail"), ("c", "mail"), ("c", "jobs")):
        await own_client.sadd(keys.QUEUE_TENANTS, tenant)
        await own_client.sadd(keys.queues(tenant), queue)
        at = QueueKeys(tenant, queue)
        await own_client.zadd(at.key("state:working"), {"t1": 1, "t2": 2})
        await own_client.zadd(at.key("state:failed"), {"t3": 1})
        await own_client.xadd(at.key("dead"), {"task": "t3"})
    store = FleetTotalsStore(own_client)
    seen = await store.read(["b"], now_ms=NOW_MS)
    assert (seen.agents, seen.alive) == (6, 3), "those of b were asked for, those of a have heartbeats"
    assert (seen.queues, seen.dead) == (3, 3)
    assert {state: count for state, count in seen.tasks.items() if count} == {"working": 6, "failed": 3}


async def test_more_than_a_page_of_queues_is_counted_whole(own_client: Redis) -> None:
    await own_client.sadd(keys.QUEUE_TENANTS, "a")
    await own_client.sadd(keys.queues("a"), *[f"q{number}" for number in range(PAGE + 1)])
    assert (await FleetTotalsStore(own_client).read([], now_ms=NOW_MS)).queues == PAGE + 1
