from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.records import Record
from proxy.core.sessions import Message, Session
from proxy.core.traces import Trace
from proxy.stores.session_index import ALL, ListedForks, SessionIndex, facets
from proxy.stores.session_records import SessionRecords
from proxy.stores.sessions import Limits, SessionStore
from proxy.stores.traces import TraceStore

LIMITS = Limits(ttl_s=60, max_turns=10, max_bytes=2000)


class Parts:
    """What stores sessions, for one tenant."""

    def __init__(self, client: Redis, limits: Limits = LIMITS, *, ahead_s: float = 0.0) -> None:
        self.client = client
        self.tenant = uuid.uuid4().hex
        self.index = SessionIndex(client, ttl_s=limits.ttl_s)
        self.store = SessionStore(client, self.index, limits=limits)
        self.traces = TraceStore(client)
        self.now = lambda: time.time() + ahead_s
        self.records = SessionRecords(client, self.index, limits=limits, trace_s=60, now=self.now)

    async def append(self, session: str, *texts: str, **more: Any) -> Any:
        fields = {"key": "", "digest": "", "user": None, "agent": None} | more
        return await self.store.append(self.tenant, session, [message(text) for text in texts], **fields)

    async def read(self, session: str, turns: int = 100) -> Session:
        found = await self.store.read(self.tenant, session, turns=turns)
        assert found is not None
        return found

    async def said(self, session: str) -> list[str]:
        return [turn["message"]["content"] for turn in (await self.read(session)).turns]

    def record(
        self, request_id: str, *, session: str | None = "s", began_at: float | None = None, **more: Any
    ) -> Record:
        at = self.now()
        turns = (("user", message(f"{request_id} asks").wire), ("assistant", message(f"{request_id} hears").wire))
        fields: dict[str, Any] = {"agent": None, "events": (), "turns": turns, "user": None} | more
        return Record(at, self.tenant, request_id, session, began_at=at if began_at is None else began_at, **fields)

    async def listed(self, *wanted: str) -> list[str]:
        found = await self.index.page(self.tenant, wanted or [ALL], limit=100, after=("+inf", ""))
        return [session for session, _ in found]

    async def keys(self, session: str) -> dict[str, int]:
        """Kinds of the session's keys, and how many ms each is kept."""
        tag = keys.session_tag(self.tenant, session)
        names = [key async for key in self.client.scan_iter(keys.session_key(tag, "*"))]
        return {name.decode().rpartition(":")[2]: await self.client.pttl(name) for name in names}


def message(text: str, tokens: int = 3) -> Message:
    return Message("user", orjson.dumps({"role": "user", "content": text}), tokens)


@pytest.fixture
def parts(client: Redis) -> Parts:
    return Parts(client)


# --- what is kept -----------------------------------------------------------------------------------------------------------------


async def test_older_messages_go_first_and_the_counts_are_those_of_what_is_left(parts: Parts) -> None:
    for number in range(14):
        await parts.append("s", f"{number}")
    found = await parts.read("s")
    assert await parts.said("s") == [f"{number}" for number in range(4, 14)]
    assert (found.about.turns, found.about.tokens, found.about.trimmed) == (10, 30, 4)


async def test_bytes_are_bounded_too_and_the_newest_message_stays_whatever_its_size(parts: Parts) -> None:
    await parts.append("s", "small", "x" * 1500)
    await parts.append("s", "y" * 1500)
    assert await parts.said("s") == ["y" * 1500]
    await parts.append("s", "z" * 5000)
    assert await parts.said("s") == ["z" * 5000]
    assert (await parts.read("s")).about.turns == 1


async def test_all_keys_of_a_session_have_one_time_to_live_refreshed_by_reading(parts: Parts) -> None:
    await parts.append("s", "hi", user="ann", key="k")
    await parts.store.write_data(parts.tenant, "s", b"{}", version=0)
    await parts.records.append([parts.record("req_1")])
    await parts.store.set(parts.tenant, "s", {"ttl_s": "30"})
    tag = keys.session_tag(parts.tenant, "s")
    for name in ("steps", "events"):  # written by others, who know only the default
        await parts.client.hset(keys.session_key(tag, name), "x", "y")
        await parts.client.expire(keys.session_key(tag, name), 60)
    await parts.read("s", turns=0)
    lives = await parts.keys("s")
    assert {"turns", "meta", "data", "writes", "users", "steps", "events"} <= lives.keys()
    assert all(29_000 < ms <= 30_000 for name, ms in lives.items() if name not in ("requests", "erased"))


