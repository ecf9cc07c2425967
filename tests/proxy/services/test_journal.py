from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.errors import StoreUnavailableError
from proxy.services.journal import JournalUpkeep
from proxy.stores.journal import Trimmed


class Journal:
    """Trims as told."""

    def __init__(self, *outcomes: Trimmed | Exception) -> None:
        self._outcomes = list(outcomes)

    async def trim(self) -> Trimmed:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Unguarded:
    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


async def test_what_is_lost_is_counted_and_said_with_the_group_at_fault(caplog: pytest.LogCaptureFixture) -> None:
    lost: list[int] = []
    journal = Journal(Trimmed(500, 0, "", 1000), Trimmed(900, 700, "archive", 5000))
    upkeep = JournalUpkeep(journal, Unguarded(), on_loss=lost.append)
    await upkeep.round()
    assert (lost, caplog.messages) == ([], [])
    await upkeep.round()
    assert lost == [700]
    (told,) = caplog.messages
    assert "'archive'" in told
    assert "XGROUP DESTROY" in told


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ValueError("a reply of another shape")])
async def test_a_round_that_fails_is_followed_by_another(error: Exception) -> None:
    lost: list[int] = []
    upkeep = JournalUpkeep(Journal(error, Trimmed(1, 1, "g", 1)), Unguarded(), on_loss=lost.append)
    await upkeep.round()
    await upkeep.round()
    assert lost == [1]
