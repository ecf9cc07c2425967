"""Agents' states in a real Redis: one script per write, versions that only rise, histories that tell all."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.agent_writes import Outcome, Write
from proxy.core.coordination.agents import Bounds, Seat, State, transition
from proxy.core.coordination.stored_values import to_stored
from proxy.core.coordination.versions import Conditions, Versions
from proxy.errors import StoreFullError
from proxy.stores.agents import AgentStore

BOUNDS = Bounds(
    agents=50,
    fields=20,
    value_bytes=20_000,
    state_bytes=10_000,
    history=1000,
    feed=1000,
    history_bytes=4 << 20,
    deleted_ttl_s=60,
)


def bounds(**changes: int) -> Bounds:
    return Bounds(**{name: changes.get(name, getattr(BOUNDS, name)) for name in Bounds.__slots__})


def store_of(client: Redis, *, now_s: float | None = None, **changes: int) -> AgentStore:
    return AgentStore(client, bounds=bounds(**changes), now=time.time if now_s is None else lambda: now_s)


@pytest.fixture
def store(client: Redis) -> AgentStore:
    return store_of(client)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def put(conditions: Conditions = Conditions(), **fields: Any) -> Write:  # noqa: B008  frozen
    return Write(is_whole=True, set={name: to_stored(value) for name, value in fields.items()}, conditions=conditions)


def patch(*unset: str, conditions: Conditions = Conditions(), **fields: Any) -> Write:  # noqa: B008
    stored = {name: to_stored(value) for name, value in fields.items()}
    return Write(is_whole=False, set=stored, unset=unset, conditions=conditions)


def only(*versions: int) -> Conditions:
    return Conditions(match=Versions(numbers=frozenset(versions)))


NEW_ONLY = Conditions(none_match=Versions(is_any=True))
OLD_ONLY = Conditions(match=Versions(is_any=True))


async def transitions(store: AgentStore, tenant: str, agent: str) -> list[dict[str, Any]]:
    entries, _ = await store.history(tenant, agent, after="0-0", count=1000)
    return [transition(entry.entry_id, entry.fields) for entry in entries]


async def ids(store: AgentStore, tenant: str, status: str | None = None) -> list[str]:
    return [state.agent_id for _, state in (await store.page(tenant, status=status, below=None, count=100))[0]]


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_agent_has_version_one_and_one_transition(store: AgentStore, tenant: str) -> None:
    written = await store.write(tenant, "a", put(status="working", n=5))
    assert (written.outcome, written.detail) == (Outcome.OK, "created")
    state = await store.read(tenant, "a")
    assert state == written.state
    assert state is not None
    assert (state.version, state.fields, state.alive) == (1, {"status": "working", "n": 5}, None)
    [told] = await transitions(store, tenant, "a")
    assert (told["type"], told["version"], told["at"]) == ("agent.created", 1, state.last_updated)
    assert told["changed"] == {"status": "working", "n": 5}


async def test_put_replaces_and_patch_keeps(store: AgentStore, tenant: str) -> None:
    await store.write(tenant, "a", put(status="working", mood="fine", n=1))
    patched = await store.write(tenant, "a", patch("mood", "never-there", n=2))
    assert patched.state is not None
    assert patched.state.fields == {"status": "working", "n": 2}
    replaced = await store.write(tenant, "a", put(n=2))
    assert replaced.state is not None
    assert (replaced.state.version, replaced.state.fields) == (3, {"n": 2})
    changed = [told["changed"] for told in await transitions(store, tenant, "a")]
    assert changed[1:] == [{"n": 2, "mood": None}, {"status": None}]


async def test_a_write_that_changes_nothing_leaves_no_trace(store: AgentStore, tenant: str) -> None:
    first = await store.write(tenant, "a", put(status="working", n=1))
    for again in (put(n=1, status="working"), patch(n=1), patch("not-there"), patch()):
        written = await store.write(tenant, "a", again)
        assert (written.outcome, written.detail, written.state) == (Outcome.OK, "same", first.state)
    assert len(await transitions(store, tenant, "a")) == 1


async def test_a_patch_brings_nobody_back(store: AgentStore, tenant: str) -> None:
    assert (await store.write(tenant, "a", patch(n=1))).outcome is Outcome.MISSING
    assert await store.read(tenant, "a") is None


@pytest.mark.parametrize(
    ("conditions", "there", "outcome"),
    [
        (only(1), True, Outcome.OK),
        (only(2, 1), True, Outcome.OK),
        (only(2), True, Outcome.CONFLICT),
        (only(11), True, Outcome.CONFLICT),
        (only(), True, Outcome.CONFLICT),
        (only(1), False, Outcome.CONFLICT),
        (OLD_ONLY, True, Outcome.OK),
        (OLD_ONLY, False, Outcome.CONFLICT),
        (NEW_ONLY, True, Outcome.CONFLICT),
        (NEW_ONLY, False, Outcome.OK),
    ],
)
async def test_the_script_and_the_rule_agree_on_conditions(
    store: AgentStore, tenant: str, conditions: Conditions, there: bool, outcome: Outcome
) -> None:
    if there:
        await store.write(tenant, "a", put(n=1))
    before = await store.read(tenant, "a")
    assert conditions.hold(before.version if before else None) is (outcome is Outcome.OK)
    written = await store.write(tenant, "a", put(conditions, n=2))
    assert written.outcome is outcome
    if outcome is Outcome.CONFLICT:
        assert written.state == before == await store.read(tenant, "a")


async def test_what_was_merged_must_still_be_what_it_was(store: AgentStore, tenant: str) -> None:
    await store.write(tenant, "a", put(checkpoint={"step": 1}))
    stale = Write(is_whole=False, set={"checkpoint": "{}"}, seen={"checkpoint": '{"step":0}'})
    absent = Write(is_whole=False, set={"checkpoint": "{}"}, seen={"checkpoint": None})
    for write in (stale, absent):
        written = await store.write(tenant, "a", write)
        assert (written.outcome, written.stored["checkpoint"]) == (Outcome.MOVED, '{"step":1}')
    fresh = Write(is_whole=False, set={"checkpoint": "{}", "log": "x"}, seen={"checkpoint": '{"step":1}', "log": None})
    assert (await store.write(tenant, "a", fresh)).outcome is Outcome.OK


async def test_too_much_is_told_and_not_written(client: Redis, tenant: str) -> None:
    store = store_of(client, agents=1, fields=2, state_bytes=100)
    before = await store.write(tenant, "a", put(x="x" * 50, y="y"))
    fields = await store.write(tenant, "a", patch(z=1))
    assert (fields.outcome, fields.detail, fields.state) == (Outcome.TOO_MANY_FIELDS, "3", before.state)
    large = await store.write(tenant, "a", patch(y="y" * 49))
    assert (large.outcome, large.detail, large.state) == (Outcome.TOO_LARGE, "101", before.state)
    assert (await store.write(tenant, "a", patch(y="y" * 48))).outcome is Outcome.OK
    second = await store.write(tenant, "b", put(x=1))
    assert (second.outcome, second.detail, second.state) == (Outcome.TOO_MANY_AGENTS, "1", None)


async def test_a_hundred_writers_lose_no_version_and_tear_no_read(store: AgentStore, tenant: str) -> None:
    await store.write(tenant, "a", put(left=-1, right=-1))
    torn: list[State] = []

    async def write(n: int) -> int:
        written = await store.write(tenant, "a", patch(left=n, right=n, **{f"own-{n % 10}": n}))
        assert written.state is not None
        return written.state.version

    async def read() -> None:
        state = await store.read(tenant, "a")
        assert state is not None
        if state.fields["left"] != state.fields["right"]:
            torn.append(state)

    versions = await asyncio.gather(*(write(n) for n in range(100)), *(read() for _ in range(100)))
    assert sorted(version for version in versions if version is not None) == list(range(2, 102))
    assert not torn
    assert [told["version"] for told in await transitions(store, tenant, "a")] == list(range(1, 102))


# ── deletion ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_versions_go_on_where_a_deletion_left_them(client: Redis, store: AgentStore, tenant: str) -> None:
    await store.write(tenant, "a", put(status="working"))
    await store.beat(tenant, "a", ttl_s=60)
    deleted = await store.delete(tenant, "a", Conditions())
    assert deleted.outcome is Outcome.OK
    assert await store.read(tenant, "a") is None
    assert await ids(store, tenant) == await ids(store, tenant, "working") == []
    assert await client.zcard(keys.agents_alive(tenant)) == 0
    assert 0 < await client.ttl(keys.agent_history(tenant, "a")) <= 60
    again = await store.write(tenant, "a", put(status="idle"))
    assert again.state is not None
    assert (again.state.version, again.state.alive) == (4, None)
    assert await client.ttl(keys.agent_history(tenant, "a")) == -1
    told = [(one["type"], one["version"]) for one in await transitions(store, tenant, "a")]
    assert told == [("agent.created", 1), ("agent.alive", 2), ("agent.deleted", 3), ("agent.created", 4)]


async def test_versions_do_not_go_back_when_the_history_is_gone_too(
    client: Redis, store: AgentStore, tenant: str
) -> None:
    for n in range(5):
        await store.write(tenant, "a", put(n=n))
    await store.write(tenant, "b", put(n=0))
    await store.delete(tenant, "a", Conditions())
    await store.delete(tenant, "b", Conditions())
    await client.delete(keys.agent_history(tenant, "a"))
    again = await store.write(tenant, "a", put(n=0))
    assert again.state is not None
    assert again.state.version > 6


async def test_a_deletion_keeps_to_conditions(store: AgentStore, tenant: str) -> None:
    assert (await store.delete(tenant, "a", Conditions())).outcome is Outcome.MISSING
    await store.write(tenant, "a", put(n=1))
    refused = await store.delete(tenant, "a", only(2))
    assert refused.outcome is Outcome.CONFLICT
    assert refused.state == await store.read(tenant, "a")
    assert (await store.delete(tenant, "a", only(1))).outcome is Outcome.OK


# ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────


async def run_out(client: Redis, tenant: str, agent: str) -> None:
    """Let an agent's heartbeat have run out a second ago."""
    await client.zadd(keys.agents_alive(tenant), {agent: int(time.time() * 1000) - 1000})


