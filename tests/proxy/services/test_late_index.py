"""Two indexes searched as one, while entries move from one to the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from proxy.core.models import Candidate
from proxy.errors import IndexMissingError, StoreUnavailableError
from proxy.services.late_index import LateIndex
from tests.builders import candidate

VECTOR, EARLIER = np.ones(3, dtype=np.float32), np.zeros(2, dtype=np.float32)


class Index:
    """Offers what it is told to, or fails; remembers what it was asked."""

    def __init__(self, log: list[str], name: str, *found: Candidate, failure: Exception | None = None) -> None:
        self.log, self.name, self.found, self.failure = log, name, list(found), failure
        self.asked: list[tuple[str, Any, int]] = []

    async def nearest(self, partition: str, vector: Any, *, k: int) -> list[Candidate]:
        self.log.append(self.name)
        self.asked.append((partition, vector, k))
        if self.failure is not None:
            raise self.failure
        return self.found


def both(now: Index, before: Index) -> LateIndex:
    late = LateIndex()
    late.use(now)
    late.use_earlier(before)
    return late


NEAR, FAR = candidate(entry_id="ent_near", distance=0.1), candidate(entry_id="ent_far", distance=0.3)


async def test_until_it_is_known_there_is_no_index() -> None:
    with pytest.raises(IndexMissingError):
        await LateIndex().nearest("aa", VECTOR, k=3)


async def test_without_a_vector_of_the_embedder_before_its_index_is_not_asked() -> None:
    log: list[str] = []
    late = both(Index(log, "now", NEAR), Index(log, "before", FAR))
    assert await late.nearest("aa", VECTOR, k=3) == [NEAR]
    late.use_earlier(None)
    assert await late.nearest("aa", VECTOR, k=3, earlier=EARLIER) == [NEAR]
    assert log == ["now", "now"]


async def test_each_index_is_asked_with_its_own_vector_the_one_before_first() -> None:
    log: list[str] = []
    now, before = Index(log, "now", FAR), Index(log, "before", NEAR)
    found = await both(now, before).nearest("aa", VECTOR, k=3, earlier=EARLIER)
    assert found == [replace(NEAR, is_earlier=True), FAR]
    assert log == ["before", "now"], "so that an entry that moves in between is in one of them"
    assert now.asked == [("aa", VECTOR, 3)]
    assert before.asked == [("aa", EARLIER, 3)]


async def test_an_entry_that_moved_in_between_is_offered_once_as_the_new_embedder_sees_it() -> None:
    log: list[str] = []
    seen = replace(NEAR, distance=0.2)
    assert await both(Index(log, "now", seen), Index(log, "before", NEAR)).nearest(
        "aa", VECTOR, k=3, earlier=EARLIER
    ) == [seen]


async def test_one_index_that_is_not_there_leaves_the_other_one() -> None:
    log: list[str] = []
    missing = Index(log, "missing", failure=IndexMissingError("not there"))
    there = Index(log, "there", NEAR)
    assert await both(there, missing).nearest("aa", VECTOR, k=3, earlier=EARLIER) == [NEAR]
    found = await both(missing, there).nearest("aa", VECTOR, k=3, earlier=EARLIER)
    assert found == [replace(NEAR, is_earlier=True)]
    with pytest.raises(IndexMissingError):
        await both(missing, Index(log, "empty")).nearest("aa", VECTOR, k=3, earlier=EARLIER)


async def test_redis_away_is_redis_away() -> None:
    log: list[str] = []
    away = Index(log, "away", failure=StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await both(Index(log, "now"), away).nearest("aa", VECTOR, k=3, earlier=EARLIER)