async def test_a_request_is_written_once_however_often_it_is_sent(parts: Parts) -> None:
    batch = [parts.record(f"req_{number}") for number in range(3)]
    assert await parts.records.append(batch) == [True] * 3
    assert await parts.records.append(batch) == [True] * 3
    assert len(await parts.said("s")) == 6


async def test_what_was_written_before_is_remembered_for_many_writes_and_not_for_ever(client: Redis) -> None:
    parts = Parts(client, Limits(ttl_s=60, max_turns=5000, max_bytes=10**7))
    await parts.append("s", "first", key="k", digest="d")
    for start in range(0, 1200, 200):
        await parts.records.append([parts.record(f"req_{start + number}") for number in range(200)])
        if start == 200:
            assert (await parts.append("s", "first", key="k", digest="d")).is_repeated
    tag = keys.session_tag(parts.tenant, "s")
    assert await client.hlen(keys.session_key(tag, "writes")) <= 1000


async def test_scripts_that_redis_has_forgotten_are_loaded_again(parts: Parts) -> None:
    await parts.records.append([parts.record("req_1")])
    await parts.client.script_flush()
    await parts.records.append([parts.record("req_2")])
    await parts.records.settle([parts.record("req_2")])
    assert len(await parts.said("s")) == 4


# --- lists ------------------------------------------------------------------------------------------------------------------------


async def test_sessions_whose_time_is_over_leave_every_list_by_the_next_write(client: Redis) -> None:
    parts = Parts(client)
    await parts.append("gone", "hi", user="ann", agent="a")
    for name in ("active", "expiry"):
        await client.zadd(keys.session_index(parts.tenant, name), {"gone": 1})
    await parts.append("there", "hi", user="ann", agent="a")
    assert await parts.listed() == await parts.listed(*facets(parts.tenant, user="ann", agent="a")) == ["there"]
    assert not await client.exists(keys.session_index(parts.tenant, "facets:gone"))


async def test_a_list_leaves_out_what_is_not_there_and_goes_on_behind_it(client: Redis) -> None:
    parts = Parts(client)
    for number in range(6):
        await parts.append(f"s{number}", "hi")
        await asyncio.sleep(0.002)
    for number in (1, 3, 4):
        await client.delete(keys.session_key(keys.session_tag(parts.tenant, f"s{number}"), "meta"))
    found, following = await parts.store.page(parts.tenant, user=None, agent=None, limit=2, after=("+inf", ""))
    assert [about.session for about in found] == ["s5", "s2"]
    assert following is not None
    rest, following = await parts.store.page(parts.tenant, user=None, agent=None, limit=2, after=following)
    assert ([about.session for about in rest], following) == (["s0"], None)
    assert len(await parts.listed()) == 6  # one that is just being written is not there yet


async def test_pages_go_on_where_many_were_written_to_in_one_moment(parts: Parts) -> None:
    names = sorted(f"s{number}" for number in range(25))
    for name in names:
        await parts.append(name, "hi")
    await parts.client.zadd(keys.session_index(parts.tenant, "active"), dict.fromkeys(names, 5_000_000_000_000))
    seen, after = [], ("+inf", "")
    while page := await parts.index.page(parts.tenant, [ALL], limit=4, after=after):
        seen += [name for name, _ in page]
        after = (page[-1][1], page[-1][0])
    assert seen == names[::-1]


async def test_a_fork_is_listed_wherever_its_parent_is(parts: Parts) -> None:
    class Forks:
        async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
            assert "child" in await parts.listed(), "listed before it is there"
            return True

    await parts.append("parent", "hi", user="ann", agent="a")
    assert await ListedForks(Forks(), parts.index).fork(parts.tenant, "parent", at=1, name="child", now_s=0.0)
    assert set(await parts.listed(*facets(parts.tenant, user="ann", agent="a"))) == {"parent", "child"}


# --- erasing ----------------------------------------------------------------------------------------------------------------------


async def test_what_began_before_an_erasure_is_refused_and_what_began_after_is_written(parts: Parts) -> None:
    before = parts.record("req_1")
    await asyncio.sleep(0.01)
    wiped = await parts.store.erase(parts.tenant, "s")
    assert (wiped.sessions, wiped.turns) == (0, 0)
    await asyncio.sleep(0.01)
    assert await parts.records.append([before, parts.record("req_2")]) == [False, True]
    assert await parts.said("s") == ["req_2 asks", "req_2 hears"]


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0], ids=["an hour behind", "an hour ahead"])
async def test_clocks_need_not_agree(client: Redis, ahead_s: float) -> None:
    parts = Parts(client, ahead_s=ahead_s)
    before = parts.record("req_1")
    await asyncio.sleep(0.01)
    await parts.store.erase(parts.tenant, "s")
    await asyncio.sleep(0.01)
    assert await parts.records.append([before, parts.record("req_2")]) == [False, True]


