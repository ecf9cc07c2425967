"""Agents' states as a service: merges that race, lists that filter; on a real Redis. Single calls: tests/e2e/test_agents.py."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.coordination.agent_writes import Outcome, Write, Written
from proxy.core.coordination.agents import Bounds, Seat, State
from proxy.core.coordination.versions import Conditions, VersionConflictError, if_match
from proxy.errors import RequestError
from proxy.services import agents as agents_module
from proxy.services.agents import Agents
from proxy.services.background import Background
from proxy.services.kept import Kept
from proxy.services.tails import Tails
from proxy.stores.agents import AgentStore
from proxy.stores.append_file import AppendFile
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.tails import StreamTails
from tests.redis_server import private_redis

BOUNDS = Bounds(
    agents=100,
    fields=200,
    value_bytes=20_000,
    state_bytes=50_000,
    history=1000,
    feed=1000,
    history_bytes=4 << 20,
    deleted_ttl_s=60,
)


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
async def guard(client: Redis) -> AsyncIterator[Guard]:
    opened = Guard(client.ping)
    yield opened
    await opened.aclose()


class CountingStore(AgentStore):
    """Counts the scripts it runs."""

    writes = 0

    async def write(self, tenant: str, agent: str, write: Write) -> Written:
        self.writes += 1
        return await super().write(tenant, agent, write)


def service(client: Redis, guard: Guard, store: AgentStore | None = None) -> Agents:
    store = store or AgentStore(client, bounds=BOUNDS, now=time.time)
    background = Background()
    tails = Tails(StreamTails(client, client), guard, background, deadline_s=5.0)
    kept = Kept(AppendFile(client, client), guard, background, deadline_s=5.0, patience_s=5.0)
    return Agents(store, tails, guard, kept, bounds=BOUNDS, deadline_s=5.0)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


ALWAYS = Conditions()


async def test_patches_inside_one_field_lose_nothing_and_cost_a_write_each(
    client: Redis, guard: Guard, tenant: str
) -> None:
    store = CountingStore(client, bounds=BOUNDS, now=time.time)
    agents = service(client, guard, store)
    await agents.replace(tenant, "a", {"checkpoint": {"parts": {}}}, ALWAYS)
    patches = [{"checkpoint": {"parts": {f"p{n}": n}}} for n in range(100)]
    await asyncio.gather(*(agents.patch(tenant, "a", patch, ALWAYS) for patch in patches))
    state = await agents.read(tenant, "a")
    assert state.fields["checkpoint"] == {"parts": {f"p{n}": n for n in range(100)}}
    assert state.version == 101
    assert store.writes == 1 + 2 * 100  # one to learn what is there, one to write


async def test_processes_that_merge_into_one_field_lose_nothing_either(
    client: Redis, guard: Guard, tenant: str
) -> None:
    processes = [service(client, guard) for _ in range(4)]
    await processes[0].replace(tenant, "a", {}, ALWAYS)
    await asyncio.gather(
        *(
            process.patch(tenant, "a", {"checkpoint": {f"{number}-{n}": n}}, ALWAYS)
            for number, process in enumerate(processes)
            for n in range(20)
        )
    )
    state = await processes[0].read(tenant, "a")
    assert len(state.fields["checkpoint"]) == 80
    assert state.version == 81


async def test_a_merge_keeps_to_the_version_it_was_sent_for(client: Redis, guard: Guard, tenant: str) -> None:
    agents = service(client, guard)
    await agents.replace(tenant, "a", {"checkpoint": {"n": 1}}, ALWAYS)
    first = Conditions(match=if_match('"1"'))
    sent = [agents.patch(tenant, "a", {"checkpoint": {"by": n}}, first) for n in range(10)]
    results = await asyncio.gather(*sent, return_exceptions=True)
    conflicts = [result for result in results if isinstance(result, VersionConflictError)]
    assert len(conflicts) == 9
    assert {conflict.version for conflict in conflicts} == {2}
    with pytest.raises(VersionConflictError) as caught:
        await agents.patch(tenant, "a", {"checkpoint": {"x": 1}}, first)
    assert caught.value.version == 2


class HotStore:
    """A store whose field never is what it was."""

    def __init__(self) -> None:
        self.tries = 0

    async def write(self, tenant: str, agent: str, write: Write) -> Written:
        self.tries += 1
        return Written(Outcome.MOVED, "", None, {"checkpoint": f"{self.tries}"})


async def test_a_field_that_others_keep_changing_is_given_up_with_a_word(
    client: Redis, guard: Guard, tenant: str
) -> None:
    store = HotStore()
    agents = service(client, guard, store)  # type: ignore[arg-type]
    with pytest.raises(RequestError) as caught:
        await agents.patch(tenant, "a", {"checkpoint": {"x": 1}}, ALWAYS)
    assert (caught.value.status, caught.value.code) == (409, "write_contention")
    assert store.tries == agents_module.MERGE_TRIES


async def pages(agents: Agents, tenant: str, *, limit: int, **filters: Any) -> list[list[str]]:
    found: list[list[str]] = []
    below: Seat | None = None
    wanted: dict[str, Any] = {"status": None, "alive": None} | filters
    while True:
        states, below, _ = await agents.page(tenant, below=below, limit=limit, **wanted)
        found.append([state.agent_id for state in states])
        if below is None:
            return found


async def test_a_filtered_list_is_whole_however_many_are_left_out(
    client: Redis, guard: Guard, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents_module, "WINDOW", 4)
    agents = service(client, guard)
    for n in range(20):
        await agents.replace(tenant, f"a{n:02}", {"status": "working"}, ALWAYS)
        if n in (1, 2, 17):
            await agents.beat(tenant, f"a{n:02}", ttl_s=60)
        await asyncio.sleep(0.002)  # or several change in the same millisecond, and stand by name
    assert await pages(agents, tenant, limit=2, alive=True) in (
        [["a17", "a02"], ["a01"]],
        [["a17", "a02"], ["a01"], []],
    )
    assert await pages(agents, tenant, limit=5, alive=False) == [[]]
    everyone = [f"a{n:02}" for n in reversed(range(20))]
    for status in (None, "working"):
        found = await pages(agents, tenant, limit=7, status=status)
        assert [name for page in found for name in page] == everyone
    assert await pages(agents, tenant, limit=7, status="idle") == [[]]


async def test_a_watch_begins_with_the_state_and_goes_on_from_that_moment(
    client: Redis, guard: Guard, tenant: str
) -> None:
    agents = service(client, guard)
    await agents.replace(tenant, "a", {"n": 1}, ALWAYS)
    state, position = await agents.watched(tenant, "a", after=None)
    assert isinstance(state, State)
    assert state.version == 1
    entries, _ = await agents.history(tenant, "a", after=position, limit=10)
    assert entries == []
    await agents.patch(tenant, "a", {"n": 2}, ALWAYS)
    [told], _ = await agents.history(tenant, "a", after=position, limit=10)
    assert told["changed"] == {"n": 2}
    assert await agents.watched(tenant, "a", after=position) == (None, position)
