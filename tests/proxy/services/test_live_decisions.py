from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, nullcontext
from typing import Any

import orjson
import pytest

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord, told
from proxy.errors import StoreUnavailableError
from proxy.ports import StreamEntry
from proxy.services.background import Background
from proxy.services.live_decisions import SHOWN, Batch, LiveDecisions

TENANT = "a" * 32
AT = keys.decision_keys(TENANT)


def decided(number: int, outcome: str = "exact", asked: str | None = None, namespace: str = "") -> DecisionRecord:
    return DecisionRecord(
        f"req_{number}", float(number), TENANT, namespace, "gpt-4o", "room", "", outcome, "", asked=asked
    )


def pack(*records: DecisionRecord) -> StreamEntry:
    """What `stores.decisions` writes of those that the semantic tier was not asked for."""
    return StreamEntry("1-0", {"request_ids": "…", "decisions": orjson.dumps([told(one) for one in records]).decode()})


def single(record: DecisionRecord) -> StreamEntry:
    return StreamEntry("1-0", {"request_id": "…", "decision": orjson.dumps(told(record)).decode()})


class Tails:
    """Hands out what a test has for a stream, then says that nothing happens."""

    def __init__(self, **streams: list[StreamEntry]) -> None:
        self.streams = {getattr(AT, name): entries for name, entries in streams.items()}
        self.is_away = False
        self.open = 0

    async def follow(self, key: str, *, after: str | None) -> AsyncIterator[list[StreamEntry]]:
        assert after is None
        if self.is_away:
            raise StoreUnavailableError("Redis is away")
        self.open += 1
        try:
            if key in self.streams:
                yield self.streams[key]
            while True:
                await asyncio.sleep(0.001)
                yield []
        finally:
            self.open -= 1


class Store:
    """Recorded decisions, newest first."""

    def __init__(self, *records: DecisionRecord) -> None:
        self.records = sorted(records, key=lambda one: -one.at)

    async def recent(
        self, tenant: str, namespace: str | None = None, *, limit: int, is_judged: bool = True
    ) -> AsyncIterator[DecisionRecord]:
        fitting = [one for one in self.records if one.is_judged == is_judged and namespace in (None, one.namespace)]
        for one in fitting[:limit]:
            yield one

    def told_in(self, tenant: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        assert tenant == TENANT
        found: list[dict[str, Any]] = (
            [orjson.loads(fields["decision"])] if "decision" in fields else orjson.loads(fields["decisions"])
        )
        return found


class Guard:
    def within(self, _: float) -> Any:
        return nullcontext()


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    opened = Background()
    yield opened
    await opened.aclose()


def live(background: Background, *records: DecisionRecord, tails: Tails | None = None) -> LiveDecisions:
    return LiveDecisions(Store(*records), tails or Tails(), Guard(), background)  # type: ignore[arg-type]


async def first(live: LiveDecisions) -> Batch:
    """The first batch with anything in it."""
    async with aclosing(live.follow(TENANT)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            if batch.records:
                return batch
    raise AssertionError("it ended")


RECORDS = (decided(1), decided(2, "semantic", asked="a"), decided(3), decided(4, "miss", asked="b", namespace="n"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"limit": 2}, [4, 3]),
        ({"namespace": "n"}, [4]),
        ({"outcome": "exact", "limit": 1}, [3]),
        ({"outcome": "stale"}, []),
    ],
    ids=["all", "the last two", "a namespace", "an outcome", "none"],
)
async def test_the_last_decisions_of_both_streams_are_listed_newest_first(
    background: Background, wanted: dict[str, Any], found: list[int]
) -> None:
    asked = {"namespace": None, "outcome": None, "limit": 10, "looked_at": 10} | wanted
    assert [int(one.at) for one in await live(background, *RECORDS).recent(TENANT, **asked)] == found


async def test_what_is_judged_and_what_comes_in_packs_is_followed(background: Background) -> None:
    judged = decided(1, "semantic", asked="a")
    assert (await first(live(background, tails=Tails(judged=[single(judged)])))).records == (judged,)
    others = (decided(2), decided(3))
    assert (await first(live(background, tails=Tails(other=[pack(*others)])))).records == others


async def test_of_a_burst_the_last_are_handed_on_and_the_others_counted(background: Background) -> None:
    burst = [decided(number) for number in range(1, SHOWN + 6)]
    batch = await first(live(background, tails=Tails(other=[pack(*burst)])))
    assert batch == Batch(tuple(burst[5:]), left_out=5)


async def test_who_stops_looking_leaves_no_reader_behind(background: Background) -> None:
    tails = Tails(other=[pack(decided(1))])
    await first(live(background, tails=tails))
    await background.aclose()
    assert tails.open == 0


async def test_without_redis_following_ends_instead_of_hanging(background: Background) -> None:
    tails = Tails()
    tails.is_away = True
    assert [batch async for batch in live(background, tails=tails).follow(TENANT)] == []


async def test_an_unforeseen_failure_ends_what_is_followed(background: Background) -> None:
    class Broken:
        async def follow(self, key: str, *, after: None) -> AsyncIterator[Any]:
            raise ValueError(key)
            yield

    async with asyncio.timeout(5):
        assert [one async for one in live(background, tails=Broken()).follow(TENANT)] == []  # type: ignore[arg-type]
