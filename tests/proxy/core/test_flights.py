from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flights import (
    ALONE,
    BREAK_OFF,
    LEAD,
    MISSED_BEATS,
    SILENCE,
    TAKE_OVER,
    Alone,
    BreakOff,
    Data,
    Dropped,
    End,
    Failure,
    Follow,
    Following,
    Head,
    Lease,
    Silence,
    TakeOver,
    Word,
    after_claim,
    from_fields,
    to_fields,
)

FLYING, LANDED = Lease("p.1"), Lease("p.1", has_landed=True)


@pytest.mark.parametrize("found_nothing", [True, False])
def test_who_gets_the_lease_leads_and_who_finds_a_call_under_way_follows_it(found_nothing: bool) -> None:
    assert after_claim(None, found_nothing=found_nothing) is LEAD
    assert after_claim(FLYING, found_nothing=found_nothing) == Follow("p.1")


def test_a_call_that_landed_is_shared_by_who_had_looked_before_and_by_nobody_else() -> None:
    assert after_claim(LANDED, found_nothing=True) == Follow("p.1")
    assert after_claim(LANDED, found_nothing=False) is ALONE


def watched(looks: Sequence[Lease | Silence | None], *, has_begun: bool) -> Following | TakeOver | Alone | BreakOff:
    state: Following | TakeOver | Alone | BreakOff = Following("p.1")
    for seen in looks:
        assert isinstance(state, Following)
        state = state.after_look(seen, has_begun=has_begun)
    return state


@pytest.mark.parametrize("last", [None, LANDED, Lease("q.7")])
def test_a_leader_that_is_gone_is_replaced_unless_some_of_its_answer_was_passed_on(last: Lease | None) -> None:
    gone = [last] * MISSED_BEATS
    assert watched(gone, has_begun=False) is TAKE_OVER
    assert watched(gone, has_begun=True) is BREAK_OFF


def test_a_leader_that_cannot_be_seen_is_not_replaced_but_left() -> None:
    assert watched([SILENCE] * MISSED_BEATS, has_begun=False) is ALONE
    assert watched([SILENCE] * MISSED_BEATS, has_begun=True) is BREAK_OFF


@given(st.lists(st.sampled_from([FLYING, None, SILENCE]), max_size=12), st.booleans())
def test_a_leader_seen_in_time_is_followed_on(looks: list[Lease | Silence | None], has_begun: bool) -> None:
    state: object = Following("p.1")
    missed = 0
    for seen in looks:
        assert isinstance(state, Following)
        missed = 0 if seen is FLYING else missed + 1
        state = state.after_look(seen, has_begun=has_begun)
        assert isinstance(state, Following) == (missed < MISSED_BEATS)
        if not isinstance(state, Following):
            assert (state is BREAK_OFF) == has_begun
            return


@pytest.mark.parametrize("lease", [FLYING, LANDED])
def test_a_lease_reads_back(lease: Lease) -> None:
    assert Lease.from_wire(lease.to_wire().encode()) == lease
    assert Lease.from_wire(None) is None


def read_back(word: Word) -> Word:
    """As it comes out of a stream whose values were read as Latin-1."""
    fields = {
        name: (value if isinstance(value, bytes) else value.encode()).decode("latin-1")
        for name, value in to_fields(word).items()
    }
    return from_fields(fields)


@pytest.mark.parametrize(
    "word",
    [
        Head(200, ((b"content-type", b"text/event-stream"), (b"x", b"\xe9\xff")), True, 12.5),
        End("ent_1", None),
        End(None, "partial"),
        Failure("UpstreamTimeoutError", "No answer — for 600 s."),
        Dropped(),
    ],
    ids=lambda word: type(word).__name__,
)
def test_a_word_reads_back(word: Word) -> None:
    assert read_back(word) == word


@given(st.binary())
def test_bytes_read_back(body: bytes) -> None:
    assert read_back(Data(body)) == Data(body)


def test_a_cookie_is_the_leaders_callers_alone() -> None:
    told = read_back(Head(200, ((b"set-cookie", b"a=b"), (b"x", b"y")), False, 1.0))
    assert told == Head(200, ((b"x", b"y"),), False, 1.0)
