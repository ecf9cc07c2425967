from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from proxy.services import doctor
from proxy.services.doctor import Check, Status, examine_redis, worst
from proxy.stores.client import Commands, open_client
from proxy.stores.embedded import EmbeddedRedis
from tests.redis_server import private_server


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with private_server() as started:
        yield started


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    opened = open_client(server.url, deadline_ms=5000)
    yield opened
    await opened.aclose()


async def by_name(client: Redis) -> dict[str, Check]:
    return {check.name: check for check in await examine_redis(Commands(client), "unix://here")}


async def test_the_embedded_redis_is_in_perfect_health(client: Redis) -> None:
    checks = await examine_redis(Commands(client), "unix://here")
    assert worst(checks) is Status.OK, [check for check in checks if check.status is not Status.OK]
    assert [check.name for check in checks] == [
        "redis",
        "redis version",
        "search module",
        "json module",
        "persistence",
        "eviction policy",
        "memory cap",
        "write access",
        "search access",
        "clock",
    ]
    assert not await client.keys("deja:v1:doctor:*")


async def test_a_policy_that_may_evict_tasks_fails(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        check = (await by_name(client))["eviction policy"]
    finally:
        await client.config_set("maxmemory-policy", "volatile-lfu")
    assert check.status is Status.FAIL
    assert "volatile-lfu" in check.mend


async def test_a_full_redis_fails_the_write_check(client: Redis) -> None:
    cap = (await client.config_get("maxmemory"))["maxmemory"]
    await client.config_set("maxmemory", 1)
    try:
        checks = await by_name(client)
    finally:
        await client.config_set("maxmemory", cap)
    assert checks["write access"].status is Status.FAIL
    assert "maxmemory" in checks["write access"].mend
    assert checks["memory cap"].status is Status.WARN


async def test_a_user_who_may_only_look_is_told_which_rights_are_missing(server: EmbeddedRedis, client: Redis) -> None:
    await client.acl_setuser("looker", enabled=True, passwords=["+pw"], commands=["+ping"])
    looker = open_client(f"unix://looker:pw@{server.url.removeprefix('unix://')}", deadline_ms=5000)
    try:
        checks = await by_name(looker)
    finally:
        await looker.aclose()
        await client.acl_deluser("looker")
    assert checks["redis"].status is Status.OK
    assert checks["redis version"].status is Status.WARN
    assert checks["write access"].status is Status.FAIL
    assert "ACL SETUSER" in checks["write access"].mend
    assert checks["search access"].status is Status.FAIL
    assert checks["search module"].status is Status.OK  # it is there, this user just may not use it


async def test_the_rights_it_recommends_are_enough(server: EmbeddedRedis, client: Redis) -> None:
    await client.execute_command(*doctor.rights("deja:v1:").replace("<user>", "worker").split(), "on", ">pw")
    async with open_client(f"unix://worker:pw@{server.url.removeprefix('unix://')}", deadline_ms=5000) as worker:
        checks = await examine_redis(Commands(worker), "unix://here")
    await client.acl_deluser("worker")
    assert worst(checks) is Status.OK, [check for check in checks if check.status is not Status.OK]


async def test_a_redis_that_is_not_there_is_one_failed_check() -> None:
    with private_server() as gone:
        url = gone.url
    client = open_client(url, deadline_ms=500)
    checks = await examine_redis(Commands(client), "redis://***@cache")
    await client.aclose()
    assert [(check.name, check.status) for check in checks] == [("redis", Status.FAIL)]
    assert "redis://***@cache" in checks[0].what
    assert "DEJA_REDIS__URL" in checks[0].mend


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"redis_version": "7.0.15"}, Status.FAIL),
        ({"redis_version": "6.2"}, Status.FAIL),
        ({"redis_version": "7.2.4"}, Status.OK),
        ({"redis_version": "8.0.1"}, Status.OK),
        ({"redis_version": "10.0"}, Status.OK),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.0"}, Status.OK),
        ({}, Status.FAIL),
    ],
)
def test_versions_are_compared_as_numbers(facts: dict[str, str], status: Status) -> None:
    assert doctor.version(facts).status is status


@pytest.mark.parametrize(
    ("facts", "appendfsync", "status"),
    [
        ({"aof_enabled": "1"}, "everysec", Status.OK),
        ({"aof_enabled": "1"}, "always", Status.OK),
        ({"aof_enabled": "1"}, None, Status.OK),
        ({"aof_enabled": "1"}, "no", Status.WARN),
        ({"aof_enabled": "0"}, "everysec", Status.WARN),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, "everysec", Status.FAIL),
    ],
)
def test_persistence_is_judged_by_what_a_crash_would_lose(
    facts: dict[str, str], appendfsync: str | None, status: Status
) -> None:
    assert doctor.durability(facts, appendfsync).status is status


@pytest.mark.parametrize(
    ("policy", "maxmemory", "status"),
    [
        ("volatile-lru", "100", Status.OK),
        ("noeviction", "0", Status.OK),
        ("noeviction", "100", Status.OK),
        ("allkeys-lfu", "100", Status.FAIL),
        ("allkeys-random", "0", Status.FAIL),
    ],
)
def test_only_policies_that_spare_durable_keys_pass(policy: str, maxmemory: str, status: Status) -> None:
    assert doctor.eviction({"maxmemory_policy": policy, "maxmemory": maxmemory}).status is status


def test_no_cap_and_no_room_are_warned_of() -> None:
    assert doctor.memory_cap({"maxmemory": "0", "used_memory": "5"}).status is Status.WARN
    assert doctor.memory_cap({"maxmemory": "1000", "used_memory": "950"}).status is Status.WARN
    assert doctor.memory_cap({"maxmemory": "1000", "used_memory": "500"}).status is Status.OK


def test_a_redis_without_search_fails_and_without_json_is_warned_of() -> None:
    search, json = doctor.modules({}, can_search=False, has_json=False)
    assert (search.status, json.status) == (Status.FAIL, Status.WARN)
    search, json = doctor.modules({"search": 80_204, "rejson": 80_200}, can_search=True, has_json=True)
    assert (search.status, json.status) == (Status.OK, Status.OK)
    assert "8.2.4" in search.what


@pytest.mark.parametrize(
    ("redis_s", "status"), [(100.5, Status.OK), (98.5, Status.OK), (90.0, Status.WARN), (110.0, Status.WARN)]
)
def test_a_clock_is_off_only_beyond_what_the_question_itself_took(redis_s: float, status: Status) -> None:
    assert doctor.clock(redis_s, asked_s=100.0, answered_s=101.0).status is status


def test_every_check_that_is_not_well_says_how_to_mend_it() -> None:
    checks = [
        doctor.version({"redis_version": "6.0"}),
        *doctor.modules({}, can_search=False, has_json=False),
        doctor.durability({}, None),
        doctor.eviction({"maxmemory_policy": "allkeys-lru"}),
        doctor.memory_cap({}),
        doctor.clock(0.0, 100.0, 100.0),
    ]
    assert all(check.mend for check in checks)
    assert worst(checks) is Status.FAIL
    assert worst([]) is Status.OK
