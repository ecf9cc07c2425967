"""Overviews for admins, over doubles of what they are put together from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from proxy.core import overview
from proxy.core.history import MINUTE, QUARTER
from proxy.core.overview import FleetTotals, TenantName
from proxy.services.history import History
from proxy.services.overview import SHOWN, SLOTS, Overviews
from tests.proxy.services.test_history import NOON_S, Guard, MemoryStore

FLEET = FleetTotals(agents=3, alive=2, queues=1, tasks={"working": 1}, dead=4)


class Around:
    """Ledger, keys and counter in one."""

    def __init__(self, *latest: str) -> None:
        self.tenants = list(latest)
        self.asked: list[Any] = []

    async def latest(self, *, since_s: float, count: int) -> list[str]:
        self.asked.append((since_s, count))
        return self.tenants[:count]

    async def tenant_names(self) -> dict[str, TenantName]:
        return {"a": TenantName("shop", ("shop-key",))}

    async def read(self, tenants: Sequence[str], *, now_ms: int) -> FleetTotals:
        self.asked.append((list(tenants), now_ms))
        return FLEET

    def within(self, _: float) -> Any:
        return nullcontext()


async def test_all_together_and_the_busiest_first_each_under_its_name() -> None:
    history, around = History(MemoryStore(), Guard(), now=lambda: NOON_S), Around("a", "b")
    history.answered("a", "exact", 0.001)
    for _ in range(2):
        history.answered("b", "miss", 1.0)
    history.audited("b", is_wrong=True)
    overviews = Overviews(history, around, around, around, around, now=lambda: NOON_S)
    told = overview.as_json(await overviews.read(MINUTE, 3))
    assert [slot["requests"] for slot in told["data"]] == [{}, {}, {"exact": 1, "miss": 2}]
    assert told["total"]["requests"] == {"exact": 1, "miss": 2}
    assert told["total"]["wrong_hit_rate"]["estimate"] == 1.0
    rows = [(one["tenant"], one["name"], one["keys"], one["requests"]) for one in told["tenants"]]
    assert rows == [("b", None, [], {"miss": 2}), ("a", "shop", ["shop-key"], {"exact": 1})]
    assert told["agents"] == {"agents": 3, "alive": 2}
    assert told["queues"] == {"queues": 1, "tasks": {"working": 1}, "dead": 4}
    assert around.asked == [(NOON_S - 120, SHOWN), (["a", "b"], NOON_S * 1000)]


async def test_where_nobody_asked_there_are_empty_slots() -> None:
    around = Around()
    overviews = Overviews(
        History(MemoryStore(), Guard(), now=lambda: NOON_S), around, around, around, around, now=lambda: NOON_S
    )
    seen = await overviews.read(MINUTE, 2)
    assert [dict(counts) for _, counts in seen.slots] == [{}, {}]
    assert Counter(seen.tenants) == Counter()


async def test_the_longer_the_time_the_fewer_tenants_are_read() -> None:
    around = Around()
    history = History(MemoryStore(), Guard(), now=lambda: NOON_S)
    await Overviews(history, around, around, around, around, now=lambda: NOON_S).read(QUARTER, QUARTER.slots)
    (_, count), *_ = around.asked
    assert 1 <= count < SHOWN
    assert count * QUARTER.slots <= SLOTS
