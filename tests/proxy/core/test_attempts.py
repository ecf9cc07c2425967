from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import attempts
from proxy.core.attempts import MAX_WAIT_S, RETRY_RESERVE, RETRY_SHARE, RetryBudget, Trouble
from proxy.errors import UpstreamError, UpstreamTimeoutError


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 403, 404, 413, 422])
def test_an_answer_that_says_what_is_wrong_with_the_request_is_no_trouble(status: int) -> None:
    assert attempts.trouble_of_status(status) is None


@pytest.mark.parametrize(
    ("status", "trouble", "is_away"),
    [(429, Trouble.BUSY, False), (500, Trouble.ILL, False), (408, Trouble.ILL, False), (503, Trouble.ILL, True)],
)
def test_what_may_be_repeated_and_what_speaks_against_the_provider(
    status: int, trouble: Trouble, is_away: bool
) -> None:
    assert attempts.trouble_of_status(status) is trouble
    assert trouble.may_retry
    assert attempts.is_away(status) is is_away


def test_what_may_have_been_charged_is_never_repeated() -> None:
    assert not attempts.trouble_of_error(UpstreamTimeoutError("silent")).may_retry
    assert attempts.trouble_of_error(UpstreamError("refused", was_sent=False)).may_retry


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("", None),
        (None, None),
        ("soon", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(told: str | None, seconds: float | None) -> None:
    assert attempts.retry_after_s(told, now_s=60.0) == seconds


def test_nobody_is_kept_waiting_for_longer_than_the_bound() -> None:
    assert attempts.wait_s(0, draw=0.0, told_s=MAX_WAIT_S + 1, least_s=0.0) is None
    assert attempts.wait_s(0, draw=0.0, told_s=7.0, least_s=0.0) == 7.0


@given(st.integers(0, 40), st.floats(0, 1, exclude_max=True), st.floats(0, 5))
def test_waits_are_drawn_from_a_growing_range(attempt: int, draw: float, least_s: float) -> None:
    wait = attempts.wait_s(attempt, draw=draw, told_s=None, least_s=least_s)
    assert wait is not None
    assert least_s <= wait <= max(least_s, min(MAX_WAIT_S, attempts.BASE_WAIT_S * 2.0**attempt))


@given(st.lists(st.booleans(), max_size=400))
def test_retries_stay_a_share_of_the_calls(calls: list[bool]) -> None:
    budget, made, retried = RetryBudget(), 0, 0
    for is_failing in calls:
        made += 1
        budget.earn()
        retried += is_failing and budget.spend()
    assert retried <= RETRY_RESERVE + RETRY_SHARE * made
