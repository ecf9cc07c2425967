from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.services.periods import periods_of

LAST_SECOND_OF_FEBRUARY_S = 1_709_251_199.0  # 2024-02-29T23:59:59Z


def test_periods_are_named_and_end_in_utc() -> None:
    periods = periods_of(LAST_SECOND_OF_FEBRUARY_S)
    assert (periods.minute, periods.day, periods.month) == ("2024-02-29T23:59", "2024-02-29", "2024-02")
    assert periods.left_s == {"minute": 1.0, "day": 1.0, "month": 1.0}
    assert periods_of(LAST_SECOND_OF_FEBRUARY_S + 1).month == "2024-03"


@given(st.floats(0, 4e9))
def test_every_moment_lies_in_periods_that_still_last(at: float) -> None:
    left_s = periods_of(at).left_s
    assert 0 < left_s["minute"] <= 60
    assert left_s["minute"] <= left_s["day"] <= 86_400
    assert left_s["day"] <= left_s["month"] <= 31 * 86_400
