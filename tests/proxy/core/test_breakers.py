from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.breakers import WINDOW_S, Breaker, State

CLOSED = Breaker(failures_to_open=3, cooldown_s=5.0)


def failed(breaker: Breaker, times: int, *, at: float = 100.0) -> Breaker:
    for _ in range(times):
        breaker = breaker.failed(at, was_probe=False)
    return breaker


OPEN = failed(CLOSED, 3)


def test_failures_in_a_row_open_it_and_one_answer_starts_the_count_anew() -> None:
    assert failed(CLOSED, 2).state(100.0) is State.CLOSED
    assert failed(failed(CLOSED, 2).succeeded(), 2).state(100.0) is State.CLOSED
    assert OPEN.state(100.0) is State.OPEN
    assert not OPEN.allows(104.9)


def test_failures_far_apart_are_not_in_a_row() -> None:
    later = failed(failed(CLOSED, 2), 1, at=100.0 + WINDOW_S + 1)
    assert later.state(later.failed_at) is State.CLOSED


def test_after_the_cooldown_one_call_tries_it_and_the_others_wait() -> None:
    assert OPEN.state(105.0) is State.HALF_OPEN
    assert OPEN.allows(105.0)
    probing = OPEN.began()
    assert probing.state(105.0) is State.HALF_OPEN
    assert not probing.allows(105.0)


def test_the_probe_decides() -> None:
    assert OPEN.began().succeeded() == CLOSED.__class__(3, 5.0, failed_at=100.0)
    again = OPEN.began().failed(105.0, was_probe=True)
    assert (again.state(105.0), again.open_until) == (State.OPEN, 110.0)
    assert OPEN.began().abandoned().allows(105.0), "a caller who leaves says nothing: the next one tries"


def test_a_call_that_began_before_it_opened_does_not_keep_it_open() -> None:
    assert OPEN.failed(104.0, was_probe=False) == OPEN


def test_a_provider_that_asks_for_a_pause_is_given_it_at_once() -> None:
    paused = CLOSED.failed(100.0, was_probe=False, cooldown_s=30.0)
    assert (paused.state(100.0), paused.open_until) == (State.OPEN, 130.0)


@given(st.lists(st.sampled_from(["begin", "answer", "fail", "leave", "wait"]), max_size=60))
def test_there_is_never_more_than_one_probe_and_it_always_comes_back(steps: list[str]) -> None:
    breaker, now, probes, calls = CLOSED, 0.0, 0, 0
    for step in steps:
        if step == "wait":
            now += 2.0
        elif step == "begin" and breaker.allows(now):
            probes += breaker.open_until is not None
            calls += breaker.open_until is None
            breaker = breaker.began()
        elif probes:
            probes = 0
            ends = {"answer": breaker.succeeded(), "fail": breaker.failed(now, was_probe=True)}
            breaker = ends.get(step, breaker.abandoned())
        elif calls and step in ("answer", "fail"):
            calls -= 1
            breaker = breaker.succeeded() if step == "answer" else breaker.failed(now, was_probe=False)
        assert probes <= 1
    assert replace(breaker, is_probing=False).allows(now + 5.0)
