"""What is erased, and what is another tenant's, the Agent Memory Server's client does not see."""

from __future__ import annotations

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError
from agent_memory_client.models import CreateSummaryViewRequest, ForgetPolicy, WorkingMemory

from tests.e2e.memory_server.remembering import DEPRECATED, fact, said
from tests.fake_upstream import FakeUpstream

pytestmark = DEPRECATED


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
