from __future__ import annotations

from contextlib import nullcontext

import pytest

from proxy.core.keys import Place
from proxy.errors import StoreUnavailableError
from proxy.services import repeats
from proxy.services.repeats import Repeats


class Notes:
    """Notes in memory that never run out; or that cannot be reached."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.left: list[str] = []
        self.is_away = is_away

    async def note(self, key: str, *, ttl_ms: int) -> bool:
        assert ttl_ms == 10_000
        if self.is_away:
            raise StoreUnavailableError("away")
        self.left.append(key)
        return key in self.left[:-1]


class NoGuard:
    """Bounds nothing."""

    def within(self, _: float) -> nullcontext[None]:
        return nullcontext()


def repeats_of(notes: Notes, *, is_on: bool = True) -> Repeats:
    return Repeats(notes, NoGuard(), is_on=is_on, window_s=10.0, deadline_s=1.0)


async def asked(
    remembered: Repeats, *, room: str = "r", session: str | None = "s", fingerprint: str = "f", at: float = 0.0
) -> bool:
    return await remembered.seen(Place(room, fingerprint, None, ""), session, at=at)


@pytest.fixture
def remembered() -> Repeats:
    """Of a process whose Redis is away, so that it relies on itself."""
    return repeats_of(Notes(is_away=True))


async def test_a_repeat_that_meets_another_process_is_one() -> None:
    notes = Notes()
    assert [await asked(repeats_of(notes)), await asked(repeats_of(notes))] == [False, True]


async def test_the_first_time_is_no_repeat(remembered: Repeats) -> None:
    assert not await asked(remembered)


@pytest.mark.parametrize(("after_s", "is_repeat"), [(0.1, True), (10.0, True), (10.1, False)])
async def test_the_same_again_within_the_window_is_one(remembered: Repeats, after_s: float, is_repeat: bool) -> None:
    await asked(remembered, at=100.0)
    assert await asked(remembered, at=100.0 + after_s) is is_repeat


async def test_the_window_begins_anew_with_each_time(remembered: Repeats) -> None:
    assert [await asked(remembered, at=at) for at in (0.0, 8.0, 16.0, 40.0)] == [False, True, True, False]


@pytest.mark.parametrize("other", [{"room": "u"}, {"session": "r"}, {"fingerprint": "g"}])
async def test_another_tenant_session_or_request_is_no_repeat(remembered: Repeats, other: dict[str, str]) -> None:
    await asked(remembered)
    assert not await asked(remembered, at=1.0, **other)


async def test_a_request_of_no_session_is_never_a_repeat(remembered: Repeats) -> None:
    assert not any([await asked(remembered, session=None, at=at) for at in (0.0, 1.0)])


async def test_nothing_is_a_repeat_where_repeats_are_hits() -> None:
    remembered = repeats_of(Notes(), is_on=False)
    assert not any([await asked(remembered, at=at) for at in (0.0, 1.0)])


async def test_memory_is_bounded_and_the_oldest_goes_first(
    remembered: Repeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "MAX_REMEMBERED", 3)
    for fingerprint in "abcd":
        await asked(remembered, fingerprint=fingerprint)
    assert await asked(remembered, fingerprint="d", at=1.0)
    assert not await asked(remembered, fingerprint="a", at=1.0)
    assert len(remembered._asked_at) == 3
