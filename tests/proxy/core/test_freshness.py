from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.directives import parse_directives
from proxy.core.freshness import FRESH_ONLY, POPULAR_HITS, Freshness
from proxy.core.lookup import Embed, Forward, LookUp, Serve, after_exact
from proxy.core.models import Directives, Entry, Forwarded, Mode, WireMode

TTL_S = 100
ENTRY = Entry("ent_1", "q", b"{}", WireMode.BOTH, created_at=1000.0, ttl_s=TTL_S)
BOTH = Freshness(stale_while_revalidate_s=10, stale_if_error_s=50, refresh_ahead=0.2)


def look(max_age_s: int | None = None) -> LookUp:
    return LookUp(text="q", exact_only=None, as_stream=False, max_age_s=max_age_s, floor=None)


def at(age_s: float) -> float:
    return ENTRY.created_at + age_s


@pytest.mark.parametrize(
    ("age_s", "freshness", "served"),
    [
        (99, FRESH_ONLY, True),
        (100, FRESH_ONLY, False),
        (100, BOTH, True),
        (109, BOTH, True),
        (110, BOTH, False),
        (110, Freshness(stale_if_error_s=50), False),
    ],
)
def test_a_stale_entry_serves_while_it_may_be_revalidated(age_s: float, freshness: Freshness, served: bool) -> None:
    state = after_exact(look(), ENTRY, now_s=at(age_s), freshness=freshness)
    assert isinstance(state, Serve if served else Embed)


def test_a_callers_max_age_rules_out_what_is_stale_and_older() -> None:
    state = after_exact(look(max_age_s=60), ENTRY, now_s=at(105), freshness=BOTH)
    assert isinstance(state, Forward)
    assert state.fwd is Forwarded.STALE


@given(st.integers(0, 400), st.integers(0, 200))
def test_more_time_never_serves_less(age_s: int, stale_s: int) -> None:
    def serves(seconds: int) -> bool:
        return Freshness(stale_while_revalidate_s=seconds).may_serve(ENTRY, now_s=at(age_s))

    assert serves(stale_s + 1) >= serves(stale_s)
    assert serves(0) == (ENTRY.remaining_s(at(age_s)) > 0)


@pytest.mark.parametrize(
    ("age_s", "hits", "is_due"),
    [(79, POPULAR_HITS, False), (80, POPULAR_HITS, True), (99, POPULAR_HITS - 1, False), (99, 100, True)],
)
def test_popular_entries_are_refreshed_in_the_last_share_of_their_time(age_s: float, hits: int, is_due: bool) -> None:
    assert BOTH.is_due(ENTRY, now_s=at(age_s), hits=hits) is is_due


@pytest.mark.parametrize(
    ("age_s", "asked", "stands_in"),
    [
        (149, {}, True),
        (150, {}, False),
        (149, {"stale_if_error_s": 10}, False),
        (109, {"stale_if_error_s": 10}, True),
        (100, {"stale_if_error_s": 0}, False),
        (180, {"stale_if_error_s": 100}, True),  # where it is still kept
        (105, {"max_age_s": 60}, False),
        (50, {"max_age_s": 60}, True),
        (105, {"max_age_s": 60, "stale_if_error_s": 20}, True),
        (105, {"mode": Mode.SHADOW}, False),
    ],
)
def test_a_stale_entry_stands_in_for_a_failing_provider(age_s: float, asked: dict[str, int], stands_in: bool) -> None:
    assert BOTH.stands_in(ENTRY, Directives(**asked), now_s=at(age_s)) is stands_in  # type: ignore[arg-type]


def test_nothing_stands_in_by_default() -> None:
    assert not FRESH_ONLY.stands_in(ENTRY, Directives(), now_s=at(0))
    assert not FRESH_ONLY.refreshes
    assert FRESH_ONLY.kept_s == 0


def test_entries_are_kept_for_the_longer_of_the_two() -> None:
    assert BOTH.kept_s == 50
    assert Freshness(stale_while_revalidate_s=70, stale_if_error_s=50).kept_s == 70


def test_the_request_says_stale_if_error() -> None:
    told = parse_directives([(b"cache-control", b"stale-if-error=30")], {}, default_mode=Mode.SEMANTIC)
    assert told.stale_if_error_s == 30


def test_time_to_live_is_negative_once_it_is_over() -> None:
    assert ENTRY.ttl_left_s(at(112.9)) == -12
    assert ENTRY.remaining_s(at(112.9)) == 0