async def test_a_heartbeat_is_a_transition_only_for_one_who_was_not_alive(store: AgentStore, tenant: str) -> None:
    assert await store.beat(tenant, "a", ttl_s=60) is None
    await store.write(tenant, "a", put(status="working"))
    first = await store.beat(tenant, "a", ttl_s=60)
    second = await store.beat(tenant, "a", ttl_s=120)
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (2, 2)
    assert 50 < second[1] - first[1] < 90
    state = await store.read(tenant, "a")
    assert state is not None
    assert (state.alive, state.alive_until, state.version) == (True, second[1], 2)
    [_, alive] = await transitions(store, tenant, "a")
    assert (alive["type"], alive["changed"]) == ("agent.alive", {"alive": True, "alive_until": first[1]})


async def test_a_death_is_written_down_once_whoever_sweeps(client: Redis, store: AgentStore, tenant: str) -> None:
    for agent in ("a", "b"):
        await store.write(tenant, agent, put(status="working"))
        await store.beat(tenant, agent, ttl_s=60)
    await run_out(client, tenant, "a")
    lapsed = await store.read(tenant, "a")
    assert lapsed is not None
    assert (lapsed.alive, lapsed.has_lapsed, lapsed.version) == (False, True, 2)
    await asyncio.gather(*(store_of(client).sweep() for _ in range(8)))
    dead = await store.read(tenant, "a")
    assert dead is not None
    assert (dead.alive, dead.has_lapsed, dead.version) == (False, False, 3)
    assert dead.alive_until == lapsed.alive_until
    told = await transitions(store, tenant, "a")
    assert [one["type"] for one in told] == ["agent.created", "agent.alive", "agent.dead"]
    assert told[-1]["changed"] == {"alive": False, "alive_until": dead.alive_until}
    assert [one["type"] for one in await transitions(store, tenant, "b")] == ["agent.created", "agent.alive"]
    assert await ids(store, tenant, "working") == ["a", "b"]  # a death is a change


