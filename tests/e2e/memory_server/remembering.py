"""Facts and messages to remember, and waiting until they are."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from agent_memory_client.models import ClientMemoryRecord, MemoryMessage, MemoryTypeEnum

# The client's convenience methods call one that it has deprecated.
DEPRECATED = pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")


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
