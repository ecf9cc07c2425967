"""How entries are walked: in pages that removing does not tear, within bounds, and with the token of what was counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from proxy.core.entries import Cursor, Listed, Page, Wanted
from proxy.core.entry_lines import Line
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services import entries as module
from proxy.services.background import Background
from proxy.services.entries import Entries
from tests.builders import NOW_S

PAGE = 10


class Store:
    """A list in memory: entry number n expires after n seconds, ten of each kind of tag in the same second."""

    def __init__(self, count: int) -> None:
        self.kept = {f"key {number:04}": _entry(number) for number in range(count)}
        self.gone: set[str] = set()
        self.pages = 0

    async def page(self, tenant: str, cursor: Cursor, *, now_s: float) -> Page:
        self.pages += 1
        order = sorted(((one.created_at + one.ttl_s, key) for key, one in self.kept.items()), reverse=True)
        rest = [one for one in order if cursor.score is None or one[0] <= cursor.score][cursor.skip :][:PAGE]
        found = tuple(self.kept[key] for _, key in rest if key not in self.gone)
        return Page(cursor, tuple((key, score) for score, key in rest), found, len(rest) < PAGE)

    async def find(self, tenant: str, entry_id: str) -> Listed | None:
        return None

    async def contents(self, redis_keys: Sequence[str]) -> list[dict[str, bytes]]:
        return [{} for _ in redis_keys]

    async def restore(self, tenant: str, lines: Sequence[Line], *, now_s: float) -> int:
        return len(lines)

    async def remove(self, tenant: str, entries: Sequence[Listed]) -> int:
        return sum(self.kept.pop(one.redis_key, None) is not None for one in entries)


def _entry(number: int) -> Listed:
    return Listed(
        redis_key=f"key {number:04}",
        entry_id=f"ent_{number:032}",
        family="chat",
        namespace="",
        model="m",
        question=f"Question {number}?",
        tags=("even",) if number % 2 == 0 else (),
        created_at=NOW_S,
        ttl_s=number // 7,
        fingerprint="",
    )


class Lists:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.swept: list[float] = []

    async def sweep(self, *, now_s: float) -> int:
        if self.failures:
            raise self.failures.pop(0)
        self.swept.append(now_s)
        return 0


class Guard:
    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


def made(store: Store, lists: Lists | None = None) -> Entries:
    return Entries(store, lists or Lists(), Guard(), secret=b"s", now=lambda: NOW_S)


EVEN = Wanted(tags=("even",))


async def listed(entries: Entries, wanted: Wanted, limit: int) -> list[str]:
    met: list[str] = []
    cursor: Cursor | None = Cursor()
    while cursor is not None:
        found, cursor = await entries.listing("0a", wanted, cursor=cursor, limit=limit)
        assert len(found) <= limit
        met += [one.redis_key for one in found]
    return met


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 50, 1000])
async def test_a_list_in_pages_of_any_size_has_everything_once(limit: int) -> None:
    store = Store(57)
    store.gone = {"key 0007", "key 0056"}
    wanted = [key for key, one in store.kept.items() if one.tags and key not in store.gone]
    assert sorted(await listed(made(store), EVEN, limit)) == wanted


async def test_a_list_looks_at_a_bounded_number_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 20)
    store = Store(100)
    found, following = await made(store).listing("0a", Wanted(text="Question 3?"), cursor=Cursor(), limit=5)
    assert (found, store.pages) == ([], 2)
    assert following is not None


async def test_what_is_counted_is_what_is_removed_and_nothing_else() -> None:
    store = Store(57)
    entries = made(store)
    counted, token = await entries.count("0a", EVEN)
    removal = await entries.invalidate("0a", EVEN, token=token)
    assert (counted, removal.removed, removal.is_done) == (29, 29, True)
    assert len(store.kept) == 28
    assert not any(one.tags for one in store.kept.values())


async def test_a_large_removal_is_done_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMOVED_AT_ONCE", 12)
    store = Store(57)
    entries = made(store)
    _, token = await entries.count("0a", Wanted())
    removals = []
    while not removals or not removals[-1].is_done:
        removals.append(await entries.invalidate("0a", Wanted(), token=token))
    assert sum(removal.removed for removal in removals) == 57
    assert len(removals) == 3


async def test_the_token_of_other_conditions_or_another_tenant_removes_nothing() -> None:
    store = Store(5)
    entries = made(store)
    _, token = await entries.count("0a", EVEN)
    for tenant, wanted in (("0a", Wanted()), ("0b", EVEN)):
        with pytest.raises(RequestError) as refused:
            await entries.invalidate(tenant, wanted, token=token)
        assert refused.value.code == "token_mismatch"
    assert len(store.kept) == 5


@pytest.mark.parametrize("entry_id", ["", "ent_1", "*", "ent_" + "?" * 32, "emb_" + "g" * 32])
async def test_what_is_no_id_is_not_even_looked_for(entry_id: str) -> None:
    with pytest.raises(RequestError) as refused:
        await made(Store(1)).read("0a", entry_id)
    assert refused.value.status == 404


async def test_sweeping_goes_on_after_redis_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.001)
    lists = Lists(StoreUnavailableError("away"))
    background = Background()
    background.spawn(made(Store(0), lists).run(), name="entry-lists")
    while not lists.swept:  # noqa: ASYNC110  what is waited for has no event
        await asyncio.sleep(0.001)
    await background.aclose()
