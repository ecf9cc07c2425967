"""Long-term memories through the Agent Memory Server's client: stored, found by meaning, forgotten, compacted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError
from agent_memory_client.filters import CreatedAt, Entities, MemoryType, Namespace, SessionId, Topics, UserId
from agent_memory_client.models import ForgetPolicy, MemoryRecordResults, MemoryTypeEnum, RecencyConfig

from tests.e2e.memory_server.remembering import fact


def texts(found: MemoryRecordResults) -> list[str]:
    return [each.text for each in found.memories]


async def test_a_memory_is_stored_read_changed_and_removed(memory: MemoryAPIClient) -> None:
    created = datetime(2024, 5, 1, 12, tzinfo=UTC)
    given = fact(
        "User visited Paris", "m1", user_id="u", namespace="n", session_id="s", topics=["travel"], entities=["Paris"],
        memory_type=MemoryTypeEnum.EPISODIC, event_date=datetime(2024, 4, 1, tzinfo=UTC), created_at=created,
    )  # fmt: skip
    assert (await memory.create_long_term_memory([given])).status == "ok"
    found = await memory.get_long_term_memory("m1")
    for field in (
        "id",
        "text",
        "user_id",
        "namespace",
        "session_id",
        "topics",
        "entities",
        "memory_type",
        "event_date",
    ):
        assert getattr(found, field) == getattr(given, field)
    assert found.created_at == created
    changed = await memory.edit_long_term_memory("m1", {"text": "User visited Rome", "topics": ["trips"], "unknown": 1})
    assert (changed.text, changed.topics, changed.entities) == ("User visited Rome", ["trips"], ["Paris"])
    assert await memory.get_long_term_memory("m1") == changed
    assert (await memory.delete_long_term_memories(["m1", "m2"])).status == "ok, deleted 1 memories"
    with pytest.raises(MemoryNotFoundError):
        await memory.get_long_term_memory("m1")
    with pytest.raises(MemoryNotFoundError):
        await memory.edit_long_term_memory("m1", {"text": "x"})
    with pytest.raises(MemoryServerError, match="No fields provided"):
        await memory.edit_long_term_memory("m1", {})


async def test_memories_are_found_by_meaning_and_filtered(memory: MemoryAPIClient) -> None:
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    await memory.create_long_term_memory(
        [
            fact("User prefers green tea to coffee", "tea", user_id="ann", topics=["drinks"], created_at=monday),
            fact("User flies to Lima in May", "lima", user_id="ann", topics=["travel"], entities=["Lima"]),
            fact("User drinks black coffee every morning", "coffee", user_id="bob", topics=["drinks"], namespace="n"),
            fact("The meeting was moved", "event", user_id="ann", memory_type=MemoryTypeEnum.EPISODIC),
        ],
        deduplicate=False,
    )
    best = await memory.search_long_term_memory("Which hot beverage does she like?", user_id=UserId(eq="ann"))
    assert best.memories[0].id == "tea"
    assert 0 <= best.memories[0].dist <= 2
    assert best.total == 3

    async def ids(**filters: Any) -> set[str]:
        return {each.id for each in (await memory.search_long_term_memory("anything", **filters)).memories}

    assert await ids() == {"tea", "lima", "coffee", "event"}
    assert await ids(user_id={"eq": "bob"}) == {"coffee"}
    assert await ids(user_id=UserId(not_eq="ann")) == {"coffee"}
    assert await ids(user_id=UserId(in_=["bob", "eve"])) == {"coffee"}
    assert await ids(user_id=UserId(not_in=["bob", "eve"])) == {"tea", "lima", "event"}
    assert await ids(namespace=Namespace(eq="n")) == {"coffee"}
    assert await ids(topics=Topics(any=["travel", "drinks"])) == {"tea", "lima", "coffee"}
    assert await ids(topics=Topics(none=["drinks"])) == {"lima", "event"}
    assert await ids(topics=Topics(all=["drinks"]), user_id={"eq": "ann"}) == {"tea"}
    assert await ids(entities=Entities(any=["Lima"])) == {"lima"}
    assert await ids(memory_type=MemoryType(eq="episodic")) == {"event"}
    assert await ids(created_at=CreatedAt(lte=monday + timedelta(days=1))) == {"tea"}
    assert await ids(created_at=CreatedAt(eq=monday)) == {"tea"}
    assert await ids(session_id=SessionId(eq="nowhere")) == set()
    assert await ids(namespace=Namespace(eq="nowhere")) == set()  # and never those of another one


async def test_a_search_is_paged_bounded_by_distance_and_prefers_what_is_new(memory: MemoryAPIClient) -> None:
    old, new = datetime.now(UTC) - timedelta(days=400), datetime.now(UTC)
    await memory.create_long_term_memory(
        [fact(f"Note {number} on tea", f"m{number}", created_at=new, last_accessed=new) for number in range(5)]
        + [fact("Tea", "old", created_at=old, last_accessed=old)],
        deduplicate=False,
    )
    first = await memory.search_long_term_memory("tea", limit=4)
    second = await memory.search_long_term_memory("tea", limit=4, offset=4)
    assert (len(first.memories), first.next_offset, len(second.memories), second.next_offset) == (4, 4, 2, None)
    assert {each.id for each in [*first.memories, *second.memories]} == {"old", *(f"m{number}" for number in range(5))}
    everything = [each.id async for each in memory.search_all_long_term_memories("tea", batch_size=2)]
    assert len(set(everything)) == len(everything) == 6
    plain = await memory.search_long_term_memory("Tea", recency=RecencyConfig(recency_boost=False))
    assert plain.memories[0].id == "old"
    recent = await memory.search_long_term_memory(
        "Tea",
        recency=RecencyConfig(recency_boost=True, semantic_weight=0.1, recency_weight=0.9, half_life_created_days=1),
    )
    assert recent.memories[-1].id == "old"
    assert texts(await memory.search_long_term_memory("Tea", distance_threshold=0.01)) == ["Tea"]


async def test_the_same_said_twice_is_one_memory(memory: MemoryAPIClient) -> None:
    for memory_id in ("m1", "m2"):
        await memory.create_long_term_memory([fact("User's favourite colour is blue.", memory_id, user_id="u")])
    assert (await memory.search_long_term_memory("colour")).total == 1
    await memory.create_long_term_memory(
        [fact("User's favourite colour is blue.", "m3", user_id="u")], deduplicate=False
    )
    assert (await memory.search_long_term_memory("colour")).total == 2


async def test_batches_are_created(memory: MemoryAPIClient) -> None:
    subjects = ["Lima", "tea", "a red bicycle", "chess", "the moon"]
    batches = [[fact(f"User wrote about {subject}") for subject in subjects[:3]], [fact(f"User knows {subjects[4]}")]]
    done = await memory.bulk_create_long_term_memories(batches, batch_size=2, delay_between_batches=0)
    assert [each.status for each in done] == ["ok", "ok", "ok"]
    assert (await memory.search_long_term_memory("anything")).total == 4


async def test_memories_are_forgotten_by_policy(memory: MemoryAPIClient) -> None:
    old = datetime.now(UTC) - timedelta(days=100)
    await memory.create_long_term_memory(
        [
            fact("An old fact", "old", created_at=old, user_id="u"),
            fact("Another old fact", "kept", created_at=old, user_id="u"),
            fact("A fact of someone else", "other", created_at=old, user_id="v"),
            fact("A new fact", "new", user_id="u"),
        ],
        deduplicate=False,
    )
    policy = ForgetPolicy(max_age_days=30)
    dry = await memory.forget_long_term_memories(policy, user_id="u", dry_run=True, pinned_ids=["kept"])
    assert (dry.deleted_ids, dry.deleted, dry.dry_run) == (["old"], 1, True)
    assert (await memory.get_long_term_memory("old")).id == "old"
    done = await memory.forget_long_term_memories(policy, user_id="u", pinned_ids=["kept"], limit=100)
    assert (done.deleted_ids, done.deleted, done.dry_run) == (["old"], 1, False)
    left = await memory.search_long_term_memory("fact")
    assert {each.id for each in left.memories} == {"kept", "other", "new"}


async def test_without_a_word_another_client_forgets_nothing(memory: MemoryAPIClient) -> None:
    old = datetime.now(UTC) - timedelta(days=100)
    await memory.create_long_term_memory([fact("An old fact", "old", created_at=old)])
    told = await memory._client.post(
        "/v1/long-term-memory/forget", json={"policy": {"max_age_days": 30}}, headers={"User-Agent": "curl/8"}
    )
    assert told.json() == {"scanned": 1, "deleted": 1, "deleted_ids": ["old"], "dry_run": True}
    assert (await memory.get_long_term_memory("old")).id == "old"


async def test_memories_are_compacted(memory: MemoryAPIClient) -> None:
    for memory_id in ("m1", "m2"):
        await memory.create_long_term_memory([fact("User has a red bicycle", memory_id)], deduplicate=False)
    answer = await memory._client.post("/v1/long-term-memory/compact")
    assert answer.json() == {"status": "ok, 1 memories remaining after compaction"}
    assert (await memory.search_long_term_memory("bicycle")).total == 1
