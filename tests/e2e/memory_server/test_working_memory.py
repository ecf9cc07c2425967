"""Sessions through the Agent Memory Server's client: made, found, listed, merged, and what fits in a window."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError
from agent_memory_client.models import MemoryMessage, MemoryStrategyConfig, WorkingMemory

from tests.e2e.memory_server.remembering import DEPRECATED, fact, said, until

pytestmark = DEPRECATED

HUNDRED_TOKENS = " ".join(["tea"] * 99)
"""With who said it."""


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