async def test_one_that_comes_back_before_the_sweep_was_dead_all_the_same(
    client: Redis, store: AgentStore, tenant: str
) -> None:
    await store.write(tenant, "a", put(status="working"))
    await store.beat(tenant, "a", ttl_s=60)
    await run_out(client, tenant, "a")
    back = await store.beat(tenant, "a", ttl_s=60)
    assert back is not None
    assert back[0] == 4
    assert await store.sweep() == 0
    types = [one["type"] for one in await transitions(store, tenant, "a")]
    assert types == ["agent.created", "agent.alive", "agent.dead", "agent.alive"]
    raw = await client.hgetall(keys.agent(tenant, "a"))
    assert b"alive_until" not in raw


async def test_many_deaths_at_once_are_all_written_down(client: Redis, tenant: str) -> None:
    store = store_of(client, agents=500)
    names = [f"agent-{n}" for n in range(250)]
    for name in names:
        await store.write(tenant, name, put(n=1))
        await store.beat(tenant, name, ttl_s=60)
    await client.zadd(keys.agents_alive(tenant), dict.fromkeys(names, 1))
    assert await store.sweep() == 250
    assert await store.sweep() == 0


async def test_deaths_of_many_tenants_are_written_down_by_a_redis_that_knows_no_script_yet(own_client: Redis) -> None:
    store = store_of(own_client)
    tenants = [uuid.uuid4().hex for _ in range(120)]
    for tenant in tenants:
        await store.write(tenant, "a", put(n=1))
        await store.beat(tenant, "a", ttl_s=60)
        await run_out(own_client, tenant, "a")
    await own_client.script_flush()
    assert await store.sweep() == len(tenants)
    assert await store.sweep() == 0