async def test_a_refused_request_leaves_the_session_on_no_list(parts: Parts) -> None:
    before = parts.record("req_1", user="ann", agent="a")
    await asyncio.sleep(0.01)
    await parts.store.erase(parts.tenant, "s")
    assert await parts.records.append([before]) == [False]
    assert await parts.listed() == await parts.listed(*facets(parts.tenant, user="ann")) == []
    assert (await parts.keys("s")).keys() == {"erased"}


async def test_a_session_erased_between_a_request_and_its_events_is_told(parts: Parts) -> None:
    record = parts.record("req_1")
    assert await parts.records.append([record]) == [True]
    assert await parts.records.settle([record]) == [True]
    await asyncio.sleep(0.002)
    await parts.store.erase(parts.tenant, "s")
    assert await parts.records.settle([record]) == [False]


async def test_a_users_requests_that_began_before_their_erasure_are_refused_in_any_session_and_in_none(
    parts: Parts,
) -> None:
    before = [parts.record(f"req_{session}", session=session, user="ann") for session in (None, "a", "b")]
    before.append(parts.record("req_bob", session="a", user="bob"))
    await asyncio.sleep(0.01)
    await parts.traces.mark_user(parts.tenant, "ann")
    await asyncio.sleep(0.01)
    after = parts.record("req_new", session="b", user="ann")
    assert await parts.records.append([*before, after]) == [False, False, False, True, True]
    assert await parts.said("a") == ["req_bob asks", "req_bob hears"]


async def test_a_users_part_of_a_shared_session_goes_and_the_counts_follow(parts: Parts) -> None:
    await parts.records.append([parts.record("req_1", user="ann"), parts.record("req_2", user="bob")])
    await parts.append("s", "by nobody")
    wiped = await parts.store.erase_user(parts.tenant, "s", "ann", ["req_1"])
    assert (wiped.is_whole, wiped.turns, wiped.sessions) == (False, 2, 0)
    found = await parts.read("s")
    assert [turn["message"]["content"] for turn in found.turns] == ["req_2 asks", "req_2 hears", "by nobody"]
    assert (found.about.turns, found.about.user) == (3, None)
    assert found.about.tokens == sum(turn["tokens"] for turn in found.turns)


async def test_a_session_that_was_never_a_users_is_left_alone(parts: Parts) -> None:
    await parts.append("s", "by nobody")
    wiped = await parts.store.erase_user(parts.tenant, "s", "ann", [])
    assert (wiped.is_whole, wiped.turns) == (False, 0)
    assert await parts.said("s") == ["by nobody"]


async def test_an_idle_erasure_leaves_nothing_but_its_mark(parts: Parts) -> None:
    await parts.append("s", "hi", user="ann")
    await parts.store.erase(parts.tenant, "s")
    lives = await parts.keys("s")
    assert lives.keys() == {"erased"}
    assert 86_000_000 < lives["erased"] <= 86_400_000


# --- traces -----------------------------------------------------------------------------------------------------------------------


async def test_traces_are_found_by_session_and_user_and_live_as_long_as_what_they_name(parts: Parts) -> None:
    stored = Trace("req_1", "s", "ent_1", "entry", "exact", "condemned")
    until = time.time() + 100
    await parts.traces.leave(stored, tenant=parts.tenant, user="ann", until_s=until)
    await parts.traces.leave(Trace("req_2", "s"), tenant=parts.tenant, user=None, until_s=until + 100)
    assert await parts.traces.of_session(parts.tenant, "s", limit=10) == [stored, Trace("req_2", "s")]
    assert await parts.traces.of_user(parts.tenant, "ann", limit=10) == [stored]
    found = await parts.traces.of_requests(parts.tenant, {"req_1"}, session="s", user="ann")
    assert found == [stored]
    lives = await parts.keys("s")
    assert 190_000 < lives["requests"] <= 201_000
    await parts.traces.drop(parts.tenant, [stored], session="s", user="ann")
    assert await parts.traces.of_user(parts.tenant, "ann", limit=10) == []


async def test_recorded_requests_leave_a_trace_that_outlives_no_decision(parts: Parts) -> None:
    await parts.records.append([parts.record("req_1", user="ann"), parts.record("req_2", session=None, user="ann")])
    assert await parts.traces.of_session(parts.tenant, "s", limit=10) == [Trace("req_1", "s")]
    assert {one.request_id for one in await parts.traces.of_user(parts.tenant, "ann", limit=10)} == {"req_1", "req_2"}
    lives: Mapping[str, int] = await parts.keys("s")
    assert 55_000 < lives["requests"] <= 62_000
