"""Erasing cache entries, journal events and decisions in a real Redis; each test is a tenant of its own."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.coordination import keys as shared
from proxy.core.decision_log import DecisionRecord, Seen
from proxy.core.models import ContextRecord
from proxy.core.traces import Trace
from proxy.stores.decisions import DecisionStore
from proxy.stores.erasure import JOURNAL_PAGE, DecisionEraser, EntryEraser, EventEraser, JournalEraser
from proxy.stores.responses import ResponseStore
from tests.builders import ABOUT, entry, place


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


# --- the cache --------------------------------------------------------------------------------------------------------------------


async def stored(client: Redis, tenant: str, entry_id: str) -> tuple[Trace, keys.LookUpKeys]:
    """An entry with its exact key and context, as the cache has it."""
    at = place(tenant=tenant)
    wanted = keys.look_up_keys(at, None)
    trace = Trace(
        "req_1", "s", entry_id, keys.entry_key("e", at.room, entry_id), wanted.exact, keys.condemned_key(at.room)
    )
    await ResponseStore(client).put(
        entry(entry_id=entry_id),
        redis_key=trace.entry_key,
        partition="0a",
        vector=None,
        exact_key=wanted.exact,
        context_key=keys.context_key(at.room, "0c"),
        condemned_key=trace.condemned_key,
        record=ContextRecord(f"{entry_id}", 1.0, (entry_id,)),
        about=ABOUT,
    )
    return trace, keys.LookUpKeys(wanted.exact, keys.context_key(at.room, "0c"), wanted.condemned, None)


async def test_an_entry_goes_with_its_exact_key_and_what_leads_through_it(client: Redis, tenant: str) -> None:
    trace, wanted = await stored(client, tenant, "ent_1")
    responses = ResponseStore(client)
    found, context, _ = await responses.look_up(wanted)
    assert found is not None
    assert context is not None
    assert await EntryEraser(client).erase([trace]) == 1
    assert await responses.look_up(wanted) == (None, None, frozenset())
    assert not await client.exists(trace.entry_key, trace.exact_key)
    assert await client.zscore(keys.EXPIRY, trace.entry_key) is None
    assert await EntryEraser(client).erase([trace]) == 0


async def test_a_newer_entry_of_another_request_stays(client: Redis, tenant: str) -> None:
    trace, _ = await stored(client, tenant, "ent_1")
    _, wanted = await stored(client, tenant, "ent_2")
    assert await EntryEraser(client).erase([trace]) == 0
    found, _, _ = await ResponseStore(client).look_up(wanted)
    assert found is not None
    assert found.entry_id == "ent_2"


async def test_marks_that_feedback_set_for_longer_are_not_cut_short(client: Redis, tenant: str) -> None:
    trace, _ = await stored(client, tenant, "ent_1")
    await client.sadd(trace.condemned_key, "ent_0")
    await client.expire(trace.condemned_key, 400 * 86_400)
    await EntryEraser(client).erase([trace])
    assert await client.ttl(trace.condemned_key) > 399 * 86_400


# --- the journal ------------------------------------------------------------------------------------------------------------------


async def erased(eraser: JournalEraser, tenant: str, after: str = "0-0", **what: Any) -> tuple[int, int]:
    """(events removed, pages)"""
    position: str | None = after
    gone = pages = 0
    while position is not None:
        position, some = await eraser.erase_page(
            tenant, sessions=what.get("sessions", []), request_ids=what.get("request_ids", []), after=position
        )
        gone, pages = gone + some, pages + 1
    return gone, pages


async def test_only_events_of_the_named_sessions_and_requests_of_this_tenant_leave_the_journal(
    own_client: Redis, tenant: str
) -> None:
    for number in range(2 * JOURNAL_PAGE + 10):
        whose = tenant if number % 2 else "another"
        event: Any = {"tenant": whose, "session": f"s{number % 4}", "request_id": f"req_{number}", "type": "x"}
        await own_client.xadd(keys.JOURNAL, event)
    await own_client.xadd(keys.JOURNAL, {"tenant": tenant, "type": "no session, no request"})
    eraser = JournalEraser(own_client)
    assert await erased(eraser, tenant, sessions=["s1"], request_ids=["req_2", "req_3"]) == (
        JOURNAL_PAGE // 2 + 3 + 1,
        3,
    )
    left: Any = await own_client.xrange(keys.JOURNAL)
    assert len(left) == 2 * JOURNAL_PAGE + 11 - (JOURNAL_PAGE // 2 + 4)
    assert not [fields for _, fields in left if (fields[b"tenant"], fields.get(b"session")) == (tenant.encode(), b"s1")]
    assert await erased(eraser, tenant, sessions=["s1"]) == (0, 2)


# --- decisions --------------------------------------------------------------------------------------------------------------------


def decision(tenant: str, number: int, *, quotes: str = "ent_9", is_judged: bool = True) -> DecisionRecord:
    seen = (Seen(quotes, f"quoted {quotes}", 0.9), Seen("ent_0", "quoted ent_0", 0.8)) if is_judged else ()
    return DecisionRecord(
        f"req_{number}", 1000.0 + number, tenant, "", "m", "0a", "c", "miss", "no-candidate",
        asked=f"asked {number}" if is_judged else None, seen=seen,
    )  # fmt: skip


def store_of(client: Redis) -> DecisionStore:
    return DecisionStore(client, ttl_s=60, max_per_tenant=1000, now=time.time)


async def append(store: DecisionStore, *records: DecisionRecord) -> None:
    await store.append([(record, None) for record in records])


async def test_decisions_of_both_kinds_go_by_request_and_their_neighbours_in_a_pack_stay(
    client: Redis, tenant: str
) -> None:
    store, eraser = store_of(client), DecisionEraser(client)
    judged = [decision(tenant, number) for number in range(4)]
    others = [decision(tenant, number, is_judged=False) for number in range(4, 8)]
    await append(store, *judged, *others)
    await store.vote(tenant, "req_1", "wrong")
    assert await eraser.erase(tenant, ["req_1", "req_5", "req_none"]) == 2
    for number in range(8):
        found = await store.read(tenant, f"req_{number}")
        assert (found is None) == (number in (1, 5)), number
    at = keys.decision_keys(tenant)
    assert not await client.hexists(at.votes, "req_1")
    raw = repr(await client.xrange(at.judged)) + repr(await client.xrange(at.other))
    assert "req_1" not in raw
    assert "req_5" not in raw
    assert await eraser.erase(tenant, ["req_1", "req_5"]) == 0
    assert await eraser.erase(tenant, [f"req_{number}" for number in range(8)]) == 6
    assert await client.xlen(at.other) == 0


async def test_a_decision_that_is_still_to_be_written_is_not_written_any_more(client: Redis, tenant: str) -> None:
    store = store_of(client)
    assert await DecisionEraser(client).erase(tenant, ["req_1"]) == 0
    await append(store, decision(tenant, 1), decision(tenant, 2))
    assert await store.read(tenant, "req_1") is None
    assert await store.read(tenant, "req_2") is not None


async def test_another_tenants_decision_of_the_same_name_stays(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await append(store, decision(tenant, 1), decision(f"{tenant}x", 1))
    await DecisionEraser(client).erase(tenant, ["req_1"])
    assert await store.read(f"{tenant}x", "req_1") is not None


async def test_the_words_of_erased_questions_leave_the_decisions_that_quote_them(client: Redis, tenant: str) -> None:
    store = store_of(client)
    before = [decision(tenant, number, quotes=f"ent_{number}") for number in range(1, 4)]
    await append(store, *before)
    await DecisionEraser(client).forget_questions(tenant, {"ent_2"})
    found = [await store.read(tenant, f"req_{number}") for number in range(1, 4)]
    assert [found[0], found[2]] == [before[0], before[2]]
    assert found[1] is not None
    assert [one.question for one in found[1].seen] == ["", "quoted ent_0"]
    assert found[1].asked == "asked 2"
    assert "quoted ent_2" not in repr(await client.xrange(keys.decision_keys(tenant).judged))
    assert len([one async for one in store.recent(tenant, limit=10)]) == 3


# --- events of applications -------------------------------------------------------------------------------------------------------


async def test_a_sessions_events_leave_every_stream_of_their_tenant_and_no_other(client: Redis, tenant: str) -> None:
    other = f"{tenant}x"
    for whose in (tenant, other):
        for stream in ("orders", "visits"):
            await client.sadd(shared.event_streams(whose), stream)
            for number in range(JOURNAL_PAGE + 10):
                event: Any = {"type": "x", "session": f"s{number % 5}", "data": "{}"}
                await client.xadd(shared.events(whose, stream), event)
            await client.xadd(shared.events(whose, stream), {"type": "no session", "data": "s1"})
    eraser = EventEraser(client)
    assert await eraser.erase_session(tenant, "s1") == 2 * (JOURNAL_PAGE + 10) // 5
    assert await eraser.erase_session(tenant, "s1") == 0
    left: Any = await client.xrange(shared.events(tenant, "orders"))
    assert len(left) == JOURNAL_PAGE + 11 - (JOURNAL_PAGE + 10) // 5
    assert await client.xlen(shared.events(other, "orders")) == JOURNAL_PAGE + 11