async def test_a_tenant_is_swept_until_long_after_its_last_heartbeat(own_client: Redis, tenant: str) -> None:
    now_s = time.time()
    store = store_of(own_client)
    await store.write(tenant, "a", put(n=1))
    await store.beat(tenant, "a", ttl_s=1)
    await run_out(own_client, tenant, "a")
    # Deja was away for two days: the death is told before the tenant is forgotten.
    assert await store_of(own_client, now_s=now_s + 2 * 86_400).sweep() == 1
    assert await own_client.zcard(keys.AGENT_TENANTS) == 0
    await store_of(own_client).beat(tenant, "a", ttl_s=1)
    await store_of(own_client).sweep()
    assert await own_client.zrange(keys.AGENT_TENANTS, 0, -1) == [tenant.encode()]


async def test_nobody_dies_of_a_full_redis(own_client: Redis, tenant: str) -> None:
    store = store_of(own_client)
    for agent in ("a", "b", "c"):
        await store.write(tenant, agent, put(status="working"))
        await store.beat(tenant, agent, ttl_s=60)
    before = await store.read(tenant, "a")
    await run_out(own_client, tenant, "b")
    await own_client.config_set("maxmemory-policy", "noeviction")
    await own_client.config_set("maxmemory", 1)
    with pytest.raises(StoreFullError):
        await store.write(tenant, "a", patch(n=1))
    assert await store.read(tenant, "a") == before
    assert await store.beat(tenant, "a", ttl_s=600) is not None
    assert await store.sweep() == 1
    assert (await store.delete(tenant, "c", Conditions())).outcome is Outcome.OK
    await own_client.config_set("maxmemory", 0)
    state = await store.read(tenant, "b")
    assert state is not None
    assert (state.alive, state.version) == (False, 3)
    assert [one["version"] for one in await transitions(store, tenant, "c")] == [1, 2, 3]
    again = await store.write(tenant, "c", put(n=1))
    assert again.state is not None
    assert again.state.version == 4


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_agents_are_listed_by_their_last_change_and_by_status(store: AgentStore, tenant: str) -> None:
    for agent in ("a", "b", "c"):
        await store.write(tenant, agent, put(status="working", checkpoint="large"))
        await asyncio.sleep(0.002)
    await store.write(tenant, "a", patch(status="5"))
    assert await ids(store, tenant) == ["a", "c", "b"]
    assert await ids(store, tenant, "working") == ["c", "b"]
    assert await ids(store, tenant, "5") == ["a"]
    assert await ids(store, tenant, "unheard-of") == []
    await store.write(tenant, "a", put(n=1))
    assert await ids(store, tenant, "5") == []
    [(_, first), *_], newest = await store.page(tenant, status=None, below=None, count=1)
    assert first.fields == {}
    assert newest != "0-0"


async def test_pages_lose_nothing_where_many_changed_in_one_millisecond(
    client: Redis, store: AgentStore, tenant: str
) -> None:
    names = [f"agent-{n:02}" for n in range(30)]
    for name in names:
        await store.write(tenant, name, put(n=1))
    await client.zadd(keys.agents(tenant), dict.fromkeys(names, 1_000))
    found: list[str] = []
    below: Seat | None = None
    while True:
        rows, _ = await store.page(tenant, status=None, below=below, count=7)
        if not rows:
            break
        found += [state.agent_id for _, state in rows]
        below = rows[-1][0]
    assert found == names[::-1]


