from __future__ import annotations

import uuid

import pytest
from redis.asyncio import Redis

from proxy.core import ledger_keys
from proxy.core.ledger import ALL, OTHER, Cell, Counts
from proxy.stores import ledger
from proxy.stores.ledger import LedgerStore, Spent

DAY = "2026-11-23"
NOW_S = 1_795_392_000.0


@pytest.fixture
def store(client: Redis) -> LedgerStore:
    return LedgerStore(client, keep_days=400)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def batch(
    tenant: str, day: str = DAY, model: str = "gpt-4o", **counts: int
) -> dict[tuple[str, str], dict[Cell, Counts]]:
    return {(tenant, day): {Cell(tenant, day, model, ""): dict(counts)}}


async def test_counts_of_all_workers_add_up(store: LedgerStore, tenant: str) -> None:
    assert await store.add("a1", batch(tenant, calls=1, spent=5), now_s=NOW_S) == [Spent(5, 5)]
    assert await store.add("b1", batch(tenant, calls=2, audit_spent=7), now_s=NOW_S) == [Spent(12, 12)]
    assert await store.read(tenant, [DAY]) == {
        Cell(tenant, DAY, "gpt-4o", ""): {"calls": 3, "spent": 5, "audit_spent": 7}
    }


async def test_a_batch_that_is_sent_again_counts_once(store: LedgerStore, tenant: str) -> None:
    for _ in range(3):
        assert await store.add("a1", batch(tenant, calls=1, spent=5), now_s=NOW_S) == [Spent(5, 5)]
    assert await store.read(tenant, [DAY]) == {Cell(tenant, DAY, "gpt-4o", ""): {"calls": 1, "spent": 5}}


async def test_one_batch_may_hold_several_tenants_and_days(store: LedgerStore, tenant: str) -> None:
    other = uuid.uuid4().hex
    both = batch(tenant, "2026-11-30", spent=1) | batch(tenant, "2026-12-01", spent=2) | batch(other, spent=4)
    assert await store.add("a1", both, now_s=NOW_S) == [Spent(1, 1), Spent(2, 2), Spent(4, 4)]
    assert set(await store.read(tenant, ["2026-11-30", "2026-12-01", DAY])) == {
        Cell(tenant, "2026-11-30", "gpt-4o", ""),
        Cell(tenant, "2026-12-01", "gpt-4o", ""),
    }, "a tenant's own alone"
    assert await store.spent([other, tenant], day="2026-12-01", month="2026-12") == [Spent(0, 0), Spent(2, 2)]


async def test_sums_beyond_what_a_float_holds_are_exact(store: LedgerStore, tenant: str) -> None:
    much = 2**53 + 1
    await store.add("a1", batch(tenant, spent=much), now_s=NOW_S)
    assert await store.add("a2", batch(tenant, spent=much), now_s=NOW_S) == [Spent(2 * much, 2 * much)]


async def test_names_that_callers_make_up_fill_no_more_than_a_day_may_hold(
    store: LedgerStore, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "DAY_FIELDS", 3)
    for number in range(6):
        await store.add(f"a{number}", batch(tenant, model=f"made-up-{number}", calls=1), now_s=NOW_S)
    await store.add("b", batch(tenant, model="made-up-0", calls=1), now_s=NOW_S)
    read = await store.read(tenant, [DAY])
    assert len(read) == 4
    assert read[Cell(tenant, DAY, OTHER, OTHER)] == {"calls": 3}
    assert read[Cell(tenant, DAY, "made-up-0", "")] == {"calls": 2}, "what has its place goes on counting there"


async def test_every_key_is_gone_by_itself_some_day(store: LedgerStore, client: Redis, tenant: str) -> None:
    await store.add("a1", batch(tenant, spent=1), now_s=NOW_S)
    for key, at_most_s in (
        (ledger_keys.usage(tenant, DAY), 400 * 86_400),
        (ledger_keys.spent(tenant, DAY), ledger.SPENT_DAY_TTL_S),
        (ledger_keys.spent(tenant, DAY[:7]), ledger.SPENT_MONTH_TTL_S),
        (ledger_keys.batch(tenant, f"a1-{DAY}"), ledger.BATCH_TTL_S),
    ):
        assert 0 < await client.ttl(key) <= at_most_s


async def test_tenants_are_listed_the_latest_first_until_they_are_past_keeping(
    store: LedgerStore, client: Redis
) -> None:
    await client.delete(ledger_keys.TENANTS)
    await store.add("a", batch("old", calls=1), now_s=NOW_S - 401 * 86_400)
    await store.add("b", batch("early", calls=1), now_s=NOW_S - 5)
    await store.add("c", batch("late", calls=1) | batch(ALL, calls=1), now_s=NOW_S)
    assert await store.tenants(since_s=0, count=10) == ["late", ALL, "early"]
    assert await store.tenants(since_s=NOW_S - 1, count=1) == ["late"]


async def test_a_redis_that_lost_its_scripts_is_given_them_again(
    store: LedgerStore, client: Redis, tenant: str
) -> None:
    await client.script_flush()
    assert await store.add("a1", batch(tenant, spent=5), now_s=NOW_S) == [Spent(5, 5)]
