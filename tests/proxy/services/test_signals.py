"""Signals between many listeners on a real Redis: the slow one delays nobody and is told; Redis' absence is told, and mended."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from proxy.core.coordination import keys, signals
from proxy.core.coordination.signals import Frame
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services.background import Background
from proxy.services.signals import Signals, Subscription
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.signals import SignalBus
from tests.redis_server import private_redis, private_server

QUEUE = 8


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


class Rig:
    """Signals on one Redis, with what they told."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client: Redis = open_client(url, deadline_ms=5000)
        self.background = Background()
        self.guard = Guard(self.client.ping)
        self.bus = SignalBus(self.client, open_client(url, deadline_ms=None, max_connections=1))
        self.counted: Counter[str] = Counter()
        wanted: dict[str, Any] = {
            "deadline_s": 5.0,
            "message_bytes": 1000,
            "queue_signals": QUEUE,
            "max_subscribers": 1000,
            "now": lambda: 12.5,
            "on_missed": lambda count: self.counted.update(missed=count),
        }
        self.signals = Signals(self.bus, self.guard, self.background, **(wanted | options))
        self.background.spawn(self.signals.run(), name="signals")

    async def aclose(self) -> None:
        self.signals.close()
        await self.background.aclose()
        await self.guard.aclose()
        await self.bus.aclose()
        await self.client.aclose()


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    opened = Rig(redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def told(subscription: Subscription, count: int) -> list[Any]:
    """The first `count` things a listener is told: the data of a signal, or a notice."""
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            frames = await subscription.take()
            assert frames is not None, "it ended early"
            found += [shown(frame) for frame in frames]
    return found


def shown(frame: Frame) -> Any:
    value = orjson.loads(frame.text)
    return value["data"] if frame.is_signal else value


async def test_everyone_who_listens_gets_everything_in_order(rig: Rig, tenant: str) -> None:
    listeners = [await rig.signals.subscribe(tenant, "c") for _ in range(20)]
    for n in range(QUEUE):
        _, receivers = await rig.signals.publish(tenant, "c", n, agent="planner")
        assert receivers == 1, "one process, however many listen in it"
    for listener in listeners:
        assert await told(listener, QUEUE) == list(range(QUEUE))


async def test_nobody_gets_what_another_channel_or_tenant_sends(rig: Rig, tenant: str) -> None:
    mine = await rig.signals.subscribe(tenant, "c")
    assert (await rig.signals.publish(tenant, "d", 1, agent=None))[1] == 0
    assert (await rig.signals.publish(uuid.uuid4().hex, "c", 2, agent=None))[1] == 0
    await rig.signals.publish(tenant, "c", 3, agent=None)
    assert await told(mine, 1) == [3]


async def test_a_slow_listener_delays_nobody_and_is_told_what_it_missed_in_its_place(rig: Rig, tenant: str) -> None:
    slow, quick = await rig.signals.subscribe(tenant, "c"), await rig.signals.subscribe(tenant, "c")
    for n in range(30):
        await rig.signals.publish(tenant, "c", n, agent=None)
        assert await told(quick, 1) == [n]
    assert await told(slow, QUEUE + 1) == [{"missed": 30 - QUEUE}, *range(30 - QUEUE, 30)]
    await rig.signals.publish(tenant, "c", 30, agent=None)
    assert await told(slow, 1) == [30]
    assert rig.counted["missed"] == 30 - QUEUE


async def test_what_is_published_by_hand_arrives_too(rig: Rig, tenant: str) -> None:
    listener = await rig.signals.subscribe(tenant, "c")
    await rig.client.publish(f"deja:v1:signal:{{{tenant}}}:c", "any text")
    assert await told(listener, 1) == ["any text"]


async def test_listeners_may_come_and_go_and_the_channel_with_the_last_of_them(rig: Rig, tenant: str) -> None:
    async def visit(n: int) -> None:
        for _ in range(5):
            listener = await rig.signals.subscribe(tenant, f"c{n % 3}")
            assert (await rig.signals.publish(tenant, f"c{n % 3}", n, agent=None))[1] == 1
            await told(listener, 1)
            rig.signals.release(listener)
            rig.signals.release(listener)

    await asyncio.gather(*(visit(n) for n in range(30)))
    assert rig.signals.subscribers == 0
    async with asyncio.timeout(5):
        while await rig.client.pubsub_channels(keys.signal(tenant, "*")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_there_are_so_many_listeners_and_no_more(redis_url: str, tenant: str) -> None:
    rig = Rig(redis_url, max_subscribers=2)
    listeners = [await rig.signals.subscribe(tenant, "c") for _ in range(2)]
    with pytest.raises(RequestError) as caught:
        await rig.signals.subscribe(tenant, "c")
    assert (caught.value.status, caught.value.code) == (429, "too_many_subscribers")
    rig.signals.release(listeners[0])
    await rig.signals.subscribe(tenant, "c")
    await rig.aclose()


async def test_a_lost_connection_is_told_and_mended_without_the_listeners_doing(rig: Rig, tenant: str) -> None:
    one, other = await rig.signals.subscribe(tenant, "c"), await rig.signals.subscribe(tenant, "d")
    await rig.signals.publish(tenant, "c", 1, agent=None)
    assert await told(one, 1) == [1]
    await rig.client.client_kill_filter(_type="pubsub")
    for listener in (one, other):
        assert [list(notice) for notice in await told(listener, 2)] == [["interrupted"], ["resumed"]]
    await rig.signals.publish(tenant, "c", 2, agent=None)
    assert await told(one, 1) == [2]


async def test_redis_killed_and_started_again_is_told_and_mended(tenant: str) -> None:
    with private_server() as server:
        rig = Rig(server.url, deadline_s=0.5)
        listener = await rig.signals.subscribe(tenant, "c")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert [list(notice) for notice in await told(listener, 1)] == [["interrupted"]]
        # The supervisor starts it again, as in production.
        assert [list(notice) for notice in await told(listener, 1)] == [["resumed"]]
        async with asyncio.timeout(10):
            while True:
                try:
                    await rig.signals.publish(tenant, "c", 2, agent=None)
                    break
                except StoreUnavailableError:
                    await asyncio.sleep(0.05)
        assert await told(listener, 1) == [2]
        assert rig.signals.subscribers == 1
        await rig.aclose()


async def test_without_redis_nobody_is_made_to_believe_that_they_are_heard(tenant: str) -> None:
    rig = Rig("redis://127.0.0.1:1", deadline_s=0.2)
    with pytest.raises(StoreUnavailableError):
        await rig.signals.publish(tenant, "c", 1, agent=None)
    with pytest.raises(StoreUnavailableError):
        await rig.signals.subscribe(tenant, "c")
    assert rig.signals.subscribers == 0
    await rig.aclose()


async def test_closing_ends_every_listener_once_it_has_what_waits(rig: Rig, tenant: str) -> None:
    busy, idle = await rig.signals.subscribe(tenant, "c"), await rig.signals.subscribe(tenant, "d")
    await rig.signals.publish(tenant, "c", 1, agent=None)
    async with asyncio.timeout(5):
        while not busy._queue:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    rig.signals.close()
    assert await told(busy, 1) == [1]
    assert await busy.take() is None
    assert await idle.take() is None


async def test_a_nudge_gives_nothing_and_loses_nothing(rig: Rig, tenant: str) -> None:
    listener = await rig.signals.subscribe(tenant, "c")
    waiting = rig.background.spawn(listener.take(), name="wait")
    await asyncio.sleep(0)
    listener.nudge()
    assert await waiting == []
    await rig.signals.publish(tenant, "c", 1, agent=None)
    assert await told(listener, 1) == [1]


@given(st.lists(st.sampled_from(["signal", "notice", "take"]), max_size=60), st.integers(1, 5))
def test_whatever_the_order_every_signal_is_shown_or_counted(moves: list[str], bound: int) -> None:
    async def play() -> None:
        subscription = Subscription("k", queue_signals=bound, on_missed=lambda count: None)
        sent, seen, notices, noticed = 0, [], 0, 0

        async def look() -> None:
            nonlocal noticed
            subscription.nudge()
            for frame in await subscription.take() or []:
                if frame.is_signal:
                    seen.append(shown(frame))
                elif "missed" in frame.text:
                    seen.extend([None] * shown(frame)["missed"])
                else:
                    noticed += 1

        for move in moves:
            match move:
                case "signal":
                    raw = signals.message(sent, signal_id="s", channel="c", agent=None, at=0)
                    subscription.offer(signals.received(raw, channel="c", at=0))
                    sent += 1
                case "notice":
                    subscription.offer(signals.interrupted())
                    notices += 1
                case _ if subscription._queue:
                    await look()
        subscription.close()
        while subscription._queue:
            await look()
        assert len(seen) == sent, "each is shown or counted as missed"
        assert all(value in (None, place) for place, value in enumerate(seen)), "in its place"
        assert (noticed > 0) == (notices > 0), "a notice is never lost altogether"

    asyncio.run(play())


# --- written at once --------------------------------------------------------------------------------------------------------------


def frame(number: int) -> Frame:
    return Frame(str(number), b"%d" % number, is_signal=True)


async def test_one_that_waits_is_written_to_at_once_and_all_else_keeps_its_place() -> None:
    written: list[str] = []
    is_slow = False

    def write(one: Frame) -> bool:
        if not is_slow:
            written.append(one.text)
        return not is_slow

    listener = Subscription("key", queue_signals=QUEUE, on_missed=lambda _: None)
    listener.write = write
    listener.offer(frame(0))  # nobody waits yet: what it says first must come first
    assert [one.text for one in await listener.take() or ()] == ["0"]
    taking = asyncio.get_running_loop().create_task(listener.take())
    await asyncio.sleep(0)
    listener.offer(frame(1))
    listener.offer(frame(2))
    assert written == ["1", "2"]
    assert not taking.done()
    is_slow = True
    listener.offer(frame(3))
    is_slow = False
    listener.offer(frame(4))  # behind the third, which waits
    assert [one.text for one in await taking or ()] == ["3", "4"]
    assert written == ["1", "2"]
