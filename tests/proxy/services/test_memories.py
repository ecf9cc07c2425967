"""Long-term memory with the real models on a real Redis: said twice, changed, replaced, found, forgotten."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from embeddings import prepare
from embeddings.base import Embedder
from embeddings.batching import BatchingVerifier
from embeddings.verifier import Verifier, shipped_folder
from proxy.core.memory import limits
from proxy.core.memory.forgetting import ForgetPolicy
from proxy.core.memory.records import (
    Conditions,
    Labels,
    Match,
    Memory,
    MemoryType,
    Recency,
    Search,
    SearchMode,
    Stored,
    StoredMemory,
)
from proxy.errors import RequestError, StoreError, StoreFullError, StoreUnavailableError
from proxy.services import memory_upkeep
from proxy.stores.client import open_client
from tests.proxy.core.memory.builders import DAY, NOW, memory
from tests.proxy.services.memory_rig import Rig, rigged
from tests.redis_server import artifacts_dir, private_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture(scope="module")
def model() -> Iterator[Embedder]:
    opened = prepare.open_embedder("package", artifacts_dir(), "int8", threads=1, model="", api_key=None)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
async def verifier() -> AsyncIterator[BatchingVerifier]:
    opened = BatchingVerifier(Verifier(shipped_folder()))
    yield opened
    await opened.aclose()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=5000)
    yield opened
    await opened.aclose()


@pytest.fixture
async def rig(client: Redis, model: Embedder, verifier: BatchingVerifier) -> AsyncIterator[Rig]:
    async with rigged(client) as opened:
        opened.use(model, verifier)
        await opened.ready()
        yield opened


@pytest.fixture
async def bare(client: Redis) -> AsyncIterator[Rig]:
    """Without models."""
    async with rigged(client) as opened:
        await opened.ready()
        yield opened


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


async def store(rig: Rig, tenant: str, *memories: Memory, **options: Any) -> list[StoredMemory]:
    return await rig.memories.store(tenant, memories, **options)


async def found(rig: Rig, tenant: str, wanted: Search) -> list[str]:
    return [one.memory.memory_id for one in (await rig.memories.search(tenant, wanted)).found]


def told(*texts: str, **changes: Any) -> list[Memory]:
    """Memories in the order of their ages, the oldest first."""
    return [memory(f"m{place}", text, at=NOW - 100 + place, **changes) for place, text in enumerate(texts)]


# --- storing ---------------------------------------------------------------------------------------------------------------------


async def test_an_id_that_is_there_is_overwritten(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory(text="User likes tea"))
    (outcome,) = await store(rig, tenant, memory(text="User likes coffee"))
    assert outcome.what is Stored.UPDATED
    kept = await rig.memories.get(tenant, "m1")
    assert kept is not None
    assert kept.text == "User likes coffee"
    assert await found(rig, tenant, Search("Which hot drink?")) == ["m1"]


async def test_the_same_text_again_is_one_memory_with_the_labels_of_both(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("a", topics=("drinks",)))
    (outcome,) = await store(rig, tenant, memory("b", "User likes  green tea.", topics=("taste",), session="later"))
    assert (outcome.what, outcome.other, outcome.memory.memory_id) == (Stored.MERGED, "a", "a")
    assert outcome.memory.topics == ("drinks", "taste")
    assert await rig.memories.get(tenant, "b") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("User doesn't eat meat", "The user does not eat meat."),
        ("User plans to visit Japan next spring", "User is planning to visit Japan next spring"),
        ("User has trouble sleeping", "User has difficulty sleeping"),
        ("User's wife is named Anna", "User's wife is called Anna"),
    ],
)
async def test_near_duplicates_are_merged_into_the_older_one(rig: Rig, tenant: str, one: str, other: str) -> None:
    outcomes = await store(rig, tenant, *told(one, other))
    assert [outcome.what for outcome in outcomes] == [Stored.CREATED, Stored.MERGED]
    assert outcomes[1].other == "m0"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("User has 2 children", "User has 3 children"),
        ("User met Maria in Graz", "User met Hanna in Graz"),
        ("User eats meat", "User does not eat meat"),
        ("User prefers tea over coffee", "User prefers coffee over tea"),
        ("User is allergic to peanuts", "User is allergic to pollen"),
        ("User lives in Berlin", "User used to live in Berlin"),
        ("User has a dog named Rex", "User has a ferret named Rex"),
        ("User's meeting is on Tuesday", "User's meeting is on Thursday"),
    ],
)
async def test_distinct_facts_are_kept_apart(rig: Rig, tenant: str, one: str, other: str) -> None:
    outcomes = await store(rig, tenant, *told(one, other))
    assert [outcome.what for outcome in outcomes] == [Stored.CREATED, Stored.CREATED]


async def test_the_same_fact_of_another_user_namespace_or_tenant_is_another_memory(rig: Rig, tenant: str) -> None:
    outcomes = await store(
        rig, tenant, memory("a"), memory("b", user="ben"), memory("c", user=None), memory("d", namespace="n")
    )
    outcomes += await store(rig, f"{tenant}x", memory("a"))
    assert {outcome.what for outcome in outcomes} == {Stored.CREATED}


async def test_the_same_event_on_another_day_is_another_event(rig: Rig, tenant: str) -> None:
    visit = {"text": "User went to the dentist", "memory_type": MemoryType.EPISODIC}
    outcomes = await store(
        rig, tenant, memory("a", event_at=NOW, **visit), memory("b", event_at=NOW - 30 * DAY, **visit), memory("c", event_at=NOW, **visit)
    )  # fmt: skip
    assert [outcome.what for outcome in outcomes] == [Stored.CREATED, Stored.CREATED, Stored.MERGED]


async def test_what_was_said_is_never_merged_by_meaning(rig: Rig, tenant: str) -> None:
    said = told("I can't drink milk", "I cannot drink milk", memory_type=MemoryType.MESSAGE)
    assert {outcome.what for outcome in await store(rig, tenant, *said)} == {Stored.CREATED}


async def test_without_deduplication_everything_is_kept(rig: Rig, tenant: str) -> None:
    outcomes = await store(rig, tenant, memory("a"), memory("b"), is_deduplicated=False)
    assert [outcome.what for outcome in outcomes] == [Stored.CREATED, Stored.CREATED]


async def test_two_identical_stores_at_once_make_one_memory(rig: Rig, tenant: str) -> None:
    outcomes = await asyncio.gather(*(store(rig, tenant, memory(f"m{number}")) for number in range(20)))
    whats = [outcome.what for (outcome,) in outcomes]
    assert whats.count(Stored.CREATED) == 1
    assert whats.count(Stored.MERGED) == 19
    assert (await rig.memories.search(tenant, Search(""))).total == 1


async def test_writers_that_race_for_one_id_lose_no_label(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m"))
    await asyncio.gather(*(store(rig, tenant, memory(f"x{number}", topics=(f"t{number}",))) for number in range(6)))
    kept = await rig.memories.get(tenant, "m")
    assert kept is not None
    assert set(kept.topics) == {f"t{number}" for number in range(6)}


async def test_a_batch_is_bounded(rig: Rig, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BATCH", 2)
    with pytest.raises(RequestError, match="2 at most"):
        await store(rig, tenant, *told("a", "b", "c"))


# --- facts that replace facts ------------------------------------------------------------------------------------------------------


async def test_a_replaced_fact_is_kept_and_found_as_of_its_time(rig: Rig, tenant: str) -> None:
    paris = memory("paris", "User lives in Paris", at=NOW - 100 * DAY)
    await store(rig, tenant, paris)
    moved = memory("berlin", "User moved to Berlin in May", at=NOW, event_at=NOW - 30 * DAY, replaces="paris")
    (outcome,) = await store(rig, tenant, moved)
    assert (outcome.what, outcome.other) == (Stored.REPLACED, "paris")
    where = "Where does the user live?"
    assert await found(rig, tenant, Search(where)) == ["berlin"]
    assert await found(rig, tenant, Search(where, as_of=NOW - 50 * DAY)) == ["paris"]
    assert await found(rig, tenant, Search(where, as_of=NOW - 10 * DAY)) == ["berlin"]
    assert await found(rig, tenant, Search(where, as_of=NOW - 200 * DAY)) == []
    for mode in SearchMode:
        assert "paris" not in await found(rig, tenant, Search("User lives in Paris", mode=mode))
    old = await rig.memories.get(tenant, "paris")
    assert old is not None
    assert (old.invalid_at, old.replaced_by) == (NOW - 30 * DAY, "berlin")


async def test_a_fact_that_was_replaced_and_is_told_again_is_new(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("a", "User lives in Paris"))
    await store(rig, tenant, memory("b", "User moved to Berlin", replaces="a"))
    (again,) = await store(rig, tenant, memory("c", "User lives in Paris", replaces="b"))
    assert again.what is Stored.REPLACED
    assert await found(rig, tenant, Search("Where does the user live?")) == ["c"]


async def test_a_repeated_call_replaces_once(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("a", "User lives in Paris"))
    new = memory("b", "User moved to Berlin", replaces="a")
    await store(rig, tenant, new)
    before = await rig.memories.get(tenant, "a")
    rig.clock.now += 1000
    await store(rig, tenant, new)
    assert await rig.memories.get(tenant, "a") == before


async def test_replacing_what_is_not_there_is_refused_and_stores_nothing(rig: Rig, tenant: str) -> None:
    with pytest.raises(RequestError) as caught:
        await store(rig, tenant, memory("b", replaces="none"))
    assert (caught.value.status, caught.value.param) == (404, "replaces")
    assert await rig.memories.get(tenant, "b") is None
    await store(rig, f"{tenant}x", memory("foreign"))
    with pytest.raises(RequestError):
        await store(rig, tenant, memory("b", replaces="foreign"))


async def test_a_new_value_of_a_single_attribute_ends_the_old_one_where_that_is_asked_for(
    rig: Rig, tenant: str
) -> None:
    values = told("User's favourite colour is blue", "User's favorite color is green")
    outcomes = await store(rig, tenant, *values, ends_older=True)
    assert [outcome.what for outcome in outcomes] == [Stored.CREATED, Stored.REPLACED]
    assert await found(rig, tenant, Search("favourite colour")) == ["m1"]


async def test_unless_asked_to_no_fact_ends_another_by_itself(rig: Rig, tenant: str) -> None:
    outcomes = await store(rig, tenant, *told("User's favourite colour is blue", "User's favorite color is green"))
    assert {outcome.what for outcome in outcomes} == {Stored.CREATED}
    assert len(await found(rig, tenant, Search("favourite colour"))) == 2


# --- one by one -----------------------------------------------------------------------------------------------------------------------


async def test_an_edit_is_found_by_what_it_says_now(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m", "User likes tea"), memory("other", "User collects stamps"))
    changed = await rig.memories.edit(
        tenant, "m", {"text": "User plays chess", "topics": ("games",), "is_pinned": True}
    )
    assert changed is not None
    assert (changed.text, changed.topics, changed.is_pinned, changed.updated_at) == (
        "User plays chess",
        ("games",),
        True,
        rig.clock(),
    )
    assert (await found(rig, tenant, Search("board game")))[0] == "m"
    assert await found(rig, tenant, Search("chess", SearchMode.KEYWORD)) == ["m"]
    assert await found(rig, tenant, Search("tea", SearchMode.KEYWORD)) == []
    assert (await store(rig, tenant, memory("again", "User likes tea")))[0].what is Stored.CREATED


async def test_an_edit_of_what_may_not_be_changed_is_refused(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m"))
    with pytest.raises(RequestError, match="times_found"):
        await rig.memories.edit(tenant, "m", {"times_found": 7})
    with pytest.raises(RequestError, match="empty"):
        await rig.memories.edit(tenant, "m", {"text": " "})
    assert await rig.memories.edit(tenant, "none", {"text": "x"}) is None


async def test_another_tenant_reaches_nothing(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m"))
    other = f"{tenant}x"
    assert await rig.memories.get(other, "m") is None
    assert await rig.memories.edit(other, "m", {"text": "x"}) is None
    assert await rig.memories.delete(other, ["m"]) == 0
    assert await found(rig, other, Search("tea")) == []
    assert (await rig.memories.forget(other, ForgetPolicy(budget=0))).ids == ()
    assert (await rig.memories.compact(other)).scanned == 0
    assert await rig.memories.get(tenant, "m") is not None


async def test_deleting_counts_what_was_there(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, *told("one", "two"))
    assert await rig.memories.delete(tenant, ["m0", "m0", "none"]) == 1
    assert await found(rig, tenant, Search("")) == ["m1"]


async def test_a_users_memories_go_as_a_whole(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("a", "User lives in Paris"), memory("b", "User moved to Berlin", replaces="a"))
    await store(rig, tenant, memory("c", "User plays chess", is_pinned=True), memory("d", user="ben"))
    assert await rig.memories.delete_matching(tenant, Conditions(user=Match(one_of=("anna",)))) == 3
    assert await rig.memories.get(tenant, "a") is None
    assert await found(rig, tenant, Search("")) == ["d"]


# --- searching ------------------------------------------------------------------------------------------------------------------------

TEXTS = (
    "User is allergic to peanuts", "User's flight to Oslo leaves at 9 am", "User plays the cello in an orchestra",
    "User's sister Hanna works as a nurse", "User wants short answers without emojis",
)  # fmt: skip


@pytest.mark.parametrize("mode", SearchMode)
async def test_a_question_finds_the_memory_that_answers_it(rig: Rig, tenant: str, mode: SearchMode) -> None:
    await store(rig, tenant, *told(*TEXTS))
    for place, question in enumerate(
        ("Which allergic reactions?", "When does the flight leave?", "Who plays in an orchestra?", "What is Hanna's job as a nurse?",
         "short answers?")
    ):  # fmt: skip
        assert (await found(rig, tenant, Search(question, mode)))[0] == f"m{place}"


async def test_pages_go_through_the_whole_list_once(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, *told(*TEXTS), is_deduplicated=False)
    for wanted in (
        Search("user", limit=2),
        Search("user", SearchMode.KEYWORD, limit=2),
        Search("user", SearchMode.HYBRID, limit=2),
        Search("", limit=2),
    ):
        met: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await rig.memories.search(tenant, Search(wanted.text, wanted.mode, limit=2, offset=offset))
            met += [one.memory.memory_id for one in page.found]
            offset = page.next_offset
        assert sorted(met) == [f"m{place}" for place in range(5)]
    assert met == ["m4", "m3", "m2", "m1", "m0"]  # without a text, newest first


async def test_what_lies_too_far_off_is_not_found(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, *told(*TEXTS))
    near = await rig.memories.search(tenant, Search("peanut allergy", max_distance=0.5))
    assert [one.memory.memory_id for one in near.found] == ["m0"]
    assert near.found[0].distance <= 0.5


async def test_newer_memories_can_be_preferred(rig: Rig, tenant: str) -> None:
    old, new = (
        memory("old", "User ordered a pizza", at=NOW - 400 * DAY),
        memory("new", "User ordered pasta once", at=NOW),
    )
    await store(rig, tenant, old, new)
    assert (await found(rig, tenant, Search("pizza order")))[0] == "old"
    strong = Recency(semantic_weight=0.2, recency_weight=0.8)
    assert (await found(rig, tenant, Search("pizza order", recency=strong)))[0] == "new"


async def test_conditions_hold_for_every_mode(rig: Rig, tenant: str) -> None:
    await store(
        rig, tenant, memory("a", topics=("Tea",)), memory("b", user="ben", topics=("tea",)), memory("c", user="ben")
    )
    wanted = Conditions(user=Match(one_of=("ben",)), topics=Labels(any_of=("TEA",)))
    for mode in SearchMode:
        assert await found(rig, tenant, Search("green tea", mode, wanted)) == ["b"]
    assert await found(rig, tenant, Search("", conditions=wanted)) == ["b"]


async def test_what_was_found_is_noted_off_the_path(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m"))
    rig.clock.now += memory_upkeep.TOUCH_AFTER_S + 1
    for _ in range(3):
        assert await found(rig, tenant, Search("tea")) == ["m"]
    async with asyncio.timeout(10):
        while (kept := await rig.memories.get(tenant, "m")) is None or kept.times_found < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert kept.accessed_at == rig.clock()


# --- without models, and what comes later ------------------------------------------------------------------------------------------


async def test_without_an_embedder_words_find_and_meaning_says_why_not(bare: Rig, tenant: str) -> None:
    await store(bare, tenant, memory("a"), memory("b"))
    assert await found(bare, tenant, Search("tea", SearchMode.KEYWORD)) == ["a"]
    for mode in (SearchMode.SEMANTIC, SearchMode.HYBRID):
        with pytest.raises(RequestError) as caught:
            await found(bare, tenant, Search("tea", mode))
        assert (caught.value.status, caught.value.code) == (503, "embedder_unavailable")


async def test_a_memory_stored_without_an_embedder_gets_its_vector_when_there_is_one(
    bare: Rig, tenant: str, model: Embedder, verifier: BatchingVerifier
) -> None:
    await store(bare, tenant, memory("m", "User is allergic to peanuts"))
    bare.use(model, verifier)
    await bare.ready()
    async with asyncio.timeout(10):
        while await found(bare, tenant, Search("nut allergy")) != ["m"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_lost_index_is_made_again(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, memory("m"))
    await rig.client.execute_command("FT.DROPINDEX", rig.upkeep.index.name)  # type: ignore[attr-defined, no-untyped-call]
    with pytest.raises(StoreError):
        await found(rig, tenant, Search("tea"))
    await rig.ready()
    assert await found(rig, tenant, Search("tea")) == ["m"]


async def test_memory_that_is_full_is_an_error_and_what_is_there_stays(
    model: Embedder, verifier: BatchingVerifier
) -> None:
    with private_redis() as url:
        client = open_client(url, deadline_ms=5000)
        async with rigged(client) as rig:
            rig.use(model, verifier)
            await rig.ready()
            await store(rig, "t", memory("m"))
            await client.config_set("maxmemory", 1)
            with pytest.raises(StoreFullError):
                await store(rig, "t", memory("n", "User plays chess"))
            assert await rig.memories.get("t", "m") is not None
        await client.aclose()


async def test_a_redis_that_is_away_is_an_error() -> None:
    client = open_client("redis://127.0.0.1:1", deadline_ms=500)
    async with rigged(client) as rig:
        with pytest.raises(StoreUnavailableError):
            await store(rig, "t", memory("m"))
    await client.aclose()


# --- many ------------------------------------------------------------------------------------------------------------------------------


async def test_compaction_merges_what_came_in_apart_and_once(rig: Rig, tenant: str) -> None:
    texts = (
        "User doesn't eat meat",
        "User plays chess",
        "The user does not eat meat.",
        "User eats meat",
        "User  plays chess.",
    )
    await store(rig, tenant, *told(*texts), is_deduplicated=False)
    done = await rig.memories.compact(tenant)
    assert (done.scanned, done.merged, done.after) == (5, 2, None)
    assert sorted(await found(rig, tenant, Search(""))) == ["m0", "m1", "m3"]
    assert (await rig.memories.compact(tenant)).merged == 0


async def test_compaction_goes_on_where_a_limit_ended_it(rig: Rig, tenant: str) -> None:
    await store(rig, tenant, *told("User plays chess", "User plays chess.", "User plays chess"), is_deduplicated=False)
    merged, after, runs = 0, None, 0
    while True:
        done = await rig.memories.compact(tenant, after=after, limit=1)
        merged, after, runs = merged + done.merged, done.after, runs + 1
        if after is None:
            break
    assert (merged, runs) == (2, 4)
    assert await found(rig, tenant, Search("")) == ["m0"]


async def test_forgetting_tells_before_it_does_and_spares_pinned_ones(rig: Rig, tenant: str) -> None:
    old = told("one", "two", "three", created_at=NOW - 90 * DAY, accessed_at=NOW - 90 * DAY)
    await store(
        rig, tenant, *old, memory("pinned", "four", created_at=NOW - 90 * DAY, is_pinned=True), memory("new", "five")
    )
    policy = ForgetPolicy(max_age_days=30)
    dry = await rig.memories.forget(tenant, policy, is_dry_run=True)
    assert (set(dry.ids), dry.deleted, dry.scanned) == ({"m0", "m1", "m2"}, 0, 5)
    assert len(await found(rig, tenant, Search(""))) == 5
    some = await rig.memories.forget(tenant, policy, limit=1)
    assert (len(some.ids), some.deleted) == (1, 1)
    await rig.memories.forget(tenant, policy, Conditions(user=Match(one_of=("nobody",))))
    assert len(await found(rig, tenant, Search(""))) == 4
    await rig.memories.forget(tenant, policy)
    assert sorted(await found(rig, tenant, Search(""))) == ["new", "pinned"]