# ── histories ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_history_is_bounded_in_number_and_says_that_something_is_gone(client: Redis, tenant: str) -> None:
    store = store_of(client, history=100, feed=100)
    for n in range(400):
        await store.write(tenant, "a", put(n=n))
    assert 100 <= await client.xlen(keys.agent_history(tenant, "a")) <= 200
    assert 100 <= await client.xlen(keys.agents_feed(tenant)) <= 200
    entries, is_gap = await store.history(tenant, "a", after="1-0", count=10)
    assert is_gap
    assert len(entries) == 10
    last = (await transitions(store, tenant, "a"))[-1]
    assert (last["version"], last["changed"]) == (400, {"n": 399})
    entries, is_gap = await store.history(tenant, "a", after=last["id"], count=10)
    assert (entries, is_gap) == ([], False)


async def test_a_history_is_bounded_in_bytes_and_keeps_the_last(client: Redis, tenant: str) -> None:
    store = store_of(client, history_bytes=100_000)
    for n in range(40):
        await store.write(tenant, "a", put(checkpoint=f"{n}" + "x" * 9_000))
    assert await client.memory_usage(keys.agent_history(tenant, "a")) <= 100_000
    assert await client.memory_usage(keys.agents_feed(tenant)) <= 100_000
    told = await transitions(store, tenant, "a")
    assert 5 <= len(told) <= 12
    assert [one["version"] for one in told] == list(range(41 - len(told), 41))


async def test_one_tenants_agents_are_not_anothers(store: AgentStore, tenant: str) -> None:
    await store.write(tenant, "a", put(status="working"))
    other = uuid.uuid4().hex
    assert await store.read(other, "a") is None
    assert await ids(store, other) == await ids(store, other, "working") == []
    assert await store.beat(other, "a", ttl_s=1) is None
    assert (await store.delete(other, "a", Conditions())).outcome is Outcome.MISSING
    assert not await store.has_history(other, "a")


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_history_tells_how_each_state_came_to_be(
    client: Redis, store: AgentStore, tenant: str, seed: int
) -> None:
    """Any mix of writes, deletions, heartbeats, deaths: laid over each other, `changed` gives the state; no version is missing."""
    chance = random.Random(seed)
    agents = ("a", "b")
    for _ in range(150):
        agent = chance.choice(agents)
        fields = {name: chance.choice([1, "5", "x", None, {"k": 1}]) for name in chance.sample(["status", "p", "q"], 2)}
        if not isinstance(fields.get("status", "x"), str):
            fields["status"] = "idle"
        given = {name: value for name, value in fields.items() if value is not None}
        match chance.randrange(8):
            case 0 | 1:
                await store.write(tenant, agent, put(**given))
            case 2 | 3:
                gone = [name for name, value in fields.items() if value is None]
                await store.write(tenant, agent, patch(*gone, **given))
            case 4:
                await store.delete(tenant, agent, Conditions())
            case 5 | 6:
                await store.beat(tenant, agent, ttl_s=60)
            case 7:
                if await client.zscore(keys.agents_alive(tenant), agent) is not None:
                    await run_out(client, tenant, agent)
                await store.sweep()
    for agent in agents:
        laid: dict[str, Any] = {}
        version = 0
        for told in await transitions(store, tenant, agent):
            assert told["version"] == version + 1 or (told["type"] == "agent.created" and told["version"] > version)
            version = told["version"]
            if told["type"] in ("agent.created", "agent.deleted"):
                laid = {}
            laid = {name: value for name, value in (laid | told["changed"]).items() if value is not None}
        state = await store.read(tenant, agent)
        rows, _ = await store.page(tenant, status=None, below=None, count=10)
        listed = {row.agent_id: row for _, row in rows}
        if state is None:
            assert agent not in listed
            assert not laid
            continue
        alive, _until = laid.pop("alive", None), laid.pop("alive_until", None)
        assert (laid, alive, version) == (state.fields, state.alive, state.version)
        assert listed[agent].version == state.version
        for status in ("idle", "x", "5"):
            assert (agent in await ids(store, tenant, status)) is (state.fields.get("status") == status)
