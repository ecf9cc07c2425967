"""Summary views through the Agent Memory Server's client: kept, refused, and run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryServerError
from agent_memory_client.models import CreateSummaryViewRequest

from tests.e2e.memory_server.remembering import fact, until
from tests.fake_upstream import FakeUpstream, chat


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
