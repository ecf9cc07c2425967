"""The sweep for dead agents goes on whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from proxy.errors import StoreUnavailableError
from proxy.services.agent_upkeep import AgentUpkeep
from proxy.services.background import Background


class Guard:
    def within(self, deadline_s: float) -> Any:
        return nullcontext()


class Store:
    """Answers each sweep with the next of these; after the last one, `is_done`."""

    def __init__(self, *answers: int | Exception) -> None:
        self._answers: Iterator[int | Exception] = iter(answers)
        self.is_done = asyncio.Event()

    async def sweep(self) -> int:
        answer = next(self._answers, None)
        if answer is None:
            self.is_done.set()
            return 0
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_deaths_are_counted_and_no_failure_ends_the_sweeps(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(2, StoreUnavailableError("Redis is gone."), ValueError("prompt"), 0, 1)
    deaths: list[int] = []
    upkeep = AgentUpkeep(store, Guard(), on_deaths=deaths.append, round_s=0.001)
    with caplog.at_level(logging.INFO, "deja.agents"):
        background = Background()
        background.spawn(upkeep.run(), name="agents")
        await store.is_done.wait()
        await background.aclose()
    assert deaths == [2, 1]
    assert "ValueError" in caplog.text
    assert "prompt" not in caplog.text
