"""Events on a real Redis: pages that progress, trims that follow appends, consumers that wait and are woken."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from proxy.core.coordination import keys
from proxy.core.coordination.events import Filters, Retention
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services import event_groups, events
from proxy.services.background import Background
from proxy.services.event_groups import EventGroups
from proxy.services.events import Events, Page
from proxy.services.kept import Kept
from proxy.services.tails import Tails
from proxy.stores.append_file import AppendFile
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.event_groups import EventGroupStore
from proxy.stores.events import EventStore
from proxy.stores.tails import StreamTails
from tests.redis_server import private_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


class Rig:
    """Events and groups on one Redis, with what they counted."""

    def __init__(self, url: str, *, deadline_s: float = 5.0, max_events: int = 100) -> None:
        self.client: Redis = open_client(url, deadline_ms=5000)
        self.background = Background()
        self.guard = Guard(self.client.ping)
        self.stream_tails = StreamTails(self.client, open_client(url, deadline_ms=None, max_connections=1))
        self.tails = Tails(self.stream_tails, self.guard, self.background, deadline_s=deadline_s)
        self.counted: Counter[str] = Counter()
        retention = Retention(max_events=max_events, max_age_s=3600, max_unread_events=400)
        self.events = Events(
            EventStore(self.client, retention=retention, max_streams=100),
            self.tails,
            self.guard,
            Kept(
                AppendFile(self.client, self.client), self.guard, self.background, deadline_s=deadline_s, patience_s=5.0
            ),
            self.background,
            deadline_s=deadline_s,
            event_bytes=1000,
            body_bytes=10_000,
            on_append=lambda count: self.counted.update(appended=count),
            on_missed=lambda count: self.counted.update(missed=count),
        )
        self.groups = EventGroups(
            EventGroupStore(self.client, max_streams=100),
            self.tails,
            self.guard,
            self.background,
            deadline_s=deadline_s,
        )

    async def length(self, tenant: str) -> int:
        return int(await self.client.xlen(keys.events(tenant, "s")))

    async def aclose(self) -> None:
        self.tails.close()
        await self.background.aclose()
        await self.guard.aclose()
        await self.stream_tails.aclose()
        await self.client.aclose()


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    opened = Rig(redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def numbered(count: int, kind: str = "n") -> list[dict[str, str]]:
    return [{"type": kind, "data": str(n)} for n in range(count)]


async def read(
    rig: Rig,
    tenant: str,
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int = 100,
    is_ascending: bool = True,
    filters: Filters = Filters(),  # noqa: B008
) -> Page:
    return await rig.events.read(
        tenant, "s", after=after, before=before, limit=limit, is_ascending=is_ascending, filters=filters
    )


def data(page: Page) -> list[str]:
    return [entry.fields["data"] for entry in page.entries]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_ascending", [True, False], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("filters", [Filters(), Filters(types=("rare",))], ids=["all", "filtered"])
async def test_paging_shows_everything_once_and_ends(
    rig: Rig, tenant: str, monkeypatch: pytest.MonkeyPatch, is_ascending: bool, filters: Filters
) -> None:
    monkeypatch.setattr(events, "PAGE", 10)
    monkeypatch.setattr(events, "SCANNED", 20)
    sent = [{"type": "rare" if n % 37 == 5 else "n", "data": str(n)} for n in range(95)]
    await rig.events.append(tenant, "s", sent)
    found: list[str] = []
    position: str | None = None
    for _ in range(50):
        bounds = {"after": position} if is_ascending else {"before": position}
        page = await read(rig, tenant, limit=7, is_ascending=is_ascending, filters=filters, **bounds)
        assert page.position != position or not page.is_more, "no progress"
        found += data(page)
        position = page.position or position
        if not page.is_more:
            break
    wanted = [event["data"] for event in sent if not filters or event["type"] == "rare"]
    assert found == (wanted if is_ascending else wanted[::-1])


async def test_a_page_that_is_just_full_says_that_it_is_the_last(rig: Rig, tenant: str) -> None:
    await rig.events.append(tenant, "s", numbered(5))
    page = await read(rig, tenant, limit=5)
    assert (len(page.entries), page.is_more) == (5, False)
    assert (await read(rig, tenant, limit=4)).is_more


async def test_an_answer_of_large_events_is_shorter_and_says_where_to_go_on(
    rig: Rig, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ANSWER_BYTES", 5_000)
    await rig.events.append(tenant, "s", [{"type": "n", "data": str(n), "x": "x" * 1000} for n in range(20)])
    first = await read(rig, tenant)
    assert (data(first), first.is_more) == ([str(n) for n in range(5)], True)
    assert data(await read(rig, tenant, after=first.position, limit=1)) == ["5"]


async def test_an_empty_stream_has_no_position(rig: Rig, tenant: str) -> None:
    assert await read(rig, tenant) == Page([], None, is_more=False)


async def test_without_redis_nothing_is_acknowledged_or_read_or_followed(tenant: str) -> None:
    rig = Rig("redis://127.0.0.1:1", deadline_s=0.2)
    for attempt in (
        lambda: rig.events.append(tenant, "s", numbered(1)),
        lambda: read(rig, tenant),
        lambda: rig.events.follow(tenant, "s", after=None),
        lambda: rig.groups.acknowledge(tenant, "s", "g", ["1-1"]),
    ):
        with pytest.raises(StoreUnavailableError):
            await attempt()
    assert not rig.counted
    await rig.aclose()


# ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_is_trimmed_just_after_it_grew_too_long(rig: Rig, tenant: str) -> None:
    for _ in range(10):
        await rig.events.append(tenant, "s", numbered(100))
    async with asyncio.timeout(10):
        while await rig.length(tenant) >= 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert rig.counted == {"appended": 1000}


async def test_what_a_group_lost_is_counted(rig: Rig, tenant: str) -> None:
    await rig.groups.create(tenant, "s", "g", start="0-0")
    for _ in range(10):
        await rig.events.append(tenant, "s", numbered(100))
    await asyncio.sleep(events.TRIM_INTERVAL_S)
    await rig.events.sweep()
    assert rig.counted["missed"] == 600
    assert (await rig.groups.group(tenant, "s", "g")).missed_total == 600


async def test_the_sweep_trims_what_nobody_appends_to_and_forgets_who_has_nothing(rig: Rig, tenant: str) -> None:
    old_ms = int((time.time() - 7200) * 1000)
    await rig.events.append(tenant, "s", numbered(1))
    await rig.client.delete(keys.events(tenant, "s"))
    for n in range(150):
        await rig.client.xadd(keys.events(tenant, "s"), {"n": n}, id=f"{old_ms}-{n + 1}")
    await rig.events.sweep()
    assert await rig.length(tenant) < 100
    await rig.events.trim_now(tenant, "s", max_events=0, max_age_s=None, before=None)
    await rig.events.sweep()  # forgets the stream
    await rig.events.sweep()  # and then the tenant
    assert not [key async for key in rig.client.scan_iter(f"*{tenant}*")]
    assert not await rig.client.sismember(keys.EVENT_TENANTS, tenant)


async def test_a_new_policy_holds_at_once(rig: Rig, tenant: str) -> None:
    await rig.events.append(tenant, "s", numbered(100))
    await rig.events.append(tenant, "s", numbered(50))
    info = await rig.events.configure(tenant, "s", {"max_events": 10})
    assert info.retention.max_events == 10
    assert info.events < 100
    with pytest.raises(RequestError) as caught:
        await rig.events.delete(tenant, "other")
    assert caught.value.code == "stream_not_found"


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def consume(
    rig: Rig, tenant: str, consumer: str, *, wait_s: float, count: int = 10, idle_s: float = 60.0
) -> list[str]:
    found = await rig.groups.read(
        tenant, "s", "g", consumer, count=count, wait_s=wait_s, is_recovering=False, min_idle_s=idle_s
    )
    return [event.fields["data"] for event in found.events]


async def test_a_consumer_that_waits_is_woken_by_the_first_event(rig: Rig, tenant: str) -> None:
    await rig.groups.create(tenant, "s", "g", start="$")
    waiting = rig.background.spawn(consume(rig, tenant, "c", wait_s=20), name="wait")
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await rig.events.append(tenant, "s", numbered(2))
    assert await waiting == ["0", "1"]
    assert time.monotonic() - began < 4, "long before the next look"


async def test_many_waiting_consumers_share_what_comes_and_hold_one_connection(rig: Rig, tenant: str) -> None:
    await rig.groups.create(tenant, "s", "g", start="$")
    waiting = [rig.background.spawn(consume(rig, tenant, f"c{n}", wait_s=20, count=1), name="wait") for n in range(100)]
    await asyncio.sleep(0.5)
    assert sum(client["cmd"] == "xread" for client in await rig.client.client_list()) == 1
    await rig.events.append(tenant, "s", numbered(100))
    found = [n for each in await asyncio.gather(*waiting) for n in each]
    assert sorted(found, key=int) == [str(n) for n in range(100)]


async def test_a_wait_ends_in_time_or_with_deja(rig: Rig, tenant: str) -> None:
    await rig.groups.create(tenant, "s", "g", start="$")
    assert await consume(rig, tenant, "c", wait_s=0.05) == []
    waiting = rig.background.spawn(consume(rig, tenant, "c", wait_s=60), name="wait")
    await asyncio.sleep(0.05)
    rig.tails.close()
    assert await asyncio.wait_for(waiting, 5) == []


async def test_a_wait_finds_what_another_leaves_meanwhile(
    rig: Rig, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_groups, "LOOK_AGAIN_S", 0.05)
    await rig.groups.create(tenant, "s", "g", start="$")
    await rig.events.append(tenant, "s", numbered(1))
    assert await consume(rig, tenant, "dead", wait_s=0) == ["0"]
    assert await consume(rig, tenant, "heir", wait_s=10, idle_s=0.3) == ["0"]
