"""The Agent Memory Server's own client, unmodified, against Deja: every public method it has."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import agent_memory_client
import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig, create_memory_client
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError, MemoryValidationError
from agent_memory_client.filters import CreatedAt, Entities, MemoryType, Namespace, SessionId, Topics, UserId
from agent_memory_client.models import (
    ClientMemoryRecord,
    CreateSummaryViewRequest,
    ForgetPolicy,
    MemoryMessage,
    MemoryRecordResults,
    MemoryStrategyConfig,
    MemoryTypeEnum,
    RecencyConfig,
    WorkingMemory,
)

from tests.deja_process import DejaProcess
from tests.fake_upstream import FakeUpstream, chat

# The client's convenience methods call one that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")

SCHEMAS = (
    "get_memory_search_tool_schema", "get_working_memory_tool_schema", "get_lazily_create_long_term_memory_tool_schema",
    "get_update_memory_data_tool_schema", "get_long_term_memory_tool_schema", "get_eagerly_create_long_term_memory_tool_schema",
    "edit_long_term_memory_tool_schema", "delete_long_term_memories_tool_schema", "get_current_datetime_tool_schema",
)  # fmt: skip
"""What describes tools to a model; the client makes them by itself, twice each."""
PUBLIC = {
    "add_memories_to_working_memory", "add_memory_tool", "append_messages_to_working_memory", "bulk_create_long_term_memories", "close",
    "create_long_term_memory", "create_summary_view", "delete_long_term_memories", "delete_summary_view", "delete_working_memory",
    "edit_long_term_memory", "forget_long_term_memories", "get_all_memory_tool_schemas", "get_all_memory_tool_schemas_anthropic",
    "get_long_term_memory", "get_or_create_working_memory", "get_or_create_working_memory_tool", "get_summary_view", "get_task",
    "get_working_memory", "get_working_memory_tool", "health_check", "hydrate_memory_prompt", "list_sessions",
    "list_summary_view_partitions", "list_summary_views", "memory_prompt", "parse_anthropic_tool_use", "parse_openai_function_call",
    "parse_openai_tool_call", "parse_tool_call", "promote_working_memories_to_long_term", "put_working_memory", "resolve_function_call",
    "resolve_function_calls", "resolve_tool_call", "resolve_tool_calls", "run_summary_view", "run_summary_view_partition",
    "search_all_long_term_memories", "search_long_term_memory", "search_memory_tool", "set_working_memory_data",
    "update_memory_data_tool", "update_working_memory_data", "validate_memory_record", "validate_search_filters",
}  # fmt: skip
"""What the client can do, and some test below calls."""


HUNDRED_TOKENS = " ".join(["tea"] * 99)
"""With who said it."""


def tenant_of(client: MemoryAPIClient, api_key: str | None = None) -> MemoryAPIClient:
    """The client as a tenant of its own; it has no setting for a key."""
    client._client.headers["Authorization"] = f"Bearer {api_key or uuid.uuid4()}"
    return client


@pytest.fixture
async def memory(deja: DejaProcess) -> AsyncIterator[MemoryAPIClient]:
    async with MemoryAPIClient(MemoryClientConfig(base_url=deja.root)) as client:
        yield tenant_of(client)


@pytest.fixture
async def stranger(deja: DejaProcess) -> AsyncIterator[MemoryAPIClient]:
    async with MemoryAPIClient(MemoryClientConfig(base_url=deja.root)) as client:
        yield tenant_of(client)


def fact(text: str, memory_id: str | None = None, **fields: Any) -> ClientMemoryRecord:
    fields = {"memory_type": MemoryTypeEnum.SEMANTIC} | fields
    return ClientMemoryRecord(text=text, id=memory_id or f"m-{uuid.uuid4()}", **fields)


def said(*texts: str) -> list[MemoryMessage]:
    return [
        MemoryMessage(role="assistant" if number % 2 else "user", content=text, created_at=datetime.now(UTC))
        for number, text in enumerate(texts)
    ]


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 10.0) -> Any:
    """What a condition gives once it is true: some things are done just after the answer."""
    give_up_at = time.monotonic() + timeout_s
    while not (found := await condition()):
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.02)
    return found


def texts(found: MemoryRecordResults) -> list[str]:
    return [each.text for each in found.memories]


# ── the client itself ─────────────────────────────────────────────────────────────────────────────────────────────


def test_every_public_method_of_the_client_is_called_here() -> None:
    methods = {name for name, _ in inspect.getmembers(MemoryAPIClient, callable) if not name.startswith("_")}
    assert methods == PUBLIC | set(SCHEMAS) | {f"{name}_anthropic" for name in SCHEMAS}
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in PUBLIC if f".{name}(" not in source] == []


def test_the_tools_are_described_in_both_dialects() -> None:
    for name in SCHEMAS:
        assert getattr(MemoryAPIClient, name)().to_dict()["type"] == "function"
        assert "input_schema" in getattr(MemoryAPIClient, f"{name}_anthropic")().to_dict()
    openai = [tool["function"]["name"] for tool in MemoryAPIClient.get_all_memory_tool_schemas().to_list()]
    anthropic = [tool["name"] for tool in MemoryAPIClient.get_all_memory_tool_schemas_anthropic().to_list()]
    assert openai == anthropic
    assert len(openai) == len(SCHEMAS)


async def test_a_client_is_made_and_closed(deja: DejaProcess) -> None:
    client = await create_memory_client(deja.root, default_namespace="work")
    assert abs((await client.health_check()).now / 1000 - time.time()) < 60
    await client.close()


async def test_records_and_filters_are_checked_by_the_client(memory: MemoryAPIClient) -> None:
    memory.validate_memory_record(ClientMemoryRecord(text="User likes tea", memory_type=MemoryTypeEnum.SEMANTIC))
    memory.validate_search_filters(limit=3, user_id="u")
    with pytest.raises(MemoryValidationError):
        memory.validate_search_filters(limit=0)


# ── working memory ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_is_created_once_and_then_found(memory: MemoryAPIClient) -> None:
    strategy = MemoryStrategyConfig(strategy="summary", config={"max_summary_length": 500})
    created, made = await memory.get_or_create_working_memory("s", user_id="u", long_term_memory_strategy=strategy)
    assert (created, made.new_session, made.messages, made.data) == (True, True, [], {})
    created, found = await memory.get_or_create_working_memory("s", user_id="u")
    assert (created, found.new_session, found.unsaved) == (False, False, None)
    assert found.long_term_memory_strategy == strategy
    assert (found.user_id, found.namespace, found.session_id) == ("u", None, "s")


async def test_a_session_that_is_not_there_is_not_found(memory: MemoryAPIClient) -> None:
    with pytest.raises(MemoryNotFoundError):
        await memory.get_working_memory("nowhere")


async def test_what_is_put_is_what_is_found(memory: MemoryAPIClient) -> None:
    put = WorkingMemory(
        session_id="s",
        user_id="u",
        namespace="n",
        messages=said("Hello", "Hi, 世界"),
        memories=[fact("User likes tea", "m1", topics=["drinks"], event_date=datetime(2024, 1, 15, tzinfo=UTC))],
        data={"nested": {"list": [1, 2.5, None, "x"]}},
        context="They have met before.",
        tokens=12,
        ttl_seconds=600,
    )
    answered = await memory.put_working_memory("s", put, user_id="u")
    found = await memory.get_working_memory("s", user_id="u", namespace="n")
    for each in (answered, found):
        assert each.messages == put.messages
        assert each.memories[0].event_date == put.memories[0].event_date
        assert each.memories[0].topics == ["drinks"]
        assert (each.data, each.context, each.tokens, each.ttl_seconds) == (put.data, put.context, 12, 600)
    assert found.context_percentage_total_used is None


async def test_a_session_is_found_without_its_user_where_it_is_the_only_one(memory: MemoryAPIClient) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", messages=said("Hello")), user_id="u")
    assert (await memory.get_working_memory("s")).user_id == "u"
    await memory.put_working_memory("s", WorkingMemory(session_id="s", namespace="n", messages=said("Bye")))
    with pytest.raises(MemoryServerError, match="several users or namespaces"):
        await memory.get_working_memory("s")
    assert (await memory.get_working_memory("s", namespace="n")).messages[0].content == "Bye"


async def test_ids_may_be_anything_a_path_can_hold(memory: MemoryAPIClient) -> None:
    for session_id in ("whatsapp:+491234", "user 1/chat ä", "a.b@c", "-"):
        await memory.put_working_memory(session_id, WorkingMemory(session_id=session_id, data={"is": session_id}))
        found = await memory.get_working_memory(session_id)
        assert (found.session_id, found.data) == (session_id, {"is": session_id})


async def test_sessions_are_listed_by_namespace_and_user(memory: MemoryAPIClient) -> None:
    for name, user, namespace in (("a", "u", "n"), ("b", "u", None), ("c", None, "n")):
        await memory.put_working_memory(name, WorkingMemory(session_id=name, user_id=user, namespace=namespace))
    everything = await memory.list_sessions()
    assert (everything.sessions, everything.total) == (["c", "b", "a"], 3)
    assert (await memory.list_sessions(limit=1, offset=1)).sessions == ["b"]
    assert (await memory.list_sessions(namespace="n")).sessions == ["c", "a"]
    assert (await memory.list_sessions(namespace="n", user_id="u")).sessions == ["a"]
    with pytest.raises(MemoryServerError) as caught:
        await memory.list_sessions(limit=101)
    assert caught.value.status_code == 422


async def test_a_deleted_session_is_gone(memory: MemoryAPIClient) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", user_id="u"))
    assert (await memory.delete_working_memory("s", user_id="u")).status == "ok"
    assert (await memory.delete_working_memory("s", user_id="u")).status == "ok"
    assert (await memory.list_sessions()).total == 0


async def test_a_session_goes_when_its_time_is_over(memory: MemoryAPIClient) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", ttl_seconds=1))
    await asyncio.sleep(1.1)
    with pytest.raises(MemoryNotFoundError):
        await memory.get_working_memory("s")
    assert (await memory.list_sessions()).total == 0


async def test_data_is_set_merged_and_merged_deeply(memory: MemoryAPIClient) -> None:
    await memory.append_messages_to_working_memory("s", [{"role": "user", "content": "Hello", "id": "m1"}])
    await memory.set_working_memory_data("s", {"a": {"x": 1}, "b": 1})
    await memory.update_working_memory_data("s", {"b": 2})
    await memory.update_working_memory_data("s", {"a": {"y": 2}}, merge_strategy="deep_merge")
    found = await memory.get_working_memory("s")
    assert found.data == {"a": {"x": 1, "y": 2}, "b": 2}
    assert [each.id for each in found.messages] == ["m1"]
    await memory.set_working_memory_data("s", {"only": True}, preserve_existing=False)
    found = await memory.get_working_memory("s")
    assert (found.data, found.messages) == ({"only": True}, [])


async def test_messages_are_appended_with_their_ids_and_times(memory: MemoryAPIClient) -> None:
    first, second = said("One", "Two")
    await memory.append_messages_to_working_memory("s", [first], namespace="n")
    await memory.append_messages_to_working_memory("s", [second, {"role": "user", "content": "Three"}], namespace="n")
    found = (await memory.get_working_memory("s", namespace="n")).messages
    assert found[:2] == [first, second]
    assert found[2].content == "Three"
    assert len({each.id for each in found}) == 3


async def test_a_message_that_says_nothing_or_comes_from_the_future_is_refused(memory: MemoryAPIClient) -> None:
    with pytest.raises(MemoryServerError, match="content cannot be empty") as caught:
        await memory.append_messages_to_working_memory("s", [{"role": "user", "content": "  "}])
    assert caught.value.status_code == 400
    late = MemoryMessage(role="user", content="Hello", created_at=datetime.now(UTC)).model_copy(
        update={"created_at": datetime.now(UTC) + timedelta(days=1)}
    )
    with pytest.raises(MemoryServerError, match="in the future") as caught:
        await memory.put_working_memory(
            "s", WorkingMemory.model_construct(session_id="s", messages=[late], namespace=None)
        )
    assert caught.value.status_code == 422


async def test_percentages_are_told_where_a_window_is_named(memory: MemoryAPIClient) -> None:
    hundred = WorkingMemory(session_id="s", messages=said(HUNDRED_TOKENS))
    put = await memory.put_working_memory("s", hundred, context_window_max=1000)
    assert put.context_percentage_total_used == 10.0
    assert put.context_percentage_until_summarization == pytest.approx(100 / 7)
    by_model = await memory.get_working_memory("s", model_name="gpt-4")
    assert by_model.context_percentage_total_used == pytest.approx(100 * 100 / 8192)


async def test_what_does_not_fit_is_left_out_of_the_answer_and_kept(memory: MemoryAPIClient) -> None:
    long = WorkingMemory(session_id="s", messages=said(*(f"{number} " + HUNDRED_TOKENS for number in range(9))))
    await memory.put_working_memory("s", long)
    shown = await memory.get_working_memory("s", context_window_max=350)
    assert [each.content[:1] for each in shown.messages] == ["6", "7", "8"]
    assert len((await memory.get_working_memory("s")).messages) == 9
    raw = await memory._client.get("/v1/working-memory/s", params={"context_window_max": 350})
    assert raw.headers["x-deja-left-out"] == "6"


async def test_without_a_model_nothing_is_summarised_and_nothing_lost(memory: MemoryAPIClient) -> None:
    long = WorkingMemory(session_id="s", messages=said(*(HUNDRED_TOKENS for _ in range(9))))
    raw = await memory._client.put(
        "/v1/working-memory/s", json=long.model_dump(mode="json"), params={"context_window_max": 520}
    )
    assert (raw.headers["x-deja-summary"], raw.headers["x-deja-left-out"]) == ("no-model", "4")
    found = await memory.get_working_memory("s")
    assert (len(found.messages), found.context) == (9, None)


# ── memories in working memory ────────────────────────────────────────────────────────────────────────────────────


async def test_memories_of_a_session_become_long_term_ones(memory: MemoryAPIClient) -> None:
    await memory.add_memories_to_working_memory("s", [fact("User likes green tea", "m1", topics=["drinks"])])
    await memory.add_memories_to_working_memory("s", [fact("User works in Lima", "m2")])

    async def promoted() -> bool:
        kept = (await memory.get_working_memory("s")).memories
        return len(kept) == 2 and all(each.persisted_at for each in kept)

    await until(promoted)
    found = await memory.get_long_term_memory("m1")
    assert (found.text, found.topics, found.session_id) == ("User likes green tea", ["drinks"], "s")
    assert (await memory.get_long_term_memory("m2")).text == "User works in Lima"
    await memory.add_memories_to_working_memory("s", [fact("User has a cat", "m3")], replace=True)
    assert [each.id for each in (await memory.get_working_memory("s")).memories] == ["m3"]


async def test_memories_are_promoted_by_hand_too(memory: MemoryAPIClient) -> None:
    await memory.add_memories_to_working_memory("s", [fact("User likes tea", "m1"), fact("User has a dog", "m2")])
    assert (await memory.promote_working_memories_to_long_term("s", memory_ids=["m2"])).status == "ok"
    assert (await memory.get_long_term_memory("m2")).session_id == "s"
    assert (await memory.promote_working_memories_to_long_term("empty")).status == "ok"


# ── long-term memory ──────────────────────────────────────────────────────────────────────────────────────────────


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


# ── prompts ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_prompt_holds_summary_messages_memories_and_question(memory: MemoryAPIClient) -> None:
    await memory.create_long_term_memory(
        [fact("User prefers green tea", "tea", user_id="u"), fact("User likes cocoa", "cocoa", user_id="v")],
        deduplicate=False,
    )
    await memory.put_working_memory(
        "s", WorkingMemory(session_id="s", user_id="u", messages=said("Hello", "Hi"), context="They met.")
    )
    told = await memory.memory_prompt("What do I drink?", session_id="s", user_id="u", long_term_search={"limit": 5})
    assert [(each["role"], each["content"]["text"]) for each in told["messages"]] == [
        ("system", "## A summary of the conversation so far:\nThey met."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("system", "## Long term memories related to the user's query\n - User prefers green tea (ID: tea)"),
        ("user", "What do I drink?"),
    ]
    assert [each["id"] for each in told["long_term_memories"]] == ["tea"]


async def test_a_prompt_keeps_to_the_window(memory: MemoryAPIClient) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", messages=said("x" * 2000, "y" * 40)))
    told = await memory.memory_prompt("And now?", session_id="s", context_window_max=100)
    assert [each["content"]["text"] for each in told["messages"]] == ["y" * 40, "And now?"]
    assert told["long_term_memories"] is None


async def test_a_prompt_of_memories_alone_and_of_nothing(memory: MemoryAPIClient) -> None:
    told = await memory.hydrate_memory_prompt("What do I drink?", user_id={"eq": "u"}, topics={"any": ["drinks"]})
    assert [each["content"]["text"] for each in told["messages"]] == [
        "## Long term memories related to the user's query\n No relevant long-term memories found.",
        "What do I drink?",
    ]
    told = await memory.memory_prompt("Who?", session_id="not there")
    assert [each["role"] for each in told["messages"]] == ["user"]
    with pytest.raises(MemoryServerError, match="Either session or long_term_search must be provided") as caught:
        await memory.memory_prompt("Who?")
    assert caught.value.status_code == 400


async def test_what_a_session_said_itself_is_not_found_again(memory: MemoryAPIClient) -> None:
    await memory.create_long_term_memory(
        [fact("User prefers tea", "own", session_id="s"), fact("User has a cat", "other", session_id="t")]
    )
    body = {"query": "What is known?", "session": {"session_id": "s"}, "long_term_search": True}
    told = (await memory._client.post("/v1/memory/prompt", json=body)).json()
    assert [each["id"] for each in told["long_term_memories"]] == ["other"]


# ── tools for models ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_tools_answer_in_words(memory: MemoryAPIClient) -> None:
    made = await memory.get_or_create_working_memory_tool("s", user_id="u")
    assert made["created"] is True
    added = await memory.add_memory_tool("s", "User is vegetarian", "semantic", topics=["food"], user_id="u")
    assert added["success"], added
    assert (await memory.update_memory_data_tool("s", {"trip": "Lima"}))["success"]
    state = await memory.get_working_memory_tool("s")
    assert (state["memory_count"], state["data"]) == (1, {"trip": "Lima"})

    async def found() -> list[dict[str, Any]]:
        memories: list[dict[str, Any]] = (await memory.search_memory_tool("food", user_id="u"))["memories"]
        return memories

    (one,) = await until(found)
    assert (one["text"], one["topics"]) == ("User is vegetarian", ["food"])
    assert one["relevance_score"] <= 1.0
    assert (await memory.search_memory_tool("food", min_relevance=0.99))["memories"] == []


async def test_tool_calls_of_every_dialect_are_resolved(memory: MemoryAPIClient) -> None:
    calls: list[dict[str, Any]] = [
        {"id": "1", "type": "function", "function": {"name": "eagerly_create_long_term_memory", "arguments":
            '{"memories": [{"text": "User has two cats", "memory_type": "semantic"}]}'}},
        {"type": "tool_use", "id": "2", "name": "search_memory", "input": {"query": "pets"}},
        {"name": "get_current_datetime", "arguments": "{}"},
    ]  # fmt: skip
    assert [memory.parse_tool_call(call)["name"] for call in calls] == [
        memory.parse_openai_tool_call(calls[0])["name"],
        memory.parse_anthropic_tool_use(calls[1])["name"],
        memory.parse_openai_function_call(calls[2])["name"],
    ]
    first = await memory.resolve_tool_call(calls[0], session_id="s", user_id="u")
    assert first["success"], first
    rest = await memory.resolve_tool_calls(calls[1:], session_id="s")
    assert [each["success"] for each in rest] == [True, True]
    (pet,) = rest[0]["result"]["memories"]
    results = await memory.resolve_function_calls(
        [
            {"name": "get_or_create_working_memory", "arguments": {}},
            {"name": "lazily_create_long_term_memory", "arguments": {"text": "User is 40", "memory_type": "semantic"}},
            {"name": "update_working_memory_data", "arguments": {"data": {"a": 1}, "merge_strategy": "replace"}},
            {"name": "get_long_term_memory", "arguments": {"memory_id": pet["id"]}},
            {"name": "edit_long_term_memory", "arguments": {"memory_id": pet["id"], "text": "User has three cats"}},
        ],
        session_id="s",
    )
    assert [each["success"] for each in results] == [True] * 5, results
    assert (await memory.get_long_term_memory(pet["id"])).text == "User has three cats"
    gone = await memory.resolve_function_call("delete_long_term_memories", {"memory_ids": [pet["id"]]}, session_id="s")
    assert gone["result"] == {"status": "ok, deleted 1 memories"}
    again = await memory.resolve_function_call("get_long_term_memory", {"memory_id": pet["id"]}, session_id="s")
    assert not again["success"]


# ── summary views ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_view_is_kept_listed_and_deleted(memory: MemoryAPIClient) -> None:
    wanted = CreateSummaryViewRequest(
        name="By user", source="long_term", group_by=["user_id"], filters={"memory_type": "semantic"}, time_window_days=30,
        continuous=True, prompt="Say it in five words.", model_name="gpt-4o-mini",
    )  # fmt: skip
    made = await memory.create_summary_view(wanted)
    assert made.model_dump(exclude={"id"}) == wanted.model_dump()
    assert await memory.get_summary_view(made.id) == made
    assert await memory.list_summary_views() == [made]
    assert (await memory.delete_summary_view(made.id)).status == "ok"
    assert await memory.get_summary_view(made.id) is None
    assert await memory.list_summary_views() == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": "working_memory"}, "must be 'long_term'"),
        ({"group_by": ["colour", "user_id"]}, "Unsupported group_by fields: colour"),
        ({"filters": {"colour": "red"}}, "Unsupported filter fields: colour"),
        ({"filters": {"event_date": {"gte": "yesterday"}}}, "filters.event_date"),
        ({"filters": {"topics": {"near": "x"}}}, "filters.topics"),
    ],
)
async def test_a_view_that_cannot_be_is_refused(memory: MemoryAPIClient, fields: dict[str, Any], says: str) -> None:
    wanted = {"source": "long_term", "group_by": ["user_id"], **fields}
    with pytest.raises(MemoryServerError, match=says) as caught:
        await memory.create_summary_view(CreateSummaryViewRequest(**wanted))
    assert caught.value.status_code == 400


async def test_a_view_without_a_model_does_not_run_and_says_what_to_set(memory: MemoryAPIClient) -> None:
    made = await memory.create_summary_view(CreateSummaryViewRequest(source="long_term", group_by=["user_id"]))
    with pytest.raises(MemoryServerError, match="DEJA_MEMORY__MODEL") as caught:
        await memory.run_summary_view_partition(made.id, {"user_id": "ann"})
    assert caught.value.status_code == 400
    with pytest.raises(MemoryServerError, match="DEJA_MEMORY__MODEL"):
        await memory.run_summary_view(made.id)


async def test_partitions_are_summarised_one_by_one_and_all_at_once(
    memory: MemoryAPIClient, upstream: FakeUpstream
) -> None:
    upstream.script(chat("She drinks tea."))
    await memory.create_long_term_memory(
        [
            fact("User prefers green tea", user_id="ann", created_at=datetime(2024, 1, 1, tzinfo=UTC)),
            fact("User drinks it at five", user_id="ann"),
            fact("User likes cocoa", user_id="bob"),
            fact("Nobody's fact"),
        ],
        deduplicate=False,
    )
    made = await memory.create_summary_view(
        CreateSummaryViewRequest(source="long_term", group_by=["user_id"], model_name="gpt-4o-mini")
    )
    ann = await memory.run_summary_view_partition(made.id, {"user_id": "ann"})
    assert (ann.summary, ann.memory_count, ann.group) == ("She drinks tea.", 2, {"user_id": "ann"})
    asked = upstream.requests[-1].body.decode()
    assert "green tea" in asked
    assert "cocoa" not in asked
    nobody = await memory.run_summary_view_partition(made.id, {"user_id": "eve"})
    assert (nobody.summary, nobody.memory_count) == ("", 0)
    with pytest.raises(MemoryServerError, match="must exactly match"):
        await memory.run_summary_view_partition(made.id, {"namespace": "n"})

    task = await memory.run_summary_view(made.id, force=True)
    assert (task.type, task.view_id) == ("summary_view_full_run", made.id)

    async def ended() -> Any:
        now = await memory.get_task(task.id)
        return now if now is not None and now.completed_at else None

    assert (await until(ended)).status == "success"
    listed = await memory.list_summary_view_partitions(made.id)
    assert {(each.group["user_id"], each.memory_count) for each in listed} == {("ann", 2), ("bob", 1), ("eve", 0)}
    assert [each.group for each in await memory.list_summary_view_partitions(made.id, user_id="bob")] == [
        {"user_id": "bob"}
    ]
    assert await memory.get_task("nowhere") is None


# ── erasure ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_erased_user_and_an_erased_session_are_nowhere_any_more(
    memory: MemoryAPIClient, stranger: MemoryAPIClient, upstream: FakeUpstream
) -> None:
    for each in (memory, stranger):
        await each.create_long_term_memory(
            [
                fact("Ann likes tea", "tea", user_id="ann"),
                fact("Ann likes cocoa", "cocoa", user_id="ann", session_id="s"),
                fact("Bob likes chess", "chess", user_id="bob", session_id="s"),
                fact("Bob likes bees", "bees", user_id="bob"),
            ]
        )
        await each.edit_long_term_memory("tea", {"pinned": True})
        for user, session in (("ann", "a"), ("bob", "s"), ("bob", "b")):
            await each.put_working_memory(
                session, WorkingMemory(session_id=session, user_id=user, messages=said("Hello"))
            )
    view = await memory.create_summary_view(
        CreateSummaryViewRequest(source="long_term", group_by=["user_id"], model_name="gpt-4o-mini")
    )
    for user in ("ann", "bob"):
        await memory.run_summary_view_partition(view.id, {"user_id": user})
    erased = (await memory._client.delete("/v1/users/ann")).json()["erased"]
    assert (erased["working_memories"], erased["memories"], erased["summaries"]) == (1, 2, 1)
    assert {each.id for each in (await memory.search_long_term_memory("")).memories} == {"chess", "bees"}
    assert sorted((await memory.list_sessions()).sessions) == ["b", "s"]
    assert [each.group for each in await memory.list_summary_view_partitions(view.id)] == [{"user_id": "bob"}]
    erased = (await memory._client.delete("/v1/sessions/s")).json()["erased"]
    assert (erased["working_memories"], erased["memories"]) == (1, 1)
    assert {each.id for each in (await memory.search_long_term_memory("")).memories} == {"bees"}
    assert (await memory.list_sessions()).sessions == ["b"]
    assert (await stranger.search_long_term_memory("")).total == 4
    assert (await stranger.list_sessions()).total == 3


# ── walls and errors ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_tenant_sees_and_changes_nothing(
    memory: MemoryAPIClient, stranger: MemoryAPIClient, upstream: FakeUpstream
) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s", messages=said("A secret")))
    await memory.create_long_term_memory([fact("User's secret is tea", "m1")])
    view = await memory.create_summary_view(
        CreateSummaryViewRequest(source="long_term", group_by=[], model_name="gpt-4o-mini")
    )
    await memory.run_summary_view_partition(view.id, {})
    task = await memory.run_summary_view(view.id)

    for call in (
        stranger.get_working_memory("s"),
        stranger.get_long_term_memory("m1"),
        stranger.edit_long_term_memory("m1", {"text": "Changed"}),
        stranger.list_summary_view_partitions(view.id),
        stranger.run_summary_view_partition(view.id, {}),
        stranger.run_summary_view(view.id),
    ):
        with pytest.raises(MemoryNotFoundError):
            await call
    assert (await stranger.list_sessions()).total == 0
    assert (await stranger.search_long_term_memory("secret")).total == 0
    assert (await stranger.delete_long_term_memories(["m1"])).status == "ok, deleted 0 memories"
    assert (await stranger.forget_long_term_memories(ForgetPolicy(budget=0))).deleted == 0
    told = await stranger.memory_prompt("secret?", session_id="s", long_term_search={})
    assert "A secret" not in str(told)
    assert "tea" not in str(told)
    assert await stranger.get_summary_view(view.id) is None
    assert await stranger.list_summary_views() == []
    assert await stranger.get_task(task.id) is None
    await stranger.delete_summary_view(view.id)
    await stranger.delete_working_memory("s")
    assert (await memory.get_working_memory("s")).messages[0].content == "A secret"
    assert (await memory.get_long_term_memory("m1")).text == "User's secret is tea"
    assert await memory.get_summary_view(view.id) == view


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "limit": 0}, "limit"),
        ({"text": "x", "limit": 101}, "limit"),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "created_at": {"gte": "yesterday"}}, "created_at"),
        ({"text": "x", "user_id": {"equals": "u"}}, "user_id"),
        ({"text": "x", "user_id": {}}, "user_id"),
        ({"text": "x", "user_id": {"eq": None}}, "user_id"),
        ({"text": "x", "user_id": "u"}, "user_id"),
        ({"text": "x", "topics": {"any": []}}, "topics"),
        ({"text": "x", "memory_type": {"eq": "dream"}}, "memory_type"),
        ({"text": "x", "search_mode": "psychic"}, "search_mode"),
        ({"text": "x", "recency_half_life_created_days": 0}, "recency_half_life_created_days"),
    ],
    ids=str,
)
async def test_a_search_that_cannot_be_is_refused_with_its_field(
    memory: MemoryAPIClient, body: dict[str, Any], field: str
) -> None:
    answer = await memory._client.post("/v1/long-term-memory/search", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", field]
    assert answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/long-term-memory/", {"memories": [{"text": "x"}]}, 422),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": ""}]}, 422),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": "x" * 20_000}]}, 413),
        ("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": "x", "created_at": "then"}]}, 422),
        ("POST", "/v1/long-term-memory/search", {"search_mode": "keyword", "distance_threshold": 0.5}, 400),
        ("POST", "/v1/long-term-memory/forget", {"policy": {"max_age": 3}}, 422),
        ("PUT", "/v1/working-memory/s", {"memories": [{"id": "", "text": "x"}]}, 422),
        ("PUT", "/v1/working-memory/s", {"ttl_seconds": 0}, 422),
        ("PUT", "/v1/working-memory/s", {"long_term_memory_strategy": {"strategy": "guess"}}, 422),
        ("PUT", "/v1/working-memory/s?model_name=nobodys-model", {}, 422),
        ("PUT", f"/v1/working-memory/{'s' * 300}", {}, 422),
        ("POST", "/v1/summary-views", {"source": "dreams"}, 422),
        ("POST", "/v1/memory/prompt", {"session": {"session_id": "s"}}, 422),
    ],
)
async def test_what_cannot_be_stored_is_refused(
    memory: MemoryAPIClient, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await memory._client.request(method, path, json=body)
    assert (answer.status_code, next(iter(answer.json()))) == (status, "detail")


async def test_a_body_that_is_no_json_or_too_large_is_refused(memory: MemoryAPIClient) -> None:
    broken = await memory._client.put("/v1/working-memory/s", content=b"{")
    assert (broken.status_code, broken.json()["code"]) == (400, "invalid_json")
    large = await memory._client.put("/v1/working-memory/s", content=b" " * (10 << 20) + b"{}")
    assert large.status_code == 413
    assert "detail" in large.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/working-memory"),
        ("GET", "/v1/working-memory/s"),
        ("POST", "/v1/long-term-memory"),
        ("POST", "/v1/long-term-memory/search"),
        ("POST", "/v1/long-term-memory/compact"),
        ("DELETE", "/v1/long-term-memory"),
        ("GET", "/v1/long-term-memory/m1"),
        ("GET", "/v1/summary-views"),
        ("GET", "/v1/health"),
    ],
)
async def test_a_slash_at_the_end_makes_no_difference(memory: MemoryAPIClient, method: str, path: str) -> None:
    await memory.put_working_memory("s", WorkingMemory(session_id="s"))
    await memory.create_long_term_memory([fact("User likes tea", "m1")])
    body = {"memories": []} if path.endswith("memory") else {"text": "tea"}
    for each in (path, f"{path}/"):
        answer = await memory._client.request(method, each, json=body if method == "POST" else None)
        assert answer.status_code == 200, (each, answer.text)


async def test_a_message_without_a_time_is_warned_of(memory: MemoryAPIClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "nobody": "knows this field"}
    answer = await memory._client.put("/v1/working-memory/s", json=body)
    assert answer.status_code == 200
    assert "created_at" in answer.headers["x-deprecation-warning"]


def test_the_client_is_the_one_this_was_written_for() -> None:
    assert agent_memory_client.__version__.startswith("0.")
