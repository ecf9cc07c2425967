from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.core.freshness import POPULAR_HITS, Freshness
from proxy.core.models import Entry, WireMode
from proxy.errors import UpstreamError
from proxy.services import refreshing
from proxy.services.background import Background
from proxy.services.refreshing import AGAIN_S, Refresher

ENTRY = Entry("ent_1", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=100)


def decision(fingerprint: str = "f", *, writes: bool = True, is_store_down: bool = False) -> Any:
    """As much of a decision as a refresher looks at."""
    return SimpleNamespace(
        place=SimpleNamespace(fingerprint=fingerprint),
        call=SimpleNamespace(directives=SimpleNamespace(mode=SimpleNamespace(writes=writes))),
        is_store_down=is_store_down,
    )


class Rig:
    """A refresher with a clock, and a provider that answers when told to."""

    def __init__(self, freshness: Freshness) -> None:
        self.now_s = 0.0
        self.events: list[tuple[str, str]] = []
        self.fetched = 0
        self.brings: str | UpstreamError | None = "ent_2"
        self.go = asyncio.Event()
        self.go.set()
        self.background = Background()
        self.refresher = Refresher(
            freshness,
            self.background,
            now=lambda: self.now_s,
            on_event=lambda why, how: self.events.append((why, how)),
        )

    async def fetch(self, _: object) -> str | None:
        self.fetched += 1
        await self.go.wait()
        if isinstance(self.brings, UpstreamError):
            raise self.brings
        return self.brings

    async def served(self, at_s: float, asked: Any = None, entry: Entry = ENTRY) -> None:
        self.now_s = at_s
        self.refresher.served(asked or decision(), entry, self.fetch)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def rig() -> Rig:
    return Rig(Freshness(stale_while_revalidate_s=50, refresh_ahead=0.2))


async def test_a_stale_answer_that_was_served_is_fetched_anew(rig: Rig) -> None:
    await rig.served(99.0)
    assert rig.fetched == 0
    await rig.served(100.0)
    assert rig.events == [("stale", "stored")]


async def test_a_popular_answer_is_fetched_ahead_once(rig: Rig) -> None:
    rig.go.clear()
    for _ in range(POPULAR_HITS + 4):
        await rig.served(85.0)
    rig.go.set()
    await rig.served(85.0)
    assert rig.fetched == 1


async def test_an_answer_hit_once_or_twice_is_left_to_grow_stale(rig: Rig) -> None:
    for _ in range(POPULAR_HITS - 1):
        await rig.served(95.0)
    assert rig.fetched == 0


async def test_hits_of_one_entry_do_not_count_for_its_successor(rig: Rig) -> None:
    for number in range(POPULAR_HITS + 2):
        await rig.served(95.0, entry=Entry(f"ent_{number}", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=100))
    assert rig.fetched == 0


@pytest.mark.parametrize(
    ("brings", "how"), [(None, "not-stored"), (UpstreamError("away"), "failed")], ids=["nothing", "an error"]
)
async def test_what_brought_no_entry_is_not_tried_again_at_once(rig: Rig, brings: Any, how: str) -> None:
    rig.brings = brings
    await rig.served(100.0)
    await rig.served(100.0 + AGAIN_S - 1)
    assert rig.events == [("stale", how)]
    await rig.served(100.0 + AGAIN_S)
    assert len(rig.events) == 2


async def test_there_are_only_so_many_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "MAX_UNDER_WAY", 2)
    rig.go.clear()
    for fingerprint in "abc":
        await rig.served(100.0, decision(fingerprint))
    assert rig.events == [("stale", "dropped")]
    rig.go.set()
    await rig.served(50.0)  # the two come to their end
    await rig.served(100.0, decision("c"))
    assert rig.fetched == 3


@pytest.mark.parametrize("asked", [{"writes": False}, {"is_store_down": True}], ids=["read-only", "no Redis"])
async def test_what_cannot_be_stored_is_not_fetched(rig: Rig, asked: dict[str, Any]) -> None:
    await rig.served(100.0, decision(**asked))
    assert rig.fetched == 0


async def test_nothing_is_fetched_by_default() -> None:
    rig = Rig(Freshness())
    for _ in range(10):
        await rig.served(99.0)
    assert rig.fetched == 0
    assert not rig.refresher._hits


async def test_memory_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "MAX_REMEMBERED", 3)
    for number in range(9):
        await rig.served(50.0, entry=Entry(f"ent_{number}", "q", b"{}", WireMode.BOTH, created_at=0.0, ttl_s=100))
    assert len(rig.refresher._hits) == 3
