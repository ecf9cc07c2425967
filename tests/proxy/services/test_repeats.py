from __future__ import annotations

import pytest

from proxy.services import repeats
from proxy.services.repeats import Repeats


def asked(
    remembered: Repeats, *, tenant: str = "t", session: str | None = "s", fingerprint: str = "f", at: float = 0.0
) -> bool:
    return remembered.seen(tenant, session, fingerprint, at=at)


@pytest.fixture
def remembered() -> Repeats:
    return Repeats(is_on=True, window_s=10.0)


def test_the_first_time_is_no_repeat(remembered: Repeats) -> None:
    assert not asked(remembered)


@pytest.mark.parametrize(("after_s", "is_repeat"), [(0.1, True), (10.0, True), (10.1, False)])
def test_the_same_again_within_the_window_is_one(remembered: Repeats, after_s: float, is_repeat: bool) -> None:
    asked(remembered, at=100.0)
    assert asked(remembered, at=100.0 + after_s) is is_repeat


def test_the_window_begins_anew_with_each_time(remembered: Repeats) -> None:
    assert [asked(remembered, at=at) for at in (0.0, 8.0, 16.0, 40.0)] == [False, True, True, False]


@pytest.mark.parametrize("other", [{"tenant": "u"}, {"session": "r"}, {"fingerprint": "g"}])
def test_another_tenant_session_or_request_is_no_repeat(remembered: Repeats, other: dict[str, str]) -> None:
    asked(remembered)
    assert not asked(remembered, at=1.0, **other)


def test_a_request_of_no_session_is_never_a_repeat(remembered: Repeats) -> None:
    assert not any(asked(remembered, session=None, at=at) for at in (0.0, 1.0))


def test_nothing_is_a_repeat_where_repeats_are_hits() -> None:
    remembered = Repeats(is_on=False, window_s=10.0)
    assert not any(asked(remembered, at=at) for at in (0.0, 1.0))


def test_memory_is_bounded_and_the_oldest_goes_first(remembered: Repeats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_REMEMBERED", 3)
    for fingerprint in "abcd":
        asked(remembered, fingerprint=fingerprint)
    assert asked(remembered, fingerprint="d", at=1.0)
    assert not asked(remembered, fingerprint="a", at=1.0)
    assert len(remembered._asked_at) == 3
